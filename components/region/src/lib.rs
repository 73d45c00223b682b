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
//! - A peer that still replays what it had committed before a restart gets no tick, answers no TimeoutNow, takes no snapshot
//!   and is not destroyed (D8, D9).
//! - A change of the epoch is proposed under the epoch that it was asked for, one at a time, and taken over before raft hears
//!   that its entry is applied (D12).
//! - A removed peer serves nobody and never campaigns, but votes and acknowledges until a leader tells it that the members can
//!   do without it (D9).
//! - A peer whose state is missing promises nothing: it neither votes nor acknowledges, and asks for a snapshot (D10).
//! - Behind [`Effect::ApplySnapshot`] and [`Effect::Destroy`] a machine promises nothing and asks for nothing (D10, D11).
//!
//! # What the driver owes
//!
//! Each effect's documentation says what to do, and in which order. Where regions live, it comes to this:
//!
//! | when | the machine says | the driver does | rule |
//! |---|---|---|---|
//! | a split is applied | [`Effect::Split`] | make the children's peers ([`Restored::born`]), swap the ranges in one step, let the children campaign ([`Input::Campaign`]) | D7, D11 |
//! | members change | [`Effect::MembersChanged`] | show it to routing and placement; a peer that is not in it runs on, unseen | D9 |
//! | a message is for a peer that is not here | | make it ([`Restored::uninitialised`]), with a record of who invited it, if no later one was here | D7, D11 |
//! | a member needs a snapshot | [`Effect::BuildSnapshot`] | build, then [`Input::SnapshotBuilt`], in any case | |
//! | it may leave | [`Effect::SendSnapshot`] | send message and data, then [`Input::SnapshotSent`], in any case | |
//! | it is no use any more | [`Effect::CancelSnapshot`] | stop, delete | |
//! | one was received and verified | | [`Input::Message`] with its message, if its range is free or this peer's own | D10 |
//! | it is wanted | [`Effect::ApplySnapshot`] | the sequence of D10, then a new machine | D10, D11 |
//! | it is not | [`Effect::DeclineSnapshot`] | delete its data | |
//! | a restart finds its data damaged | | [`Restored::fenced`]: it asks for a new one, and does nothing else | D10 |
//! | the peer must go | [`Effect::Destroy`] | the sequence of D9 | D9 |
//! | a peer misses its leader for long | [`Effect::LeaderMissing`] | ask the placement driver, if there is one; [`Input::Members`] | |
//! | replicas are compared | [`Effect::Hash`] | hash on a worker, then [`Input::HashComputed`] | |
//! | they differ | [`Effect::Inconsistent`] | report it, stop serving the minority's | |
//!
//! Everything that speaks of a generation comes back with it; completions of another `RawNode` are dropped (D11).
//!
//! What this crate must never do: know the store, a thread, a socket, or RocksDB.
//!
//! Reading order: [`input`], [`effect`], [`config`], then [`machine`]; then the concerns that extend it, each in its own
//! file: `ready` with `persists` and `applies` (what may leave when), `role`, `requests`, `proposals` with `waiting`,
//! `reads`, `elections`, `validate` with `contacts`, `transfer`, `compaction`, `progress`, `status`; then what makes a region
//! live: `admin`, `splits`, `membership` with `plan`, `consistency`, `snapshots` and `restore`, `newcomer`, `removal`, `fence`; below
//! them `storage` and `cache`, which raft reads its log from. `tests/transcripts/` shows each behaviour as a readable log.

mod admin;
mod applies;
mod cache;
mod compaction;
pub mod config;
mod consistency;
mod contacts;
pub mod effect;
mod elections;
mod fence;
pub mod input;
mod library_log;
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
