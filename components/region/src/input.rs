//! What can happen to a region.

use engine::{ApplyState, RegionSnapshot};
use proto::log::Command;
use types::{
    Generation, KeyRange, LogIndex, Peer, PeerId, ReadyNumber, RegionDescriptor, RequestError, RequestHeader,
    Responder, Term, WriteResponder,
};

use crate::effect::Role;
use crate::message::RegionMessage;

/// Whom to tell how a read ended.
pub type ReadResponder = Responder<Result<RegionSnapshot, RequestError>>;
/// Whom to tell that a leader transfer was done, or why it was not.
pub type TransferResponder = Responder<Result<(), RequestError>>;
/// Whom to tell what a region looks like; `None` when it is not there.
pub type Inspector = Responder<Option<RegionStatus>>;

/// A write that a client asks for.
#[derive(Debug)]
pub struct Proposal {
    /// What the client knows of the region.
    pub header: RequestHeader,
    /// The change, already checked against the fixed limits.
    pub command: Command,
    /// The smallest range that holds all of its keys; must lie in the region.
    pub keys: KeyRange,
    /// Answered when it is applied, or when it is sure that it never will be, or with *unknown*.
    pub responder: WriteResponder,
}

/// A linearizable read that a client asks for.
#[derive(Debug)]
pub struct Read {
    /// What the client knows of the region.
    pub header: RequestHeader,
    /// Given a snapshot once it is confirmed that it holds everything acknowledged before the request.
    pub responder: ReadResponder,
}

/// What a region looks like from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionStatus {
    /// Its descriptor.
    pub descriptor: RegionDescriptor,
    /// This store's peer.
    pub peer: Peer,
    /// The peer's role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader of that term, where it is known.
    pub leader: Option<Peer>,
    /// The newest index known to be committed.
    pub committed: LogIndex,
    /// How far the log is applied and compacted.
    pub apply_state: ApplyState,
    /// The newest index of the log.
    pub last_index: LogIndex,
    /// Bytes of log since the last compaction, about.
    pub log_bytes: u64,
    /// On a leader: each member's newest matched index, and whether it answered within the last election timeout.
    pub members: Vec<MemberStatus>,
}

/// What a leader knows of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The member.
    pub peer: Peer,
    /// Its newest index that is known to equal the leader's.
    pub matched: LogIndex,
    /// Whether it answered lately.
    pub active: bool,
}

/// Something that happened to a region.
#[derive(Debug)]
pub enum Input {
    /// A message from another member arrived.
    Message(Box<RegionMessage>),
    /// A client wants to write.
    Propose(Proposal),
    /// A client wants to read.
    Read(Read),
    /// Someone wants another member to lead.
    TransferLeader {
        /// The member.
        to: PeerId,
        /// Told when that member leads, or that it will not.
        responder: TransferResponder,
    },
    /// Asks for the region's [`RegionStatus`].
    Inspect(Inspector),
    /// One tick of the store's clock passed.
    Tick,
    /// Everything up to this ready is durable in the log engine.
    Persisted {
        /// Which `RawNode` it came from; others' completions are dropped (D11).
        generation: Generation,
        /// The newest ready that is durable.
        ready: ReadyNumber,
    },
    /// Entries were applied and are visible in the state engine.
    Applied {
        /// Which `RawNode` handed the entries out.
        generation: Generation,
        /// The state after them.
        apply_state: ApplyState,
    },
    /// The transport could not deliver to a member.
    Unreachable {
        /// The member.
        peer: PeerId,
    },
}
