//! What the raft crate reads its log from.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{ApplyState, EngineError, Entry, HardState, LogEngine};
use raft::eraftpb::{ConfState, HardState as RaftHardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use types::{LogIndex, PeerId, PeerRole, RegionDescriptor, RegionId, Term};

use crate::cache::{EntryCache, entry_bytes};

/// A region's log: the entry cache in front of the log engine.
///
/// The log engine may be behind: entries that raft was told to have appended are in the cache until they are durable.
///
/// The raft crate panics when reading its storage fails. So an engine's error is kept here for the machine, raft gets a
/// harmless answer, and the machine gives up with the error before any effect of that answer leaves it.
pub(crate) struct LogStore {
    region: RegionId,
    peer: PeerId,
    engine: Arc<dyn LogEngine>,
    cache: EntryCache,
    initial: RaftState,
    apply_state: ApplyState,
    last_index: LogIndex,
    hands_out: bool,
    /// Bytes of entries that were read for appends since the last ready.
    sending: Cell<u64>,
    failure: Cell<Option<EngineError>>,
    /// Snapshots that raft may send, by receiver.
    offered: BTreeMap<PeerId, Snapshot>,
    /// Receivers for which raft found none, and the index that it must not be older than.
    wanted: RefCell<BTreeMap<PeerId, LogIndex>>,
}

impl LogStore {
    /// A log as it was restored.
    pub(crate) fn new(
        descriptor: &RegionDescriptor,
        peer: PeerId,
        engine: Arc<dyn LogEngine>,
        hard_state: HardState,
        apply_state: ApplyState,
        last_index: LogIndex,
    ) -> Self {
        Self {
            region: descriptor.id,
            peer,
            engine,
            cache: EntryCache::default(),
            initial: RaftState::new(to_raft_hard_state(hard_state), conf_state(descriptor)),
            apply_state,
            last_index,
            hands_out: true,
            sending: Cell::new(0),
            failure: Cell::new(None),
            offered: BTreeMap::new(),
            wanted: RefCell::default(),
        }
    }

    /// Lets raft send a snapshot to a member.
    pub(crate) fn offer_snapshot(&mut self, to: PeerId, snapshot: Snapshot) {
        self.offered.insert(to, snapshot);
    }

    /// The snapshot for a member is sent, or is no use any more.
    pub(crate) fn withdraw_snapshot(&mut self, to: PeerId) {
        self.offered.remove(&to);
    }

    /// The members for which raft asked in vain since the last call, and the index that it asked for.
    pub(crate) fn take_wanted_snapshots(&self) -> BTreeMap<PeerId, LogIndex> {
        self.wanted.take()
    }

    /// How far the log is applied and compacted.
    pub(crate) fn apply_state(&self) -> ApplyState {
        self.apply_state
    }

    /// Takes a newer apply state; a raised truncated index drops what lies below from the cache.
    pub(crate) fn set_apply_state(&mut self, apply_state: ApplyState) {
        self.apply_state = apply_state;
        self.cache.drop_to(apply_state.truncated);
    }

    /// Whether [`Storage::entries`] serves committed entries to the next ready; raft has no other way to be told that
    /// apply has no room.
    pub(crate) fn set_hands_out(&mut self, hands_out: bool) {
        self.hands_out = hands_out;
    }

    /// A ready has taken the appends with it: as many may be read again.
    pub(crate) fn appends_left(&self) {
        self.sending.set(0);
    }

    /// The entry cache's size in bytes.
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// Replaces the log from the first one's index on, in memory. Returns the bytes that were replaced, as far as they
    /// were cached.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> u64 {
        let replaced = self.cache.append(entries);
        if let Some(last) = entries.last() {
            self.last_index = LogIndex(last.index);
        }
        replaced
    }

    /// Drops durable entries from the cache until it holds no more than `bound` bytes.
    pub(crate) fn evict(&mut self, bound: u64, durable: LogIndex) {
        self.cache.evict(bound, durable);
    }

    /// About how many bytes the entries from `low` to `high` (both included) take.
    pub(crate) fn bytes_between(&self, low: LogIndex, high: LogIndex) -> Result<u64, EngineError> {
        if self.cache.first().is_some_and(|first| first <= low) {
            return Ok(self.cache.from(low).take_while(|entry| entry.index <= high.0).map(entry_bytes).sum());
        }
        self.engine.approximate_bytes(self.region, low, high.next())
    }

    /// The first failure of the log engine since the last call.
    pub(crate) fn take_failure(&self) -> Option<EngineError> {
        self.failure.take()
    }

    fn fail(&self, error: EngineError) {
        let first = self.failure.take().unwrap_or(error);
        self.failure.set(Some(first));
    }

    fn first(&self) -> LogIndex {
        self.apply_state.truncated.next()
    }

    /// Entries from the engine; at least one, or an error.
    pub(crate) fn read(&self, low: LogIndex, high: LogIndex, max_bytes: u64) -> Result<Vec<Entry>, EngineError> {
        let entries = self.engine.entries(self.region, self.peer, low, high, max_bytes)?;
        if entries.first().is_none_or(|first| first.index != low.0) {
            return Err(missing(self.region, low));
        }
        Ok(entries)
    }

    /// Entries from both sides of the cache's beginning: as many as `max_bytes` allow, and at least one; none behind a
    /// failure.
    fn slice(&self, low: LogIndex, high: LogIndex, max_bytes: u64) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let cached_from = self.cache.first().unwrap_or(high).min(high);
        if low < cached_from {
            match self.read(low, cached_from, max_bytes) {
                Ok(read) => entries = read,
                Err(error) => {
                    self.fail(error);
                    return Vec::new();
                }
            }
            if (entries.len() as u64) < cached_from.0 - low.0 {
                return entries;
            }
            bytes = entries.iter().map(entry_bytes).sum();
        }
        for entry in self.cache.from(low.max(cached_from)).take_while(|entry| entry.index < high.0) {
            if !entries.is_empty() && bytes + entry_bytes(entry) > max_bytes {
                break;
            }
            bytes += entry_bytes(entry);
            entries.push(entry.clone());
        }
        entries
    }
}

impl Storage for LogStore {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let (low, high) = (LogIndex(low), LogIndex(high));
        if low < self.first() {
            return Err(StorageError::Compacted.into());
        }
        assert!(high <= self.last_index.next(), "entries up to {high} asked of a log that ends at {}", self.last_index);
        // Appends are fetched with a context that could wait; what a ready hands to apply is not.
        if !self.hands_out && !context.can_async() {
            return Ok(Vec::new());
        }
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        // Raft would read all that a follower lacks at once, up to its window of messages, whenever that follower answers.
        // What is withheld it asks for again at the next answer, or at the answer to the next heartbeat.
        if context.can_async() && self.sending.get() >= max_bytes {
            return Err(StorageError::LogTemporarilyUnavailable.into());
        }
        let entries = self.slice(low, high, max_bytes);
        if context.can_async() {
            self.sending.set(self.sending.get() + entries.iter().map(entry_bytes).sum::<u64>());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let index = LogIndex(index);
        if index == self.apply_state.truncated {
            return Ok(self.apply_state.truncated_term.0);
        }
        if index < self.apply_state.truncated {
            return Err(StorageError::Compacted.into());
        }
        if index > self.last_index {
            return Err(StorageError::Unavailable.into());
        }
        if let Some(term) = self.cache.term(index) {
            return Ok(term.0);
        }
        if index == self.apply_state.applied {
            return Ok(self.apply_state.applied_term.0);
        }
        match self.engine.term(self.region, self.peer, index) {
            Ok(Some(Term(term))) => Ok(term),
            Ok(None) => {
                self.fail(missing(self.region, index));
                Ok(0)
            }
            Err(error) => {
                self.fail(error);
                Ok(0)
            }
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first().0)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index.0)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let at_least = LogIndex(request_index).max(self.apply_state.truncated);
        match self.offered.get(&PeerId(to)) {
            Some(snapshot) if LogIndex(snapshot.get_metadata().index) >= at_least => Ok(snapshot.clone()),
            _ => {
                self.wanted.borrow_mut().insert(PeerId(to), at_least);
                Err(StorageError::SnapshotTemporarilyUnavailable.into())
            }
        }
    }
}

fn missing(region: RegionId, index: LogIndex) -> EngineError {
    EngineError::Corruption { engine: "log", cause: format!("region {region} has no entry {index}") }
}

/// The hard state as raft has it.
fn to_raft_hard_state(hard_state: HardState) -> RaftHardState {
    RaftHardState {
        term: hard_state.term.0,
        vote: hard_state.vote.0,
        commit: hard_state.commit.0,
        ..RaftHardState::default()
    }
}

/// The hard state as the log engine has it.
pub(crate) fn from_raft_hard_state(raft: &RaftHardState) -> HardState {
    HardState { term: Term(raft.term), vote: PeerId(raft.vote), commit: LogIndex(raft.commit) }
}

/// A descriptor's members as raft has them. While some of them change their part, the configuration is joint: the
/// incoming half are those that will vote, the outgoing half those that voted before.
pub(crate) fn conf_state(descriptor: &RegionDescriptor) -> ConfState {
    let with = |roles: &[PeerRole]| -> Vec<u64> {
        descriptor.peers.iter().filter(|peer| roles.contains(&peer.role)).map(|peer| peer.id.0).collect()
    };
    let mut state = ConfState::default();
    state.set_voters(with(&[PeerRole::Voter, PeerRole::IncomingVoter]));
    state.set_learners(with(&[PeerRole::Learner]));
    let joint = descriptor.peers.iter().any(|p| matches!(p.role, PeerRole::IncomingVoter | PeerRole::DemotingVoter));
    if joint {
        state.set_voters_outgoing(with(&[PeerRole::Voter, PeerRole::DemotingVoter]));
        state.set_learners_next(with(&[PeerRole::DemotingVoter]));
    }
    state
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use engine::memory::{Fault, FaultPoint, MemDisk};
    use engine::{Durability, LogBatch, LogOp};
    use types::{Peer, StoreId};

    use super::*;

    const REGION: RegionId = RegionId(1);
    const PEER: PeerId = PeerId(1);

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![0; 36].into(), ..Entry::default() }
    }

    fn descriptor(roles: &[PeerRole]) -> RegionDescriptor {
        let peer = |(n, role): (usize, &PeerRole)| {
            let id = n as u64 + 1;
            Peer { id: PeerId(id), store_id: StoreId(id), role: *role }
        };
        RegionDescriptor {
            id: REGION,
            peers: roles.iter().enumerate().map(peer).collect(),
            ..RegionDescriptor::default()
        }
    }

    /// A log whose entries 6 to 9 are in the engine, and 10 to 12 in the cache alone. Each counts for 100 bytes.
    fn store() -> (MemDisk, LogStore) {
        let disk = MemDisk::default();
        let log = disk.open_log().unwrap();
        let entries = (6..=9).map(|index| entry(index, 5)).collect();
        let append = LogOp::Append { region: REGION, peer: PEER, entries, hard_state: HardState::default() };
        log.write(LogBatch { ops: vec![append] }, Durability::Synced).unwrap();
        let five = (LogIndex(5), Term(5));
        let state = ApplyState { applied: five.0, applied_term: five.1, truncated: five.0, truncated_term: five.1 };
        let descriptor = descriptor(&[PeerRole::Voter]);
        let mut store = LogStore::new(&descriptor, PEER, Arc::new(log), HardState::default(), state, LogIndex(9));
        store.append(&[entry(10, 6), entry(11, 6), entry(12, 6)]);
        (disk, store)
    }

    fn indexes(store: &LogStore, low: u64, high: u64, max_bytes: u64) -> Vec<u64> {
        let entries = store.entries(low, high, max_bytes, GetEntriesContext::empty(false)).unwrap();
        entries.iter().map(|entry| entry.index).collect()
    }

    #[test]
    fn entries_come_from_both_sides_of_the_cache_and_within_bytes() {
        let (_disk, store) = store();
        assert_eq!(indexes(&store, 6, 13, u64::MAX), [6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(indexes(&store, 9, 12, u64::MAX), [9, 10, 11]);
        assert_eq!(indexes(&store, 11, 13, u64::MAX), [11, 12]);
        // One comes at least, however small the bound.
        assert_eq!(indexes(&store, 6, 13, 0), [6]);
        assert_eq!(indexes(&store, 10, 13, 0), [10]);
        assert_eq!(indexes(&store, 9, 13, 300), [9, 10, 11]);
        assert_eq!(indexes(&store, 10, 13, 250), [10, 11]);
    }

    #[test]
    fn terms_come_from_wherever_the_entry_is() {
        let (_disk, store) = store();
        assert_eq!([5, 6, 9, 10, 12].map(|index| store.term(index).unwrap()), [5, 5, 5, 6, 6]);
        assert_eq!(store.term(4), Err(StorageError::Compacted.into()));
        assert_eq!(store.term(13), Err(StorageError::Unavailable.into()));
        assert!(store.take_failure().is_none());
    }

    #[test]
    fn what_is_compacted_is_gone_from_the_cache_too() {
        let (_disk, mut store) = store();
        let state = store.apply_state();
        let compacted = ApplyState { applied: LogIndex(11), truncated: LogIndex(10), truncated_term: Term(6), ..state };
        store.set_apply_state(compacted);
        assert_eq!((store.first_index().unwrap(), store.last_index().unwrap()), (11, 12));
        assert_eq!(store.term(10), Ok(6));
        let old = store.entries(10, 12, None, GetEntriesContext::empty(false));
        assert_eq!(old.unwrap_err(), StorageError::Compacted.into());
        assert_eq!(indexes(&store, 11, 13, u64::MAX), [11, 12]);
        assert_eq!(store.snapshot(0, 2).unwrap_err(), StorageError::SnapshotTemporarilyUnavailable.into());
    }

    #[test]
    fn nothing_is_handed_out_while_apply_has_no_room() {
        let (_disk, mut store) = store();
        store.set_hands_out(false);
        assert_eq!(indexes(&store, 6, 13, u64::MAX), [0u64; 0]);
        let for_followers = store.entries(6, 13, None, GetEntriesContext::empty(true)).unwrap();
        assert_eq!(for_followers.len(), 7);
    }

    #[test]
    fn the_first_failure_is_kept() {
        let (disk, store) = store();
        disk.inject(FaultPoint::LogRead, 1, Fault::Io);
        assert_eq!(store.term(7), Ok(0));
        disk.inject(FaultPoint::LogRead, 1, Fault::DiskFull);
        assert_eq!(indexes(&store, 6, 13, u64::MAX), [0u64; 0]);
        assert!(matches!(store.take_failure(), Some(EngineError::Io { .. })));
        assert!(store.take_failure().is_none());
    }

    #[test]
    fn an_entry_that_is_missing_is_damage() {
        let disk = MemDisk::default();
        let state = ApplyState::default();
        let log = Arc::new(disk.open_log().unwrap());
        let store = LogStore::new(&descriptor(&[]), PEER, log, HardState::default(), state, LogIndex(9));
        assert_eq!(store.term(7), Ok(0));
        assert!(matches!(store.take_failure(), Some(EngineError::Corruption { .. })));
    }

    #[test]
    fn roles_map_to_both_halves_of_a_joint_configuration() {
        use PeerRole::{DemotingVoter, IncomingVoter, Learner, Voter};
        let simple = conf_state(&descriptor(&[Voter, Learner, Voter]));
        assert_eq!((simple.get_voters(), simple.get_learners()), (&[1, 3][..], &[2][..]));
        assert!(simple.get_voters_outgoing().is_empty() && simple.get_learners_next().is_empty());

        let joint = conf_state(&descriptor(&[Voter, IncomingVoter, DemotingVoter, Learner]));
        assert_eq!((joint.get_voters(), joint.get_voters_outgoing()), (&[1, 2][..], &[1, 3][..]));
        assert_eq!((joint.get_learners(), joint.get_learners_next()), (&[4][..], &[3][..]));
        assert!(!joint.auto_leave);
    }
}
