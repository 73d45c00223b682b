//! Committed entries to batches of the state engine, deterministically.
//!
//! A [`RegionApplier`] is one region's state of applying; an [`ApplyRound`] gathers the entries of many regions into one
//! batch of the state engine and hands out the answers once it is written (D2, D3, D12).
//!
//! Invariants:
//! - A command leaves all of its changes or none (a save point each); the apply state rides in the same batch.
//! - Only errors that are the same on every replica are answers; everything else is an [`ApplyError`], fatal to the store.
//! - A command reads only its own region's keys, as they were just before it, and no clock.
//! - Answers leave after the write, never before.
//! - A batch ends where an entry ends, never inside of one.
//!
//! # Why a batch never ends inside of an entry
//!
//! A compare-and-swap reads what earlier commands of the same batch wrote. D12 lets apply write the pending batch first
//! and then read the engine. Inside of an entry that would be wrong, because the apply state can only say "up to this
//! entry", not "up to this command". Take a region without the key `a` and one entry with two commands, `a: absent → 1`
//! and `b: absent → 1`. Were the first one's change written before the second is evaluated, that batch would have to
//! carry the apply state of the entry *before*. Let a crash fall back to just this cut: the replay executes the entry
//! again, finds `a = 1`, its own effect, and refuses what every other replica has accepted. Answers and, one command
//! later, data differ between replicas.
//!
//! So nothing is written early in order to be read. A compare-and-swap reads the pending batch itself, through an
//! overlay of its changes, and the engine only for keys that the batch does not touch. This is also cheaper: many
//! compare-and-swaps of one round still make one batch. A batch is written before its round ends only when it has
//! outgrown its bound ([`MAX_BATCH_BYTES`], [`MAX_BATCH_CHANGES`]), or when the next entry asks for a hash of the data, and
//! then between two entries.
//!
//! # Commands of the store itself
//!
//! Splits, changes of members, log compactions and hashes are executed under the frozen table of epochs
//! ([`types::epoch`]). A refused one leaves no trace but the applied index. The region's new descriptor, and the records
//! of a split's children, ride in the batch that has the entry's apply state (D2). What the store and the region's peer
//! must do then is in [`Applied::changes`], in the order of the entries; after a restart the same changes come again for
//! every entry that is replayed:
//!
//! - [`ChangeKind::Split`](engine::ChangeKind::Split): hand it to the peer, which says when to make the peers of the
//!   children. A child is claimed through the [`Arbiter`] before its records are put into the batch (D11); one that is
//!   not `created` has no record, and its range belongs to no region of this store: clear it (D6, D8).
//! - [`ChangeKind::Members`](engine::ChangeKind::Members): hand it to the peer, which tells raft of it before it tells raft
//!   that the entry is applied (D12). When the peer itself is no longer a member, nothing behind the entry is executed;
//!   it is destroyed by D9 when it is told to, not now.
//! - [`ChangeKind::HashAsked`](engine::ChangeKind::HashAsked): compute [`hash_region`] on a worker, and give it to the
//!   peer. The task keeps a snapshot of the state engine alive.
//! - [`ChangeKind::HashStated`](engine::ChangeKind::HashStated) and [`ChangeKind::Refused`](engine::ChangeKind::Refused):
//!   hand them to the peer.
//!
//! # What this crate must never do
//!
//! Look at a clock, draw chance, start a thread, or answer with anything that another replica might see differently:
//! the limits of [`types::limits`] are checked by [`check_command`] before a command is proposed and never at apply,
//! because two builds may disagree about them.
//!
//! Reading order: [`build`], [`command`], [`applier`], [`round`], [`arbiter`]; inside, `entry`, `execute`, `admin`, `overlay`,
//! `pending`.

mod admin;
pub mod applier;
pub mod arbiter;
pub mod build;
pub mod command;
mod entry;
mod execute;
pub mod hash;
mod overlay;
mod pending;
pub mod round;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod testing;

pub use applier::{ApplyError, RegionApplier};
pub use arbiter::{Arbiter, Birth, SplitsAlone};
pub use command::{CommandError, check_command, spare_reserved};
pub use hash::hash_region;
pub use pending::{MAX_BATCH_BYTES, MAX_BATCH_CHANGES};
pub use round::{Applied, ApplyRound, ApplyTask, RoundOutcome, Truncation, Written};
