//! What is true of one region, whatever single stores hold of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use engine::ApplyState;
use types::limits::{INITIAL_LOG_INDEX, INITIAL_LOG_TERM};
use types::{InstanceId, LogIndex, Peer, PeerId, PeerRole, RegionDescriptor, Term};

use super::log::{LogAccount, Slot};
use super::replay::{Outcome, Replay};
use super::state::StateAccount;

/// Most peers of a region whose logs are followed at a time, removed ones included.
const MAX_PEERS: usize = 64;
/// Most configurations that are remembered: a store that lags may still count by an earlier one.
const MAX_CONFIGURATIONS: usize = 4;

/// A committed entry, and the region as of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its term.
    pub term: Term,
    /// The hash of the whole log up to it.
    pub chain: u64,
    /// A term in which it was committed at the latest.
    pub by_term: Term,
    /// The digest of the region's data behind it.
    pub digest: u64,
    /// The newest index that a log compaction had removed by then, and its term.
    pub truncated: (LogIndex, Term),
    /// The region's descriptor behind it.
    pub descriptor: Arc<RegionDescriptor>,
}

/// One of the entries that were ever durable at an index.
#[derive(Clone, Copy, Debug)]
struct Variant {
    term: Term,
    chain: u64,
    /// Which peers ever had it durable; a bit for each.
    holders: u64,
}

/// The entries that were ever durable at an index: nearly always one.
#[derive(Clone, Debug, Default)]
struct Seen {
    first: Option<Variant>,
    others: Vec<Variant>,
}

impl Seen {
    fn iter(&self) -> impl Iterator<Item = &Variant> {
        self.first.iter().chain(&self.others)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Variant> {
        self.first.iter_mut().chain(&mut self.others)
    }

    fn add(&mut self, variant: Variant) {
        match &mut self.first {
            None => self.first = Some(variant),
            Some(_) => self.others.push(variant),
        }
    }
}

/// What is true of one region.
#[derive(Debug)]
pub struct RegionTruth {
    origin: (LogIndex, Committed),
    /// The entries from the oldest that a crash may still bring some replica back to.
    committed: VecDeque<Committed>,
    /// The index of the first of `committed`.
    first: LogIndex,
    seen: VecDeque<Seen>,
    /// Which peer has which bit in [`Variant::holders`], and which life of its disk it was first seen on.
    bits: BTreeMap<PeerId, (u32, InstanceId)>,
    configurations: VecDeque<Vec<Peer>>,
    replay: Replay,
}

impl RegionTruth {
    /// A region as it was born with a cluster, before any entry of its log.
    ///
    /// # Errors
    /// When it has data: nobody knows where that came from.
    pub fn new(account: &StateAccount) -> Result<Self, String> {
        let ApplyState { applied, applied_term, truncated, truncated_term } = account.apply_state;
        if account.digest != 0 {
            return Err(format!("region {} appears with data, and out of nothing", account.descriptor.id));
        }
        let replay = Replay::new(account.descriptor.clone(), (truncated, truncated_term));
        Ok(Self::beginning_at(applied, applied_term, replay))
    }

    /// A region that was born by a split.
    pub fn born(replay: Replay) -> Self {
        Self::beginning_at(LogIndex(INITIAL_LOG_INDEX), Term(INITIAL_LOG_TERM), replay)
    }

    fn beginning_at(index: LogIndex, term: Term, replay: Replay) -> Self {
        let origin = Committed {
            term,
            chain: 0,
            by_term: term,
            digest: replay.digest(),
            truncated: replay.truncated,
            descriptor: Arc::clone(&replay.descriptor),
        };
        Self {
            origin: (index, origin.clone()),
            committed: VecDeque::from([origin]),
            first: index,
            seen: VecDeque::new(),
            bits: BTreeMap::new(),
            configurations: VecDeque::from([replay.descriptor.peers.clone()]),
            replay,
        }
    }

    /// The index behind which the region's log begins; no log holds it.
    pub fn origin(&self) -> LogIndex {
        self.origin.0
    }

    /// The newest index that any store has applied.
    pub fn frontier(&self) -> LogIndex {
        LogIndex(self.first.0 + self.committed.len() as u64 - 1)
    }

    /// A committed entry; `None` behind the frontier, and for what no crash can bring back.
    pub fn committed(&self, index: LogIndex) -> Option<&Committed> {
        if index == self.origin.0 {
            return Some(&self.origin.1);
        }
        self.committed.get(usize::try_from(index.0.checked_sub(self.first.0)?).ok()?)
    }

    /// The oldest index that [`committed`](Self::committed) knows, the origin apart.
    pub fn oldest(&self) -> LogIndex {
        self.first
    }

    /// The entry that took a peer's membership, the newest if there are several; `None` while it is a member, or when
    /// that is too long ago to be known.
    pub fn removed_at(&self, peer: PeerId) -> Option<LogIndex> {
        let lacks = |entry: &Committed| entry.descriptor.peer(peer).is_none();
        let newest = self.committed.iter().rev().take_while(|entry| lacks(entry)).count();
        (newest > 0 && newest < self.committed.len()).then(|| LogIndex(self.frontier().0 + 1 - newest as u64))
    }

    /// The newest index that was surely committed before a term.
    pub fn committed_before(&self, term: Term) -> Option<LogIndex> {
        let newest = self.committed.iter().rposition(|entry| entry.by_term < term)?;
        Some(LogIndex(self.first.0 + newest as u64))
    }

    /// The region's descriptor and data as of the frontier.
    pub fn replay(&self) -> &Replay {
        &self.replay
    }

    /// The hash of the log up to an index, where only one log is possible.
    pub fn chain_at(&self, index: LogIndex) -> Option<u64> {
        self.committed(index).map(|entry| entry.chain)
    }

    /// The hash of the log up to the entry of an index and term, if it was ever durable anywhere.
    pub fn seen(&self, index: LogIndex, term: Term) -> Option<u64> {
        self.variants(index)?.iter().find(|variant| variant.term == term).map(|variant| variant.chain)
    }

    /// Whether a quorum of the voters ever had one and the same log up to an index durable. True for an index that is
    /// too old to be known.
    pub fn is_on_quorum(&self, index: LogIndex) -> bool {
        if index <= self.first {
            return true;
        }
        let Some(seen) = self.variants(index) else { return false };
        let of_quorum =
            |variant: &Variant| self.configurations.iter().any(|peers| self.is_quorum(peers, variant.holders));
        seen.iter().any(of_quorum)
    }

    /// Whether a peer ever had an entry durable at an index. True for an index that is too old to be known.
    pub fn was_durable_on(&self, peer: PeerId, index: LogIndex) -> bool {
        if index <= self.first {
            return true;
        }
        let (Some(seen), Some((bit, _))) = (self.variants(index), self.bits.get(&peer)) else { return false };
        seen.iter().any(|variant| variant.holders & (1 << bit) != 0)
    }

    fn variants(&self, index: LogIndex) -> Option<&Seen> {
        self.seen.get(usize::try_from(index.0.checked_sub(self.first.0 + 1)?).ok()?)
    }

    /// A majority of each half of the configuration; the halves differ only while it is joint.
    fn is_quorum(&self, peers: &[Peer], holders: u64) -> bool {
        let holds = |peer: &Peer| self.bits.get(&peer.id).is_some_and(|(bit, _)| holders & (1 << bit) != 0);
        let majority = |counts: fn(PeerRole) -> bool| {
            let voters = || peers.iter().filter(|peer| counts(peer.role));
            voters().filter(|peer| holds(peer)).count() * 2 > voters().count()
        };
        majority(|role| matches!(role, PeerRole::Voter | PeerRole::DemotingVoter))
            && majority(|role| matches!(role, PeerRole::Voter | PeerRole::IncomingVoter))
    }

    /// Entries of a store's log from an index on became durable.
    ///
    /// # Errors
    /// When an entry of the same index and term was durable elsewhere in a log that was not the same up to it.
    pub fn see(&mut self, peer: PeerId, instance: InstanceId, log: &LogAccount, from: LogIndex) -> Result<(), String> {
        let bit = self.bit(peer, instance);
        for index in from.max(self.first.next()).0..=log.last_index().0 {
            let slot = log.slot(LogIndex(index)).expect("the index lies in the log");
            let at = (index - self.first.0 - 1) as usize;
            if self.seen.len() <= at {
                self.seen.resize(at + 1, Seen::default());
            }
            let seen = &mut self.seen[at];
            let Some(variant) = seen.iter_mut().find(|variant| variant.term == slot.term) else {
                seen.add(Variant { term: slot.term, chain: slot.chain, holders: bit });
                continue;
            };
            if variant.chain != slot.chain {
                let term = slot.term;
                return Err(format!(
                    "entry {index} of term {term} is not the one that others had, or the log before it"
                ));
            }
            variant.holders |= bit;
        }
        Ok(())
    }

    /// The bit of a peer. None for a peer on another life of its disk than the one that it was born on: whatever that
    /// says does not count (D14).
    fn bit(&mut self, peer: PeerId, instance: InstanceId) -> u64 {
        if let Some((bit, born)) = self.bits.get(&peer) {
            return if *born == instance { 1 << bit } else { 0 };
        }
        let bit = if self.bits.len() < MAX_PEERS { self.bits.len() as u32 } else { self.free_bit() };
        self.bits.insert(peer, (bit, instance));
        1 << bit
    }

    /// Whether a peer counts on this life of its disk: on the one that it was born on, or on none that is known yet.
    pub fn counts_on(&self, peer: PeerId, instance: InstanceId) -> bool {
        self.bits.get(&peer).is_none_or(|(_, born)| *born == instance)
    }

    /// Takes the bit of the peer with the smallest id, which was removed the longest ago.
    fn free_bit(&mut self) -> u32 {
        let (_, (bit, _)) = self.bits.pop_first().expect("all bits are taken");
        self.seen.iter_mut().flat_map(Seen::iter_mut).for_each(|variant| variant.holders &= !(1 << bit));
        bit
    }

    /// A store with this log applied up to an index, farther than any before it. Pushes the hashes of the commands that
    /// are new, by index. Returns the regions that were born.
    ///
    /// # Errors
    /// When the store's own log does not hold the entries durable, or one of them cannot be replayed.
    pub fn extend(
        &mut self,
        log: &LogAccount,
        applied: LogIndex,
        commands: &mut Vec<(LogIndex, u64)>,
    ) -> Result<Vec<Replay>, String> {
        let by_term = log.hard_state().term;
        // Whatever comes before what was committed in a term was committed in it too. Hence these terms never fall.
        let later = |entry: &&mut Committed| entry.by_term > by_term;
        self.committed.iter_mut().rev().take_while(later).for_each(|entry| entry.by_term = by_term);
        let mut outcome = Outcome::default();
        for index in self.frontier().0 + 1..=applied.0 {
            let index = LogIndex(index);
            let missing = || format!("entry {index} is applied, and not durable in the store's own log");
            let slot: &Slot = log.slot(index).ok_or_else(missing)?;
            self.replay.apply(index, slot, &mut outcome)?;
            commands.extend(outcome.commands.drain(..).map(|hash| (index, hash)));
            self.note_configuration();
            self.committed.push_back(Committed {
                term: slot.term,
                chain: slot.chain,
                by_term,
                digest: self.replay.digest(),
                truncated: self.replay.truncated,
                descriptor: Arc::clone(&self.replay.descriptor),
            });
        }
        Ok(outcome.born)
    }

    fn note_configuration(&mut self) {
        let peers = &self.replay.descriptor.peers;
        if self.configurations.back() != Some(peers) {
            self.configurations.push_back(peers.clone());
        }
        if self.configurations.len() > MAX_CONFIGURATIONS {
            self.configurations.pop_front();
        }
    }

    /// Forgets what lies before an index that every replica has durably applied.
    pub fn forget_before(&mut self, index: LogIndex) {
        let index = index.min(self.frontier());
        while self.first < index {
            self.committed.pop_front();
            self.seen.pop_front();
            self.first = self.first.next();
        }
    }
}
