//! What a region wants done.

use std::sync::Arc;

use engine::{Entry, HardState};
use types::{
    Generation, LogIndex, Peer, PeerId, ReadyNumber, RegionDescriptor, RegionId, RequestError, Term, WriteResponder,
};

use crate::input::{Inspector, ReadResponder, RegionStatus, TransferResponder};
use crate::message::RegionMessage;

/// A peer's raft role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// Something to write to the log engine. A region's writes must become durable in the order in which they were asked
/// for (D1); the driver then hands back [`Input::Persisted`](crate::Input::Persisted).
#[derive(Clone, Debug, PartialEq)]
pub struct Persist {
    /// The region.
    pub region: RegionId,
    /// The peer.
    pub peer: PeerId,
    /// The `RawNode` that asks.
    pub generation: Generation,
    /// The ready that is complete with this write.
    pub ready: ReadyNumber,
    /// Replace the log from the first one's index on. May be empty.
    pub entries: Vec<Entry>,
    /// The newest hard state.
    pub hard_state: HardState,
}

/// Committed, locally durable entries to execute, and who waits for them.
#[derive(Debug)]
pub struct Apply {
    /// The region.
    pub region: RegionId,
    /// The `RawNode` that hands them out.
    pub generation: Generation,
    /// The entries, consecutive, following those of the last `Apply`. Empty entries of new leaders and conf changes
    /// are among them.
    pub entries: Vec<Entry>,
    /// Who waits for which entry, in index order: one responder for each command of that entry, in its order.
    pub waiting: Vec<(LogIndex, Vec<WriteResponder>)>,
}

/// A confirmed read: the driver takes a snapshot of the state engine now, or later, and answers with it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadGrant {
    /// The region.
    pub descriptor: Arc<RegionDescriptor>,
    /// The newest index that is applied.
    pub applied: LogIndex,
}

/// A peer's role, leader or term changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// The region.
    pub region: RegionId,
    /// The peer's role now.
    pub role: Role,
    /// Its term now.
    pub term: Term,
    /// The leader of that term, where it is known for sure.
    pub leader: Option<Peer>,
}

/// Something that a region wants done. The order matters: effects are carried out in the order in which they came,
/// except that the driver may gather the `Persist`s of many regions into one write.
#[derive(Debug)]
pub enum Effect {
    /// Write to the log engine.
    Persist(Persist),
    /// Send now. What must wait for a `Persist` is not an effect before it is durable.
    Send(RegionMessage),
    /// Execute committed entries.
    Apply(Apply),
    /// Tell a client that its write will not happen, or that nobody knows.
    Refuse(WriteResponder, RequestError),
    /// Serve a confirmed read.
    Grant(ReadResponder, ReadGrant),
    /// Tell a client that its read cannot be served.
    RefuseRead(ReadResponder, RequestError),
    /// Tell how a leader transfer ended.
    Transferred(TransferResponder, Result<(), RequestError>),
    /// Tell what the region looks like.
    Inspected(Inspector, Box<RegionStatus>),
    /// The role, leader or term changed.
    RoleChanged(RoleChange),
}
