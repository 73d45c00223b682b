//! When everything is healed, everything that moves must come to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Change, Reply};
use parking_lot::Mutex;
use region::{Inspector, RegionStatus, Role};
use snapshot::MemoryFiles;
use types::{KeyRange, PeerId, PeerRole, RegionDescriptor, RegionId, Responder, StoreId};

use crate::node::Part;
use crate::simulation::{Simulation, Wrong};

/// How long it may take until regions are as they should be. Generous: an operator may run into its timeout, and its region
/// may have to wait until a newcomer that nobody reaches is given up.
const SETTLE_BOUND: Duration = Duration::from_secs(600);

/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How often people look after what no checker of the coordinator sees.
const NUDGE_INTERVAL: Duration = Duration::from_secs(10);

/// What one store says of its peers.
type Peers = BTreeMap<RegionId, RegionStatus>;

impl Simulation {
    /// Steps until every region has a leader, as many voters as it should have and nobody else, and nothing is under way.
    pub(crate) fn settle(&mut self) -> Result<(), Wrong> {
        self.mend_placement()?;
        let deadline = self.now + SETTLE_BOUND;
        let mut nudge_at = self.now + NUDGE_INTERVAL;
        loop {
            let open = self.what_is_open()?;
            let Some(open) = open else { return Ok(()) };
            if self.now > deadline {
                return Err(format!("settling: after {} simulated seconds of peace {open}", SETTLE_BOUND.as_secs()));
            }
            if self.now >= nudge_at {
                nudge_at = self.now + NUDGE_INTERVAL;
                self.mend_placement()?;
                self.evict_leaders()?;
            }
            let end = self.now + LOOK_INTERVAL;
            while self.now < end {
                self.step()?;
            }
        }
    }

    /// People have the coordinator mend what it can.
    fn mend_placement(&mut self) -> Result<(), Wrong> {
        let settings = [("schedule.halt-scheduling", "false"), ("schedule.max-store-down-time", "3s")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        if let Some(store) = self.draining {
            self.end_drain(store)?;
        }
        self.tell_operator(|coordinator| {
            coordinator.request(Change::Configure { settings, reply: Reply::new(|_| {}) });
        })
    }

    /// A store that has left for good reports nothing any more, so its leaders are moved by hand.
    fn evict_leaders(&mut self) -> Result<(), Wrong> {
        for at in 0..self.shape.machines {
            if !self.nodes[at].has_left {
                continue;
            }
            self.run(at, true, |running, _| {
                let handle = running.stepper.handle();
                for view in handle.regions().iter().filter(|view| view.role == Role::Leader) {
                    let own = running.ident.store;
                    let voter =
                        view.descriptor.peers.iter().find(|peer| peer.store_id != own && peer.role == PeerRole::Voter);
                    if let Some(heir) = voter {
                        handle.transfer_leader(view.descriptor.id, heir.store_id, Responder::new(|_| {}));
                    }
                }
            })?;
        }
        Ok(())
    }

    /// The regions as their leaders know them.
    pub(crate) fn led_regions(&self) -> Vec<RegionDescriptor> {
        let mut regions = BTreeMap::<RegionId, (types::Term, RegionDescriptor)>::new();
        for node in self.nodes.iter().filter(|node| node.part == Part::Store && node.loss.is_none()) {
            let views = node.running().map(|running| running.stepper.handle().regions()).unwrap_or_default();
            for view in views.into_iter().filter(|view| view.role == Role::Leader) {
                let newer = regions.get(&view.descriptor.id).is_none_or(|(term, _)| *term < view.term);
                if newer {
                    regions.insert(view.descriptor.id, (view.term, (*view.descriptor).clone()));
                }
            }
        }
        let mut regions: Vec<RegionDescriptor> = regions.into_values().map(|(_, region)| region).collect();
        regions.sort_by(|left, right| left.range.start.cmp(&right.range.start));
        regions
    }

    /// What is not as it should be in the end, in words; nothing where all is.
    pub(crate) fn what_is_open(&mut self) -> Result<Option<String>, Wrong> {
        let mut peers = BTreeMap::new();
        for at in 0..self.shape.machines {
            let node = &self.nodes[at];
            if node.loss == Some(crate::node::Loss::Wiped) {
                return Ok(Some(format!("store {}, whose disk was emptied, still runs", node.store)));
            }
            if node.loss.is_some() || !node.is_in_service {
                continue;
            }
            if node.is_paused(self.now) || node.running().is_none() {
                return Ok(Some(format!("store {} does not run", node.store)));
            }
            if let Some(busy) = self.what_is_under_way(at) {
                return Ok(Some(busy));
            }
            let (store, found) = (self.nodes[at].store, self.ask_peers(at)?);
            let Some(found) = found else {
                return Ok(Some(format!("a region of store {store} is too busy to answer")));
            };
            peers.insert(store, found);
        }
        Ok(self.what_is_amiss(&peers).or_else(|| self.strangers()))
    }

    /// Snapshots, streams and tasks of one store that have not come to their end.
    fn what_is_under_way(&self, at: usize) -> Option<String> {
        let node = &self.nodes[at];
        let running = node.running()?;
        let handle = running.stepper.handle();
        if let Some(flight) = handle.snapshots().first() {
            return Some(format!("store {}: a snapshot is in flight: {flight:?}", node.store));
        }
        if !running.streams.is_idle() {
            return Some(format!("store {}: a stream of a snapshot is open", node.store));
        }
        if running.stepper.has_lifecycle_work() || running.stepper.has_snapshot_work() {
            return Some(format!("store {}: tasks of its lifecycle or of its snapshots wait", node.store));
        }
        let folder = node.disk.open_folder(Path::new(MemoryFiles::FOLDER));
        match folder.list() {
            Ok(files) => {
                files.first().map(|(name, _)| format!("store {}: snapshot file {name} is left over", node.store))
            }
            Err(error) => Some(format!("store {}: {error}", node.store)),
        }
    }

    /// Every peer that a store shows; nothing when one of them does not answer.
    fn ask_peers(&mut self, at: usize) -> Result<Option<Peers>, Wrong> {
        let found = Arc::new(Mutex::new(Some(BTreeMap::new())));
        self.run(at, true, |running, _| {
            let handle = running.stepper.handle();
            for view in handle.regions() {
                let (found, region) = (Arc::clone(&found), view.descriptor.id);
                let tell = move |status: Option<RegionStatus>| {
                    let mut found = found.lock();
                    match status.zip(found.as_mut()) {
                        Some((status, peers)) => _ = peers.insert(region, status),
                        None => *found = None,
                    }
                };
                handle.inspect(region, Inspector::new(tell));
            }
            running.stepper.run_until_idle();
        })?;
        Ok(found.lock().take())
    }

    fn what_is_amiss(&self, peers: &BTreeMap<StoreId, Peers>) -> Option<String> {
        let regions = self.led_regions();
        if let Some(gap) = gap_of(regions.iter().map(|region| &region.range)) {
            return Some(format!("the regions that are led leave a gap or overlap: {gap}"));
        }
        for region in &regions {
            let voters = region.peers.iter().filter(|peer| peer.role == PeerRole::Voter).count();
            if voters != self.shape.replicas || voters != region.peers.len() {
                return Some(format!("region {} has members {:?}", region.id, region.peers));
            }
            if let Some(peer) = region.peers.iter().find(|peer| !peers.contains_key(&peer.store_id)) {
                return Some(format!(
                    "region {} has peer {} on store {}, which is lost",
                    region.id, peer.id, peer.store_id
                ));
            }
        }
        let members: BTreeSet<(StoreId, RegionId, PeerId)> = regions
            .iter()
            .flat_map(|region| region.peers.iter().map(move |peer| (peer.store_id, region.id, peer.id)))
            .collect();
        let here = peers.iter().flat_map(|(store, peers)| {
            peers.values().map(move |status| (*store, status.descriptor.id, status.peer.id))
        });
        let here: BTreeSet<(StoreId, RegionId, PeerId)> = here.collect();
        let missing = members.difference(&here).next();
        let extra = here.difference(&members).next();
        missing.or(extra).map(|(store, region, peer)| {
            let kind = if missing.is_some() { "is not there" } else { "is no member" };
            format!("peer {peer} of region {region} on store {store} {kind}")
        })
    }

    /// Peers of which only the log engines know: those that were never initialised, or are dormant.
    fn strangers(&self) -> Option<String> {
        let ledger = self.stores_watch.ledger();
        let regions = self.led_regions();
        for node in self.nodes.iter().filter(|node| node.part == Part::Store && node.loss.is_none()) {
            let Some(account) = ledger.store(node.store) else { continue };
            for (region, log) in &account.log.durable().regions {
                let Some(peer) = log.lifecycle.and_then(|lifecycle| lifecycle.peer) else { continue };
                let known = regions.iter().find(|known| known.id == *region);
                if known.is_none_or(|known| known.peer(peer).is_none()) {
                    return Some(format!("store {} still has peer {peer} of region {region}", node.store));
                }
            }
        }
        None
    }
}

/// Where ranges, ordered by their starts, do not cover every key once.
fn gap_of<'a>(ranges: impl Iterator<Item = &'a KeyRange>) -> Option<String> {
    let mut end = Some(bytes::Bytes::new());
    for range in ranges {
        if end.as_ref() != Some(&range.start) {
            return Some(format!("at {range}"));
        }
        end = (!range.end.is_empty()).then(|| range.end.clone());
    }
    end.map(|end| format!("behind {}", end.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_overlaps_are_seen() {
        let gap = |ranges: &[(&'static str, &'static str)]| {
            let ranges: Vec<KeyRange> = ranges.iter().map(|(start, end)| KeyRange::new(*start, *end)).collect();
            gap_of(ranges.iter())
        };
        assert_eq!(gap(&[("", "")]), None);
        assert_eq!(gap(&[("", "k"), ("k", "")]), None);
        for wrong in [&[("", "k")][..], &[("a", "")], &[("", "k"), ("l", "")], &[("", "l"), ("k", "")], &[]] {
            assert!(gap(wrong).is_some(), "{wrong:?}");
        }
    }
}
