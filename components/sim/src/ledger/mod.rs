//! The one account of what is true, assembled from observations alone.
//!
//! - Of each store: what its L and S hold, what of it no crash can take ([`LogLedger`], [`StateLedger`]). Whenever a
//!   store is opened, both are compared with its disk, and follow it to the moment that it fell back to.
//! - Of each region: which entries are committed, what they do, and who ever had which entry durable ([`RegionTruth`]).
//!   An entry is committed for the ledger once any store has applied it.
//!
//! The ledger keeps what a crash can still bring back, and folds the rest into the replayed data of each region. Some
//! rules hold it together, so it checks those itself: what was synced is found again, S is at one cut, entries that
//! were ever durable match in all logs, and what is applied is durable in the local log.
//!
//! Reading order: [`digest`], [`log`], [`state`], [`replay`], [`region`], then this file.

pub mod digest;
pub mod log;
pub mod region;
pub mod replay;
pub mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Durability, LogBatch, LogOp, StateBatch};
use types::{InstanceId, LogIndex, PeerId, RegionId, StoreId};

use crate::check::Violation;
use crate::observation::{DiskContent, Event, Observation};
pub use log::{LogAccount, LogContent, LogLedger, Slot};
pub use region::{Committed, RegionTruth};
pub use replay::{Outcome, Replay};
pub use state::{StateAccount, StateChange, StateLedger};

const NAME: &str = "ledger";

/// One store's disk, as it should be.
#[derive(Debug, Default)]
pub struct StoreLedger {
    /// Its log engine.
    pub log: LogLedger,
    /// Its state engine.
    pub state: StateLedger,
    /// Whether it was opened and did not crash, stop or fail since.
    pub is_open: bool,
    /// What peers of its emptied disks had known to be committed: whoever never votes again forgets nothing (D14).
    lost: BTreeMap<(RegionId, PeerId), LogIndex>,
}

impl StoreLedger {
    /// What is durable of a region's log.
    pub fn region_log(&self, region: RegionId) -> Option<&LogAccount> {
        self.log.durable().regions.get(&region)
    }

    /// How far a peer knows its log to be committed: whatever becomes of its store, it acts on no less.
    pub fn known_commit(&self, region: RegionId, peer: PeerId) -> LogIndex {
        let log = self.region_log(region).filter(|log| log.peer() == Some(peer)).map(|log| {
            let applied = self.state.durable().get(&region).map_or(LogIndex(0), |state| state.apply_state.applied);
            log.known_commit().max(applied)
        });
        log.into_iter().chain(self.lost.get(&(region, peer)).copied()).max().unwrap_or_default()
    }

    /// What is left of it when its disk is emptied.
    fn emptied(&self) -> Self {
        let peers = self.log.durable().regions.iter().filter_map(|(region, log)| Some((*region, log.peer()?)));
        let known = peers.map(|(region, peer)| ((region, peer), self.known_commit(region, peer)));
        let mut lost = self.lost.clone();
        lost.extend(known);
        Self { lost, ..Self::default() }
    }

    /// The life of its disk; zero before its bootstrap was complete.
    pub fn instance(&self) -> InstanceId {
        self.log.durable().ident.map(|ident| ident.instance).unwrap_or_default()
    }
}

/// A command that became part of the committed log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedCommand {
    /// Its region.
    pub region: RegionId,
    /// The entry that holds it.
    pub index: LogIndex,
    /// Its hash, as of [`digest::command_hash`].
    pub hash: u64,
}

/// What both engines of every store hold, and which entries are committed.
#[derive(Debug, Default)]
pub struct Ledger {
    stores: BTreeMap<StoreId, StoreLedger>,
    regions: BTreeMap<RegionId, RegionTruth>,
    changes: Vec<StateChange>,
    commands: Vec<CommittedCommand>,
}

impl Ledger {
    /// A store of which something was observed.
    pub fn store(&self, store: StoreId) -> Option<&StoreLedger> {
        self.stores.get(&store)
    }

    /// Every store of which something was observed.
    pub fn stores(&self) -> impl Iterator<Item = (StoreId, &StoreLedger)> {
        self.stores.iter().map(|(id, store)| (*id, store))
    }

    /// A region that some store's S holds or held.
    pub fn region(&self, region: RegionId) -> Option<&RegionTruth> {
        self.regions.get(&region)
    }

    /// Every region that some store's S holds or held.
    pub fn regions(&self) -> impl Iterator<Item = (RegionId, &RegionTruth)> {
        self.regions.iter().map(|(id, region)| (*id, region))
    }

    /// What is durable of a region's log on a store.
    pub fn log(&self, store: StoreId, region: RegionId) -> Option<&LogAccount> {
        self.stores.get(&store)?.region_log(region)
    }

    /// What is visible of a region in a store's S.
    pub fn state(&self, store: StoreId, region: RegionId) -> Option<&StateAccount> {
        self.stores.get(&store)?.state.regions().get(&region)
    }

    /// The regions of which the last observation, a batch of S, held records.
    pub fn changes(&self) -> &[StateChange] {
        &self.changes
    }

    /// The commands that the last observation showed to be committed.
    pub fn committed_commands(&self) -> &[CommittedCommand] {
        &self.commands
    }

    /// Something happened.
    ///
    /// # Errors
    /// When it contradicts what happened before.
    pub fn observe(&mut self, observation: &Observation) -> Result<(), Violation> {
        self.changes.clear();
        self.commands.clear();
        let store = observation.store;
        let kept = match &observation.event {
            Event::LogWritten { batch, durability } => self.log_written(store, batch, *durability),
            Event::LogWriteFailed { batch } => {
                self.store_mut(store).log.buffer(batch);
                Ok(())
            }
            Event::StateWritten { batch } => self.state_written(store, batch),
            Event::StateIngested { pairs } => {
                self.store_mut(store).state.ingest(pairs);
                Ok(())
            }
            Event::FilesDeleted { range, left } => {
                self.store_mut(store).state.files_deleted(range, left);
                Ok(())
            }
            Event::StateFlushed => {
                self.store_mut(store).state.flush();
                self.forget_settled();
                Ok(())
            }
            Event::Opened { content } => self.opened(store, content),
            Event::Crashed { .. } | Event::RefusedToOpen { .. } | Event::Stopped | Event::Failed { .. } => {
                self.store_mut(store).is_open = false;
                Ok(())
            }
            Event::Wiped => {
                let emptied = self.store_mut(store).emptied();
                self.stores.insert(store, emptied);
                Ok(())
            }
            _ => Ok(()),
        };
        kept.map_err(|cause| Violation::new(NAME, format!("store {store}: {cause}")))
    }

    fn store_mut(&mut self, store: StoreId) -> &mut StoreLedger {
        self.stores.entry(store).or_default()
    }

    fn log_written(&mut self, store: StoreId, batch: &Arc<LogBatch>, durability: Durability) -> Result<(), String> {
        let regions = &mut self.regions;
        let account = self.stores.entry(store).or_default();
        if durability == Durability::Buffered {
            account.log.buffer(batch);
            return Ok(());
        }
        let origin = |region, index| regions.get(&region).map_or(Some(0), |truth: &RegionTruth| truth.chain_at(index));
        account.log.sync(batch, &origin)?;
        let instance = account.instance();
        for op in &batch.ops {
            let LogOp::Append { region, peer, entries, .. } = op else { continue };
            let Some(truth) = regions.get_mut(region) else { continue };
            let log = account.log.durable().regions.get(region).expect("it was just written");
            // One without entries counts too: a peer is known by the disk on which it was born.
            let first = entries.first().map_or(log.last_index().next(), |first| LogIndex(first.index));
            truth.see(*peer, instance, log, first).map_err(|cause| format!("region {region}: {cause}"))?;
        }
        Ok(())
    }

    fn state_written(&mut self, store: StoreId, batch: &StateBatch) -> Result<(), String> {
        let account = self.stores.entry(store).or_default();
        self.changes = account.state.write(batch)?;
        let absent = LogAccount::default();
        let mut born = Vec::new();
        for region in self.changes.iter().map(|change| change.region) {
            let Some(now) = account.state.regions().get(&region) else { continue };
            let Some(truth) = self.regions.get_mut(&region) else { continue };
            let applied = now.apply_state.applied;
            if applied <= truth.frontier() {
                continue;
            }
            let log = account.log.durable().regions.get(&region).unwrap_or(&absent);
            let mut commands = Vec::new();
            let children = truth.extend(log, applied, &mut commands);
            born.extend(children.map_err(|cause| format!("region {region}: {cause}"))?);
            self.commands.extend(commands.into_iter().map(|(index, hash)| CommittedCommand { region, index, hash }));
        }
        // A split and its children's records are one batch, so the children are known from here on.
        for child in born {
            let region = child.descriptor.id;
            if self.regions.insert(region, RegionTruth::born(child)).is_some() {
                return Err(format!("region {region} is born again by a split"));
            }
        }
        for region in self.changes.iter().map(|change| change.region) {
            if let Some(now) = account.state.regions().get(&region)
                && !self.regions.contains_key(&region)
            {
                self.regions.insert(region, RegionTruth::new(now)?);
            }
        }
        Ok(())
    }

    fn opened(&mut self, store: StoreId, found: &DiskContent) -> Result<(), String> {
        let regions = &mut self.regions;
        let account = self.stores.entry(store).or_default();
        let origin = |region, index| regions.get(&region).map_or(Some(0), |truth: &RegionTruth| truth.chain_at(index));
        account.log.open(found, &origin)?;
        account.state.open(found)?;
        account.is_open = true;
        let instance = account.instance();
        for (region, log) in &account.log.durable().regions {
            let (Some(peer), Some(truth)) = (log.peer(), regions.get_mut(region)) else { continue };
            let first = log.bounds().map_or(log.last_index().next(), |(first, _)| first);
            truth.see(peer, instance, log, first).map_err(|cause| format!("region {region}: {cause}"))?;
        }
        self.forget_settled();
        Ok(())
    }

    /// Forgets of each region what no replica can fall back to any more.
    fn forget_settled(&mut self) {
        for (region, truth) in &mut self.regions {
            let applied =
                |store: &StoreLedger| store.state.durable().get(region).map(|state| state.apply_state.applied);
            let durable = truth.replay().descriptor.peers.iter().filter_map(|peer| {
                let Some(account) = self.stores.get(&peer.store_id) else { return Some(None) };
                // What a disk says that took another's place is compared as far as it is known, and holds nobody up.
                let counts = truth.counts_on(peer.id, account.instance());
                counts.then(|| applied(account))
            });
            // Peers that the newest configuration does not know may have to hear of that yet.
            let others = self.stores.values().filter_map(|account| {
                let peer = account.region_log(*region)?.lifecycle?.peer?;
                truth.counts_on(peer, account.instance()).then(|| applied(account))
            });
            let durable = durable.chain(others);
            // A member that has nothing of the region yet may still begin at its origin.
            if let Some(Some(oldest)) = durable.min() {
                truth.forget_before(oldest);
            }
        }
    }
}
