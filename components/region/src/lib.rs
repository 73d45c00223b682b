//! One region's raft peer as a machine without IO.
//!
//! [`Region::step`] takes an [`Input`], [`Region::finish_round`] ends a round; both push [`Effect`]s, which the driver
//! carries out. Nothing here blocks, looks at a clock, starts a thread, opens a file or draws chance: time comes in
//! ticks, chance is a function of the configured seed ([`types::seed`]).
//!
//! Invariants, each cited in the code by its rule in `ARCHITECTURE.md`:
//! - D1: what must not leave before its `Persist` is durable is held here and leaves after [`Input::Persisted`].
//! - Entries are given to apply only when they are durable in the local log, in order, each once.
//! - Every proposal's responder is moved exactly once: into an [`Effect::Apply`] beside its entry, or into an
//!   [`Effect::Refuse`] when it is sure that it will never be applied. Only [`Region::shut_down`] drops those that are
//!   undecided, which answers *unknown*.
//! - A peer that still replays what it had committed before a restart gets no tick and answers no TimeoutNow (D8).
//!
//! What this crate must never do: know the store, a thread, a socket, or RocksDB.
//!
//! Reading order: [`input`], [`effect`], [`config`], then [`machine`]; then the concerns that extend it, each in its own
//! file: `ready` with `persists` and `applies` (what may leave when), `role`, `requests`, `proposals` with `waiting`,
//! `reads`, `elections`, `validate` with `contacts`, `transfer`, `compaction`, `progress`, `status`; then what makes a region live:
//! `admin`, `splits`, `membership` with `plan`, `consistency`, `snapshots` and `restore`, `newcomer`, `removal`; below them `storage` and `cache`, which raft reads its log from. `tests/transcripts/` shows each behaviour as a readable log.

mod admin;
mod applies;
mod cache;
mod compaction;
pub mod config;
mod consistency;
mod contacts;
pub mod effect;
mod elections;
pub mod input;
pub mod machine;
mod membership;
pub mod message;
mod newcomer;
mod persists;
mod plan;
mod progress;
mod proposals;
mod reads;
mod ready;
mod removal;
mod requests;
mod restore;
mod role;
mod snapshots;
mod splits;
mod status;
mod storage;
mod transfer;
mod validate;
mod waiting;

pub use config::RegionConfig;
pub use effect::{
    Apply, ApplySnapshot, BuildSnapshot, CancelSnapshot, DeclineSnapshot, Destroy, Effect, Inconsistency, Persist,
    ReadGrant, Role, RoleChange, SendSnapshot, Split,
};
pub use input::{
    BuiltSnapshot, Input, Inspector, MemberStatus, MembersRequest, MembersResponder, Proposal, Read, ReadResponder,
    RegionStatus, SplitRequest, SplitResponder, TransferResponder,
};
pub use machine::{Region, RegionError, Restored};
pub use message::{MessageType, Note, RegionMessage};
pub use validate::{DropReason, Dropped};
