//! What can happen to a region.

use engine::{ApplyState, Change, RegionSnapshot};
use proto::log::Command;
use types::{
    Generation, KeyRange, LogIndex, MemberChange, Peer, PeerId, ReadyNumber, RegionDescriptor, RegionEpoch,
    RequestError, RequestHeader, Responder, SplitPlan, Term, WriteResponder,
};

use crate::effect::Role;
use crate::message::RegionMessage;

/// Whom to tell how a read ended.
pub type ReadResponder = Responder<Result<RegionSnapshot, RequestError>>;
/// Whom to tell that a leader transfer was done, or why it was not.
pub type TransferResponder = Responder<Result<(), RequestError>>;
/// Whom to tell the regions that a split made, the parent's included, in the order of their keys.
pub type SplitResponder = Responder<Result<Vec<RegionDescriptor>, RequestError>>;
/// Whom to tell what the region looks like once its members are as they were asked to be.
pub type MembersResponder = Responder<Result<RegionDescriptor, RequestError>>;
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

/// A split that someone asks for.
#[derive(Debug)]
pub struct SplitRequest {
    /// The epoch for which the keys and ids were chosen; must be the region's.
    pub epoch: RegionEpoch,
    /// Where to cut, and what the parts are called.
    pub plan: SplitPlan,
    /// Told when it is applied, or why it is not.
    pub responder: SplitResponder,
}

/// Members that someone asks for.
///
/// The changes are what should be true in the end, and what is true already counts as done. The leader finds the way: it
/// adds a peer that shall vote as a learner first and promotes it once it has caught up, makes several changes of voters
/// one joint change, leaves that, and removes a voter that goes beside others as the learner that it then is. No changes
/// ask only that a joint configuration be left, which happens by itself.
#[derive(Debug)]
pub struct MembersRequest {
    /// The epoch for which the changes were chosen; its conf_ver must be the region's.
    pub epoch: RegionEpoch,
    /// What becomes of which member; each is named once.
    pub changes: Vec<MemberChange>,
    /// Told when all is done, or why it is not. `NotLeader` names the member that was made leader because this one shall
    /// not vote any more: ask that one. *Unknown* says that a part may be done: look at the region and ask again.
    pub responder: MembersResponder,
}

/// A snapshot that was built for a member; all of it read from one moment of the state engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltSnapshot {
    /// The region as it was.
    pub descriptor: RegionDescriptor,
    /// The newest applied index that it holds.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
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
    /// How far the log is applied and compacted. For a fenced peer: as the snapshot that it lost would have it.
    pub apply_state: ApplyState,
    /// The newest index of the log.
    pub last_index: LogIndex,
    /// Whether the peer's state is missing, so that it only waits for a snapshot (D10).
    pub fenced: bool,
    /// Whether its data differs from that of most voters: it does not lead any more.
    pub quarantined: bool,
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
    /// Ticks since it last answered in this leadership; `None` when it never did.
    pub silent_ticks: Option<u32>,
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
    /// The peer was born beside the leader of its parent, and begins to lead without waiting for a timeout. Ignored once
    /// someone has voted or led.
    Campaign,
    /// Someone wants the region split.
    Split(SplitRequest),
    /// Someone wants other members.
    ChangeMembers(MembersRequest),
    /// Someone wants the replicas compared. Ignored where the peer does not lead: ask again later.
    CheckConsistency,
    /// A hash that was asked for is there.
    HashComputed {
        /// Which `RawNode` asked for it.
        generation: Generation,
        /// The index that it was asked for.
        index: LogIndex,
        /// The hash.
        hash: u64,
    },
    /// A snapshot that was ordered is built, or could not be.
    SnapshotBuilt {
        /// Which `RawNode` ordered it.
        generation: Generation,
        /// For whom.
        to: PeerId,
        /// What it is; `None` when there is none.
        built: Option<BuiltSnapshot>,
    },
    /// A snapshot reached its receiver's store with all of its data, or it did not.
    SnapshotSent {
        /// Which `RawNode` sent it.
        generation: Generation,
        /// To whom.
        to: PeerId,
        /// Whether it arrived.
        delivered: bool,
    },
    /// Someone else knows who the members are: the placement driver.
    Members {
        /// The epoch at which they are.
        epoch: RegionEpoch,
        /// The members.
        members: Vec<Peer>,
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
        /// What they changed about the region itself, as apply told it.
        changes: Vec<Change>,
    },
    /// The transport could not deliver to a member.
    Unreachable {
        /// The member.
        peer: PeerId,
    },
}
