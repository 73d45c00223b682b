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
//! outgrown its bound ([`MAX_BATCH_BYTES`], [`MAX_BATCH_CHANGES`]), and then between two entries.
//!
//! # What this crate must never do
//!
//! Look at a clock, draw chance, start a thread, or answer with anything that another replica might see differently:
//! the limits of [`types::limits`] are checked by [`check_command`] before a command is proposed and never at apply,
//! because two builds may disagree about them.
//!
//! Reading order: [`build`], [`command`], [`applier`], [`round`]; inside, `entry`, `execute`, `overlay`, `pending`.

pub mod applier;
pub mod build;
pub mod command;
mod entry;
mod execute;
mod overlay;
mod pending;
pub mod round;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod testing;

pub use applier::{ApplyError, RegionApplier};
pub use command::{CommandError, check_command};
pub use entry::ENTRY_VERSION;
pub use pending::{MAX_BATCH_BYTES, MAX_BATCH_CHANGES};
pub use round::{Applied, ApplyRound, ApplyTask, RoundOutcome, Truncation};
