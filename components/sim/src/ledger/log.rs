//! What one store's log engine holds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use engine::{
    Birth, Entry, EntryType, HardState, Lifecycle, LogBatch, LogOp, RegionLog, RegionLogState, SnapshotMarker,
    StoreIdent,
};
use types::{InstanceId, LogIndex, PeerId, RegionId, StoreId, Term};

use super::digest::{chain, entry_hash};
use crate::observation::DiskContent;

/// An entry as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The entry's term.
    pub term: Term,
    /// The entry's hash.
    pub hash: u64,
    /// The hash of the whole log up to it.
    pub chain: u64,
    /// What kind of entry it is.
    pub kind: EntryType,
    /// What it holds.
    pub data: Bytes,
    /// What it holds beside it: a change of members.
    pub context: Bytes,
}

/// The place before a log's first entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The index before the first entry.
    pub index: LogIndex,
    /// The hash of the whole log up to it.
    pub chain: u64,
}

/// What L holds of one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogAccount {
    /// Its lifecycle record.
    pub lifecycle: Option<Lifecycle>,
    /// Its hard state, and whose it is.
    pub state: Option<RegionLogState>,
    /// Its commit floor.
    pub commit_floor: LogIndex,
    base: Option<Base>,
    slots: VecDeque<Slot>,
}

impl LogAccount {
    /// First and last index of its entries; `None` when it has no entry.
    pub fn bounds(&self) -> Option<(LogIndex, LogIndex)> {
        let base = self.base.filter(|_| !self.slots.is_empty())?.index;
        Some((base.next(), LogIndex(base.0 + self.slots.len() as u64)))
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The index of the last entry, or the one before the first where there is none.
    pub fn last_index(&self) -> LogIndex {
        LogIndex(self.base.map_or(0, |base| base.index.0) + self.slots.len() as u64)
    }

    /// The entry at an index.
    pub fn slot(&self, index: LogIndex) -> Option<&Slot> {
        let base = self.base?.index;
        self.slots.get(usize::try_from(index.0.checked_sub(base.0 + 1)?).ok()?)
    }

    /// The hash of the whole log up to an index, where it is known.
    pub fn chain_at(&self, index: LogIndex) -> Option<u64> {
        let base = self.base.filter(|base| base.index == index).map(|base| base.chain);
        base.or_else(|| self.slot(index).map(|slot| slot.chain))
    }

    /// The hard state, zero where none was written.
    pub fn hard_state(&self) -> HardState {
        self.state.map(|state| state.hard_state).unwrap_or_default()
    }

    /// The index behind which its entries begin, where it is known: by an entry that was there, or by a snapshot.
    pub fn begins_behind(&self) -> Option<LogIndex> {
        self.base.map(|base| base.index)
    }

    /// The newest index that it durably knows to be committed.
    pub fn known_commit(&self) -> LogIndex {
        self.hard_state().commit.max(self.commit_floor)
    }

    /// Whose log it is.
    pub fn peer(&self) -> Option<PeerId> {
        self.state.map(|state| state.peer)
    }

    fn append(&mut self, entries: &[Entry], origin: impl Fn(LogIndex) -> Option<u64>) -> Result<(), String> {
        let Some(first) = entries.first() else { return Ok(()) };
        let before = LogIndex(first.index).previous();
        if self.slots.is_empty() && self.base.is_none_or(|base| base.index != before) {
            let known =
                origin(before).ok_or_else(|| format!("its log begins behind {before}, of which nothing is known"))?;
            self.base = Some(Base { index: before, chain: known });
        }
        let base = self.base.map_or(LogIndex(0), |base| base.index);
        if before < base || before > self.last_index() {
            let last = self.last_index();
            return Err(format!(
                "entries from {} on do not join its log, which goes from {base} to {last}",
                first.index
            ));
        }
        self.slots.truncate((before.0 - base.0) as usize);
        let mut up_to = self.chain_at(before).expect("the entry before the appended ones is there");
        for entry in entries {
            let hash = entry_hash(entry);
            up_to = chain(up_to, hash);
            self.slots.push_back(Slot {
                term: Term(entry.term),
                hash,
                chain: up_to,
                kind: entry.entry_type,
                data: entry.data.clone(),
                context: entry.context.clone(),
            });
        }
        Ok(())
    }

    /// A snapshot takes the place of the log: what comes next joins it.
    fn begin_behind(&mut self, index: LogIndex, chain: Option<u64>) {
        self.slots.clear();
        self.base = chain.map(|chain| Base { index, chain });
    }

    fn delete_to(&mut self, end: LogIndex) {
        while let Some((first, _)) = self.bounds().filter(|(first, _)| *first < end) {
            let slot = self.slots.pop_front().expect("its bounds say that there is one");
            self.base = Some(Base { index: first, chain: slot.chain });
        }
    }

    fn remove(&mut self, next_peer: PeerId) {
        let known = self.lifecycle.map_or(PeerId(0), |lifecycle| lifecycle.next_peer);
        let birth = self.lifecycle.map_or(Birth::Message, |lifecycle| lifecycle.birth);
        let lifecycle = Lifecycle { peer: None, next_peer: known.max(next_peer), birth };
        *self = Self { lifecycle: Some(lifecycle), ..Self::default() };
    }

    /// How it differs from what was found on the disk.
    fn difference(&self, found: &RegionLog, entries: &[Entry]) -> Option<String> {
        let records = (self.lifecycle, self.state, self.commit_floor, self.bounds());
        let of_disk = (found.lifecycle, found.state, found.commit_floor, found.bounds);
        if records != of_disk {
            return Some(format!("region {}: written was {records:?}, found is {of_disk:?}", found.region));
        }
        let differs = |(slot, entry): &(&Slot, &Entry)| slot.hash != entry_hash(entry);
        let (_, entry) = self.slots.iter().zip(entries).find(differs)?;
        Some(format!("region {}: entry {} is not the one that was written", found.region, entry.index))
    }

    fn is_nothing(&self) -> bool {
        self.lifecycle.is_none() && self.state.is_none() && self.commit_floor == LogIndex(0) && self.slots.is_empty()
    }
}

/// What L holds of all regions at one moment.
#[derive(Clone, Debug, Default)]
pub struct LogContent {
    /// Who the store is.
    pub ident: Option<StoreIdent>,
    /// The other stores' lives that it remembers.
    pub instances: BTreeMap<StoreId, InstanceId>,
    /// Its regions.
    pub regions: BTreeMap<RegionId, LogAccount>,
    /// The snapshots that are being applied.
    pub markers: BTreeMap<RegionId, SnapshotMarker>,
}

impl LogContent {
    /// Carries a batch out. `origin` knows the hash of a region's log up to an index from which no entry is left here.
    ///
    /// # Errors
    /// When entries do not join the log.
    fn apply(&mut self, batch: &LogBatch, origin: &dyn Fn(RegionId, LogIndex) -> Option<u64>) -> Result<(), String> {
        for op in &batch.ops {
            match op {
                LogOp::Append { region, peer, entries, hard_state } => {
                    let account = self.regions.entry(*region).or_default();
                    let joined = account.append(entries, |index| origin(*region, index));
                    joined.map_err(|cause| format!("region {region}: {cause}"))?;
                    account.state = Some(RegionLogState { peer: *peer, hard_state: *hard_state });
                }
                LogOp::DeleteTo { region, end, .. } => {
                    self.regions.entry(*region).or_default().delete_to(*end);
                }
                LogOp::PutLifecycle { region, lifecycle } => {
                    self.regions.entry(*region).or_default().lifecycle = Some(*lifecycle);
                }
                LogOp::RaiseCommitFloor { region, floor } => {
                    let account = self.regions.entry(*region).or_default();
                    account.commit_floor = account.commit_floor.max(*floor);
                }
                LogOp::Remove { region, next_peer } => self.regions.entry(*region).or_default().remove(*next_peer),
                LogOp::PutIdent(ident) => self.ident = Some(*ident),
                LogOp::PutInstance { store, instance } => {
                    self.instances.insert(*store, *instance);
                }
                LogOp::PutMarker(marker) => {
                    self.markers.insert(marker.region(), (**marker).clone());
                }
                LogOp::DropMarker { region } => {
                    self.markers.remove(region);
                }
            }
        }
        // The log is reset beside its marker, in whatever order.
        for marker in
            batch.ops.iter().filter_map(|op| if let LogOp::PutMarker(marker) = op { Some(marker) } else { None })
        {
            let chain = origin(marker.region(), marker.index);
            self.regions.entry(marker.region()).or_default().begin_behind(marker.index, chain);
        }
        Ok(())
    }

    fn difference(&self, found: &DiskContent) -> Option<String> {
        if self.ident != found.ident {
            return Some(format!("written was ident {:?}, found is {:?}", self.ident, found.ident));
        }
        if !self.instances.iter().eq(found.instances.iter().map(|(store, instance)| (store, instance))) {
            return Some(format!("written were lives {:?}, found are {:?}", self.instances, found.instances));
        }
        if !self.markers.values().eq(&found.markers) {
            return Some(format!("written were markers {:?}, found are {:?}", self.markers, found.markers));
        }
        let written: Vec<_> = self.regions.iter().filter(|(_, account)| !account.is_nothing()).collect();
        let found_regions: Vec<RegionId> = found.logs.iter().map(|(log, _)| log.region).collect();
        if !written.iter().map(|(region, _)| **region).eq(found_regions.iter().copied()) {
            let written: Vec<RegionId> = written.iter().map(|(region, _)| **region).collect();
            return Some(format!("written were regions {written:?}, found are {found_regions:?}"));
        }
        written.iter().zip(&found.logs).find_map(|((_, account), (log, entries))| account.difference(log, entries))
    }
}

/// One store's L: what is durable, and what was written since.
#[derive(Clone, Debug, Default)]
pub struct LogLedger {
    durable: LogContent,
    buffered: VecDeque<Arc<LogBatch>>,
}

impl LogLedger {
    /// What no crash can take.
    pub fn durable(&self) -> &LogContent {
        &self.durable
    }

    /// How many writes wait for a sync.
    pub fn buffered_writes(&self) -> usize {
        self.buffered.len()
    }

    /// Notes a write that a crash may take.
    pub fn buffer(&mut self, batch: &Arc<LogBatch>) {
        self.buffered.push_back(Arc::clone(batch));
    }

    /// Notes a write that is durable, and with it all before it.
    ///
    /// # Errors
    /// When entries do not join the log.
    pub fn sync(
        &mut self,
        batch: &Arc<LogBatch>,
        origin: &dyn Fn(RegionId, LogIndex) -> Option<u64>,
    ) -> Result<(), String> {
        while let Some(earlier) = self.buffered.pop_front() {
            self.durable.apply(&earlier, origin)?;
        }
        self.durable.apply(batch, origin)
    }

    /// Compares with what was found on the disk: everything that was synced, and of the rest the oldest writes. What is
    /// found is durable.
    ///
    /// # Errors
    /// When something is missing that was synced, or is there that was not written.
    pub fn open(
        &mut self,
        found: &DiskContent,
        origin: &dyn Fn(RegionId, LogIndex) -> Option<u64>,
    ) -> Result<(), String> {
        let mut content = self.durable.clone();
        let mut kept = 0;
        let mut difference = content.difference(found);
        let oldest = difference.clone();
        while difference.is_some() {
            let Some(batch) = self.buffered.get(kept) else { break };
            content.apply(batch, origin)?;
            kept += 1;
            difference = content.difference(found);
        }
        if let (Some(newest), Some(oldest)) = (difference, oldest) {
            let waiting = self.buffered.len();
            return Err(format!(
                "what is on the disk was never written: without the {waiting} buffered writes, {oldest}; with them, {newest}"
            ));
        }
        self.durable = content;
        self.buffered.clear();
        Ok(())
    }
}
