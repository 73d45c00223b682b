//! What everyone else sees of a store.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use engine::{Durability, EngineError, LogBatch, LogOp, StoreIdent};
use observe::metrics::store::ProposalKind;
use proto::log::Command;
use raft_proto::eraftpb::MessageType;
use region::{
    Inconsistency, Input, Inspector, MembersRequest, MembersResponder, Proposal, Read, ReadResponder, RegionMessage,
    Role, SplitRequest, SplitResponder, TransferResponder,
};
use runtime::system::SendError;
use snapshot::{Received, Reception, Refusal, Transfer, TransferStatus};
use types::{
    InstanceId, Instant, KeyRange, MemberChange, Peer, PlantedBug, RegionDescriptor, RegionEpoch, RegionId,
    RequestError, RequestHeader, Responder, SplitPlan, StoreId, Term, WriteResponder,
};

use crate::error::StoreError;
use crate::metrics;
use crate::raft_poller::RaftMessage;
use crate::rebuild::RebuildResponder;
use crate::shared::{Engines, Shared};
use crate::snapshots::incoming;

/// Carries messages to other stores. Must not block: a full queue drops the message (raft sends again).
pub trait Outbox: Send + Sync + 'static {
    /// Queues a message for the store that `message.to` names. False when it was dropped.
    fn send(&self, message: RegionMessage) -> bool;
    /// Pushes out what was queued; called once a round.
    fn flush(&self);
}

/// Told of what happens in a store, on the thread where it happens: implementations only hand it on.
pub trait StoreObserver: Send + Sync + 'static {
    /// A region's role, leader, term or descriptor changed, or it is new on this store.
    fn region_changed(&self, view: &RegionView);
    /// This store serves a region no more: its peer was removed.
    fn region_gone(&self, _: RegionId) {}
    /// A peer of this region has heard of no leader for long: a placement driver may know who its members are, and
    /// [`StoreHandle::tell_members`] tells the peer.
    fn leader_missing(&self, _: RegionId) {}
    /// A region's replicas differ.
    fn replicas_differ(&self, _: &Inconsistency) {}
    /// The store cannot go on; it answers nothing any more.
    fn store_failed(&self, error: &StoreError);
}

/// A region of this store, as of its last change.
#[derive(Clone, Debug)]
pub struct RegionView {
    /// Its descriptor.
    pub descriptor: Arc<RegionDescriptor>,
    /// This store's peer.
    pub peer: Peer,
    /// The peer's role.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader of that term, where it is known for sure.
    pub leader: Option<Peer>,
}

/// What a store is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum StoreState {
    /// It has not replayed what it had committed before it stopped.
    Starting,
    /// It serves.
    Serving,
    /// It hands its leaders over and stops.
    Stopping,
    /// It met a fatal error.
    Failed,
    /// It is stopped.
    Stopped,
}

/// What a store holds, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Its regions.
    pub regions: usize,
    /// Those that it leads.
    pub leaders: usize,
    /// Its peers: of its regions, and those that are no members any more or not yet, while anything of them is left.
    pub peers: usize,
    /// Those that still replay their logs after a start.
    pub replaying: usize,
}

/// Everything that can be asked of a store; cheap to clone. Nothing here blocks, [`StoreHandle::remember_instance`] apart:
/// answers come to responders, on the store's threads.
#[derive(Clone)]
pub struct StoreHandle {
    pub(crate) shared: Arc<Shared>,
}

/// A handle that does not keep the store and its engines open; for those whom the store itself owns, such as what
/// stands behind its [`Outbox`].
#[derive(Clone, Default)]
pub struct WeakStoreHandle {
    shared: Weak<Shared>,
}

impl WeakStoreHandle {
    /// The store, if it is still open.
    pub fn upgrade(&self) -> Option<StoreHandle> {
        self.shared.upgrade().map(StoreHandle::new)
    }
}

impl StoreHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// A handle that does not keep the store open.
    pub fn downgrade(&self) -> WeakStoreHandle {
        WeakStoreHandle { shared: Arc::downgrade(&self.shared) }
    }

    /// Who this store is.
    pub fn ident(&self) -> StoreIdent {
        self.shared.ident
    }

    /// This moment by the store's own clock, which its snapshots keep their times by.
    pub fn now(&self) -> Instant {
        self.shared.around.clock.now()
    }

    /// What it is doing.
    pub fn state(&self) -> StoreState {
        self.shared.status.get()
    }

    /// What it holds.
    pub fn counts(&self) -> StoreCounts {
        let regions = self.regions();
        let leaders = regions.iter().filter(|region| region.role == Role::Leader).count();
        let (peers, replaying) = (self.shared.raft.len(), self.shared.status.replaying());
        StoreCounts { regions: regions.len(), leaders, peers, replaying }
    }

    /// Its engines, for reading their counts. Whoever writes to them breaks the store.
    pub fn engines(&self) -> &Engines {
        &self.shared.engines
    }

    /// Applies a command to a region, atomically, once it is replicated.
    ///
    /// The answer is `Invalid` when the command breaks the limits of `types::limits` or names the
    /// [reserved key](types::reserved), which a delete-range leaves out, `RegionNotFound` when the region is not here, `ServerIsBusy` when its
    /// queue is full or the store stops; otherwise the region's.
    pub fn write(&self, header: RequestHeader, mut command: Command, responder: WriteResponder) {
        apply::spare_reserved(&mut command);
        let keys = match apply::check_command(&command) {
            Ok(keys) => keys,
            Err(error) => return responder.respond(Err(RequestError::Invalid { reason: error.to_string() })),
        };
        self.propose(header, command, keys, responder);
    }

    /// Proposes a command whose keys are known and allowed.
    pub(crate) fn propose(&self, header: RequestHeader, command: Command, keys: KeyRange, responder: WriteResponder) {
        if let Some(error) = self.refusal() {
            return responder.respond(Err(error));
        }
        self.shared.splits.flows.note_write(header.region_id, &keys);
        let responder = self.timed(ProposalKind::Write, responder);
        self.ask(header.region_id, Input::Propose(Proposal { header, command, keys, responder }));
    }

    /// Gives a linearizable snapshot of a region. Answers like [`write`](Self::write).
    pub fn read(&self, header: RequestHeader, responder: ReadResponder) {
        if let Some(error) = self.refusal() {
            return responder.respond(Err(error));
        }
        let metrics = Arc::clone(&self.shared.around.metrics);
        metrics.read_index_pending.inc();
        let responder = self.timed(ProposalKind::Read, responder);
        let responder = Responder::new(move |result| {
            metrics.read_index_pending.dec();
            responder.respond(result);
        });
        self.ask(header.region_id, Input::Read(Read { header, responder }));
    }

    /// Makes a region's peer on another store its leader. Only on the leader's store.
    pub fn transfer_leader(&self, region: RegionId, to: StoreId, responder: TransferResponder) {
        let Some(view) = self.region(region) else {
            return responder.respond(Err(RequestError::RegionNotFound { region }));
        };
        let Some(peer) = view.descriptor.peer_on(to) else {
            let reason = format!("region {region} has no peer on store {to}");
            return responder.respond(Err(RequestError::Invalid { reason }));
        };
        let responder = self.timed(ProposalKind::TransferLeader, responder);
        self.ask(region, Input::TransferLeader { to: peer.id, responder });
    }

    /// Cuts a region into several. Only on the leader's store, under the epoch for which keys and ids were chosen.
    pub fn split(&self, region: RegionId, epoch: RegionEpoch, plan: SplitPlan, responder: SplitResponder) {
        let responder = self.timed(ProposalKind::Split, responder);
        self.ask(region, Input::Split(SplitRequest { epoch, plan, responder }));
    }

    /// Makes a region's members what they shall be in the end: see [`MembersRequest`]. Only on the leader's store.
    pub fn change_members(
        &self,
        region: RegionId,
        epoch: RegionEpoch,
        changes: Vec<MemberChange>,
        responder: MembersResponder,
    ) {
        let responder = self.timed(ProposalKind::ChangeMembers, responder);
        self.ask(region, Input::ChangeMembers(MembersRequest { epoch, changes, responder }));
    }

    /// Has a region's replicas compared. Does nothing where it is not led; what is found is told to the observer and the
    /// metrics.
    pub fn check_consistency(&self, region: RegionId) {
        self.ask(region, Input::CheckConsistency);
    }

    /// Tells a peer that misses its leader who its region's members are: what the placement driver says.
    pub fn tell_members(&self, region: RegionId, epoch: RegionEpoch, members: Vec<Peer>) {
        self.ask(region, Input::Members { epoch, members });
    }

    /// Asks for a region's status; `None` when it is not here.
    pub fn inspect(&self, region: RegionId, inspector: Inspector) {
        self.ask(region, Input::Inspect(inspector));
    }

    /// Gives up a region's `RawNode`, and builds a new one of the next generation from what both engines hold.
    ///
    /// For whoever has to change what a peer stands on while its store runs: a split that takes over a child which a
    /// message had made (D11), a snapshot that replaces log and state (D10). The new one begins when the log engine and the
    /// state engine hold all that the old one asked of them. It begins as after a restart: as a follower with the same term
    /// and vote, which takes no part in elections for one election timeout. Until then requests are refused as busy; those
    /// that the old one had taken are refused or *unknown*, unless apply has them, which answers them.
    pub fn rebuild(&self, region: RegionId, done: RebuildResponder) {
        // A responder that is dropped says that there was nothing to rebuild.
        let _ = self.shared.raft.send(region.0, RaftMessage::Rebuild(done));
    }

    /// Takes a message that came from another store; dropped when its region has no room or is not here.
    pub fn receive(&self, message: RegionMessage) {
        let (metrics, kind) = (&self.shared.around.metrics, metrics::message_type(&message));
        metrics.messages_received[kind].inc();
        let here = message.to.store_id == self.shared.ident.store;
        // A snapshot's message comes with its data, and is judged before that: see `offer_snapshot`.
        let bare_snapshot = message.note.is_none() && message.raft.get_msg_type() == MessageType::MsgSnapshot;
        if !here || bare_snapshot || !self.deliver(message) {
            metrics.messages_dropped[kind].inc();
        }
    }

    /// Puts a message into its region's mailbox, or has the peer made that it is for. False when it is dropped.
    fn deliver(&self, message: RegionMessage) -> bool {
        let region = message.region.0;
        match self.shared.raft.send(region, Input::Message(Box::new(message)).into()) {
            Ok(()) => true,
            Err(SendError::Unknown(RaftMessage::Input(Input::Message(message)))) => {
                self.shared.lifecycle.stranger(message)
            }
            Err(_) => false,
        }
    }

    /// Judges a snapshot that another store offers, by its head: raft's message and its manifest. What it gives takes the
    /// data in.
    ///
    /// # Errors
    /// What to answer the sender when it is not wanted, or not now.
    pub fn offer_snapshot(
        &self,
        from: StoreId,
        message: &RegionMessage,
        manifest: Bytes,
    ) -> Result<Reception, Refusal> {
        incoming::offer(&self.shared, from, message, manifest)
    }

    /// Takes a snapshot whose data is there and verified: its message goes to its peer, which decides about it. Until it is
    /// applied the transfer counts as in flight.
    pub fn snapshot_received(&self, message: RegionMessage, received: Received, transfer: Transfer) {
        let (region, from) = (message.region, message.from.id);
        let index = message.raft.get_snapshot().get_metadata().index.into();
        let incoming = &self.shared.snapshots.incoming;
        incoming.keep(&message, received, transfer);
        if self.shared.raft.force_send(region.0, Input::Message(Box::new(message)).into()).is_err() {
            incoming.decline(region, from, index);
        }
    }

    /// The snapshots in flight, in the order in which they began.
    pub fn snapshots(&self) -> Vec<TransferStatus> {
        self.shared.snapshots.transfers.list()
    }

    /// Notes that nothing can be delivered to a store just now.
    pub fn unreachable(&self, store: StoreId) {
        for view in self.shared.table.all() {
            if let Some(peer) = view.descriptor.peer_on(store) {
                // A full mailbox has more urgent news, and raft finds out by itself.
                let _ = self.shared.raft.send(view.descriptor.id.0, Input::Unreachable { peer: peer.id }.into());
            }
        }
    }

    /// The life of another store that is remembered for good: `instance`, if this is the first time that the store is
    /// met. Whoever comes with another one is not the disk that voted, and must be refused (D14).
    ///
    /// Blocks on the log engine the first time that a store is met.
    ///
    /// # Errors
    /// The log engine's; the store fails by it as well.
    pub fn remember_instance(&self, store: StoreId, instance: InstanceId) -> Result<InstanceId, StoreError> {
        let listens = self.shared.config.planted.has(PlantedBug::WipedStoreVotes);
        let mut known = self.shared.instances.lock();
        if let Some(known) = known.get(&store) {
            return Ok(if listens { instance } else { *known });
        }
        let batch = LogBatch { ops: vec![LogOp::PutInstance { store, instance }] };
        if let Err(error) = self.shared.engines.log.write(batch, Durability::Synced) {
            drop(known);
            // An idle store would not notice by itself that its log engine takes no more writes (D15).
            self.shared.fail(EngineError::Poisoned { engine: "log", cause: error.to_string() }.into());
            return Err(error.into());
        }
        known.insert(store, instance);
        Ok(instance)
    }

    /// Every region of the store, ordered by start key.
    pub fn regions(&self) -> Vec<RegionView> {
        self.shared.table.all()
    }

    /// A region of the store.
    pub fn region(&self, id: RegionId) -> Option<RegionView> {
        self.shared.table.get(id)
    }

    /// The region of the store that holds a key.
    pub fn region_at(&self, key: &[u8]) -> Option<RegionView> {
        self.shared.table.at(key)
    }

    /// Counts a request, and how long it takes to be answered.
    fn timed<T: 'static>(
        &self,
        kind: ProposalKind,
        responder: Responder<Result<T, RequestError>>,
    ) -> Responder<Result<T, RequestError>> {
        let (metrics, clock) = (Arc::clone(&self.shared.around.metrics), Arc::clone(&self.shared.around.clock));
        metrics.proposals[kind].inc();
        let started = clock.now();
        Responder::new(move |result| {
            metrics.request_duration[kind].observe(clock.now().since(started).as_secs_f64());
            responder.respond(result);
        })
    }

    /// Why no request is taken just now.
    fn refusal(&self) -> Option<RequestError> {
        match self.state() {
            StoreState::Starting | StoreState::Serving => None,
            StoreState::Stopping => Some(RequestError::ServerIsBusy { reason: "the store is stopping" }),
            StoreState::Failed => Some(RequestError::ServerIsBusy { reason: "the store has failed, see its log" }),
            StoreState::Stopped => Some(RequestError::ServerIsBusy { reason: "the store is stopped" }),
        }
    }

    /// Puts a request into a region's mailbox, or answers why not.
    fn ask(&self, region: RegionId, input: Input) {
        let (message, error) = match self.shared.raft.send(region.0, input.into()) {
            Ok(()) => return,
            Err(SendError::Unknown(message) | SendError::Closed(message)) => {
                (message, RequestError::RegionNotFound { region })
            }
            Err(SendError::Full(message)) => {
                (message, RequestError::ServerIsBusy { reason: "the region's queue is full" })
            }
        };
        metrics::refused(&self.shared.around.metrics, &error);
        match message {
            RaftMessage::Input(Input::Propose(proposal)) => proposal.responder.respond(Err(error)),
            RaftMessage::Input(Input::Read(read)) => read.responder.respond(Err(error)),
            RaftMessage::Input(Input::TransferLeader { responder, .. }) => responder.respond(Err(error)),
            RaftMessage::Input(Input::Split(request)) => request.responder.respond(Err(error)),
            RaftMessage::Input(Input::ChangeMembers(request)) => request.responder.respond(Err(error)),
            // Nobody waits for the others; an inspector that is dropped says that there is nothing to see.
            _ => {}
        }
    }
}
