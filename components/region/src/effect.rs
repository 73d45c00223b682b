//! What a region wants done.

use std::sync::Arc;

use engine::{ApplyState, Child, EngineError, Entry, HardState, HashTask, StateRead, meta};
use types::{
    Generation, LogIndex, Peer, PeerId, ReadyNumber, RegionDescriptor, RegionId, RequestError, Term, WriteResponder,
};

use crate::input::{Inspector, MembersResponder, ReadResponder, RegionStatus, SplitResponder, TransferResponder};
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

/// A confirmed read: the driver takes a snapshot of the state engine now, or later, and answers with it, after it has
/// [rechecked](Self::recheck) it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadGrant {
    /// The region.
    pub descriptor: Arc<RegionDescriptor>,
    /// The newest index that is applied.
    pub applied: LogIndex,
}

impl ReadGrant {
    /// Whether a snapshot that was taken for this grant still shows the region that the reader asked for.
    ///
    /// Apply runs beside the machine: the snapshot may hold a split that the machine has not heard of. Then the children's
    /// keys in it may be older than what their own leaders have acknowledged by now, while the parent's are newer, and no
    /// single moment had them all.
    ///
    /// # Errors
    /// The engine's, or a record that does not read. The inner error is the reader's answer.
    pub fn recheck(&self, snapshot: &dyn StateRead) -> Result<Result<(), RequestError>, EngineError> {
        let region = self.descriptor.id;
        Ok(match meta::read_descriptor(snapshot, region)? {
            Some(current) if current.epoch.version == self.descriptor.epoch.version => Ok(()),
            Some(current) => Err(RequestError::EpochNotMatch { region, current: vec![current] }),
            None => Err(RequestError::RegionNotFound { region }),
        })
    }
}

/// A region was split: the parent's descriptor changes and the children's peers begin, at once for everyone who routes.
///
/// The driver, in this order: makes the peers of the children that were created (D7: their lifecycle records, with birth
/// `Split` at `index`, are in L with or before their first `Persist`, in a batch that raises the parent's commit floor to
/// `index`); swaps the parent's range for those of all regions in one step; lets the children campaign if
/// [`campaign`](Self::campaign) says so; tells the placement driver. A child that was not created has no peer here: its
/// range is cleared once no region owns it (D6). A replayed split comes again; a dormant child begins then (D8).
#[derive(Clone, Debug)]
pub struct Split {
    /// The parent.
    pub region: RegionId,
    /// Its peer on this store.
    pub peer: PeerId,
    /// The index of the split in the parent's log.
    pub index: LogIndex,
    /// What the parent kept.
    pub derived: Arc<RegionDescriptor>,
    /// The new regions, in the order of their keys.
    pub children: Vec<Child>,
    /// Whether this peer leads the parent: then the children's peers on this store campaign at once, so that nobody has to
    /// wait for an election timeout (raftstore-rules §5).
    pub campaign: bool,
}

/// Replicas of a region differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inconsistency {
    /// The region as it was at that index.
    pub descriptor: Arc<RegionDescriptor>,
    /// This store's peer.
    pub peer: PeerId,
    /// The index at which they were hashed.
    pub index: LogIndex,
    /// This replica's hash.
    pub ours: u64,
    /// The leader's. On a leader that differs from most voters, and has stopped leading: theirs.
    pub leaders: u64,
}

/// Build a snapshot for a member: of the region as the state engine holds it at some moment from now on, from one engine
/// snapshot, descriptor and applied index included. Then hand back
/// [`Input::SnapshotBuilt`](crate::Input::SnapshotBuilt), in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildSnapshot {
    /// The region.
    pub region: RegionId,
    /// The `RawNode` that asks.
    pub generation: Generation,
    /// The member that needs it. One snapshot for each member at a time.
    pub to: Peer,
    /// An older applied index would not help.
    pub at_least: LogIndex,
}

/// Send the snapshot that was built for a member: the message ahead, the data behind it, both to the receiver's store at once.
/// Then hand back [`Input::SnapshotSent`](crate::Input::SnapshotSent), in any case: raft sends nothing else until then.
#[derive(Clone, Debug, PartialEq)]
pub struct SendSnapshot {
    /// The `RawNode` that sends.
    pub generation: Generation,
    /// Raft's message. The receiver's machine gets it once the data is there and verified.
    pub message: RegionMessage,
    /// The snapshot's index.
    pub index: LogIndex,
}

/// A snapshot for a member is not wanted any more, whether it is being built, built, or being sent: stop, and delete it. Its
/// outcome need not be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelSnapshot {
    /// The region.
    pub region: RegionId,
    /// The member.
    pub to: PeerId,
}

/// A received snapshot replaces this peer's log and state (D10). With this the machine has come to its end: it refuses
/// requests, drops messages, and asks for nothing more. The driver, in the order of D10: checks and syncs the files;
/// reserves the new range, the old one and those of regions that it absorbs, waits for this peer's writes and drains its
/// apply; fence; one synced batch of L: marker, `hard_state`, log reset; clears those ranges; ingests; one batch of S:
/// descriptor, `apply_state`; fence; one synced batch of L drops the marker. Then it makes a new machine of what both engines
/// hold, under a new generation, which may have voted (D11). Where it cannot take the snapshot and has not written the
/// marker yet, it does only this last step. Where a restart finds the files damaged behind the marker, the peer begins
/// [fenced](crate::Restored::fenced).
#[derive(Clone, Debug, PartialEq)]
pub struct ApplySnapshot {
    /// This store's peer.
    pub peer: Peer,
    /// The `RawNode` that ends.
    pub generation: Generation,
    /// Who sent it: the data that was received from there, for this region and index.
    pub from: Peer,
    /// The region as it was; without members when the peer was not initialised, and then it owned no range.
    pub old: Arc<RegionDescriptor>,
    /// The region as it will be.
    pub descriptor: RegionDescriptor,
    /// The apply state as it will be.
    pub apply_state: ApplyState,
    /// The hard state as it will be: the newest term and vote, some of which may never have been written.
    pub hard_state: HardState,
}

/// The peer does not want a snapshot that was received for it: delete its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclineSnapshot {
    /// The region.
    pub region: RegionId,
    /// Who sent it.
    pub from: Peer,
    /// Its index.
    pub index: LogIndex,
}

/// The peer is no member any more and must go (D9). With this the machine has come to its end, as with [`ApplySnapshot`].
/// The driver, in the order of D9: stops and drains it; waits until the births that it fathered are flushed (its children's
/// records must not fall back behind its own end); one batch of S removes descriptor and apply state and writes `gone`;
/// fence; one synced batch of L deletes hard state and log and sets `next_peer`; clears the data (D6); gives up range and
/// mailbox. A peer that was never initialised has no range and nothing in S: only L's batch is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destroy {
    /// The region as this peer knew it; without members when it was never initialised.
    pub descriptor: Arc<RegionDescriptor>,
    /// The peer.
    pub peer: PeerId,
    /// The `RawNode` that ends.
    pub generation: Generation,
    /// No peer of the region with a smaller id may be made on this store again.
    pub next_peer: PeerId,
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
    /// Tell how a split ended.
    SplitEnded(SplitResponder, Result<Vec<RegionDescriptor>, RequestError>),
    /// Tell how a change of members ended.
    MembersEnded(MembersResponder, Result<RegionDescriptor, RequestError>),
    /// Tell how a leader transfer ended.
    Transferred(TransferResponder, Result<(), RequestError>),
    /// Tell what the region looks like.
    Inspected(Inspector, Box<RegionStatus>),
    /// The role, leader or term changed.
    RoleChanged(RoleChange),
    /// The region was split.
    Split(Split),
    /// The region's members changed: the driver shows it to everyone who routes, and tells the placement driver. A peer
    /// that is no longer among them is removed: it serves nobody and reports to nobody, but stays until it is destroyed.
    MembersChanged(Arc<RegionDescriptor>),
    /// A member needs a snapshot.
    BuildSnapshot(BuildSnapshot),
    /// A snapshot may leave.
    SendSnapshot(SendSnapshot),
    /// A snapshot for a member is no use any more.
    CancelSnapshot(CancelSnapshot),
    /// A received snapshot is to be applied.
    ApplySnapshot(Box<ApplySnapshot>),
    /// A received snapshot is not wanted.
    DeclineSnapshot(DeclineSnapshot),
    /// The peer must go.
    Destroy(Destroy),
    /// The peer of this region has heard of no leader for long, and has asked those that it knows. A driver with a placement
    /// driver asks that one as well, and hands what it says to [`Input::Members`](crate::Input::Members).
    LeaderMissing(RegionId),
    /// Hash the region on a worker, then hand back [`Input::HashComputed`](crate::Input::HashComputed).
    Hash(Generation, HashTask),
    /// Replicas differ: report it, naming region, range and stores, and stop serving the minority's.
    Inconsistent(Inconsistency),
}
