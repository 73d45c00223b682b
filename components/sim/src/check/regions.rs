//! Regions tile the key space, their epochs only grow, and a key has one leader that serves it.

use std::collections::BTreeMap;

use region::Role;
use store::RegionView;
use types::{KeyRange, RegionDescriptor, RegionEpoch, RegionId, StoreId, Term};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::Ledger;
use crate::observation::{Event, Observation};

const NAME: &str = "regions";

/// Who leads a region, as of its last word.
#[derive(Debug)]
struct Leader {
    store: StoreId,
    term: Term,
    range: KeyRange,
}

/// Watches descriptors and leaders.
#[derive(Debug, Default)]
pub struct Regions {
    /// What a region was at each epoch, wherever it was seen first.
    epochs: BTreeMap<(RegionId, u64, u64), RegionDescriptor>,
    leaders: BTreeMap<RegionId, Leader>,
    /// The newest that any store said of each region.
    newest: BTreeMap<RegionId, RegionDescriptor>,
    /// Whether the regions have covered every key. A cluster is born store by store: before that, some are not known.
    are_complete: bool,
}

fn grows(before: RegionEpoch, after: RegionEpoch) -> bool {
    before.conf_ver <= after.conf_ver && before.version <= after.version
}

impl Regions {
    fn on_descriptor(
        &mut self,
        store: StoreId,
        before: Option<&RegionDescriptor>,
        after: &RegionDescriptor,
        ledger: &Ledger,
    ) -> Result<(), Violation> {
        if before == Some(after) {
            return Ok(());
        }
        let region = after.id;
        ensure(NAME, before.is_none_or(|before| grows(before.epoch, after.epoch)), || {
            format!("region {region}: store {store} goes from {before:?} back to {after:?}")
        })?;
        let known =
            self.epochs.entry((region, after.epoch.version, after.epoch.conf_ver)).or_insert_with(|| after.clone());
        ensure(NAME, known == after, || {
            format!("region {region}: at one epoch store {store} has {after:?}, and another had {known:?}")
        })?;
        let newest = self.newest.entry(region).or_insert_with(|| after.clone());
        if newest.epoch != after.epoch && grows(newest.epoch, after.epoch) {
            newest.clone_from(after);
        }
        check_overlap(store, after, ledger)
    }

    fn on_batch(&mut self, store: StoreId, ledger: &Ledger) -> Result<(), Violation> {
        let mut changes = false;
        for change in ledger.changes() {
            let before = change.before.as_ref().map(|state| &state.descriptor);
            if let Some(after) = ledger.state(store, change.region).map(|state| &state.descriptor) {
                changes |= before != Some(after);
                self.on_descriptor(store, before, after, ledger)?;
            }
        }
        if !changes {
            return Ok(());
        }
        // A store may have no place for a child of a split (D11): its range then belongs to nobody there.
        for (region, truth) in ledger.regions() {
            self.newest.entry(region).or_insert_with(|| (*truth.replay().descriptor).clone());
        }
        let tiles = self.check_tiles();
        self.are_complete |= tiles.is_ok();
        if self.are_complete { tiles } else { Ok(()) }
    }

    /// The newest descriptors of all regions cover every key once.
    fn check_tiles(&self) -> Result<(), Violation> {
        let mut ranges: Vec<(&KeyRange, RegionId)> =
            self.newest.iter().map(|(region, descriptor)| (&descriptor.range, *region)).collect();
        ranges.sort_by(|left, right| left.0.start.cmp(&right.0.start));
        let Some((first, last)) = ranges.first().zip(ranges.last()) else { return Ok(()) };
        let gap = ranges.windows(2).find(|pair| pair[0].0.end != pair[1].0.start || pair[0].0.end.is_empty());
        ensure(NAME, gap.is_none(), || format!("regions {gap:?} do not join each other"))?;
        ensure(NAME, first.0.start.is_empty() && last.0.end.is_empty(), || {
            format!("the regions reach only from {first:?} to {last:?}")
        })
    }

    fn on_role(&mut self, store: StoreId, view: &RegionView, ledger: &Ledger) -> Result<(), Violation> {
        let region = view.descriptor.id;
        let newest = self.leaders.get(&region).map_or(Term(0), |leader| leader.term);
        if view.term < newest {
            return Ok(());
        }
        if view.role != Role::Leader {
            self.leaders.retain(|led, leader| *led != region || leader.store != store);
            return Ok(());
        }
        let range = view.descriptor.range.clone();
        let rival = self.leaders.iter().find(|(led, leader)| {
            **led != region
                && leader.range.overlaps(&range)
                && has_caught_up(leader.store, **led, ledger)
                && holds(leader.store, **led, &range, ledger)
                && has_caught_up(store, region, ledger)
                && holds(store, region, &leader.range, ledger)
        });
        ensure(NAME, rival.is_none(), || {
            format!(
                "regions {region} and {:?} both lead keys of {range}",
                rival.map(|(led, leader)| (led, leader.store))
            )
        })?;
        self.leaders.insert(region, Leader { store, term: view.term, range });
        Ok(())
    }
}

/// Whether a store has applied all that is known to be committed: a leader that has not may not know of a split yet.
fn has_caught_up(store: StoreId, region: RegionId, ledger: &Ledger) -> bool {
    let frontier = ledger.region(region).map(|truth| truth.frontier());
    ledger.state(store, region).map(|state| state.apply_state.applied) == frontier
}

/// Whether a region still has any key of a range in what its store has applied. Between that and the moment at which the store
/// shows it lies a write of the log, which may take its time; apply refuses what comes meanwhile. Several splits that were
/// applied at once are shown one after the other.
fn holds(store: StoreId, region: RegionId, range: &KeyRange, ledger: &Ledger) -> bool {
    ledger.state(store, region).is_some_and(|state| state.descriptor.range.overlaps(range))
}

/// No two regions of a store share a key.
fn check_overlap(store: StoreId, descriptor: &RegionDescriptor, ledger: &Ledger) -> Result<(), Violation> {
    let Some(account) = ledger.store(store) else { return Ok(()) };
    let mut others = account.state.regions().values().map(|state| &state.descriptor);
    let rival = others.find(|other| other.id != descriptor.id && other.range.overlaps(&descriptor.range));
    ensure(NAME, rival.is_none(), || format!("store {store} holds both {descriptor:?} and {rival:?}"))
}

impl Checker for Regions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        match &observation.event {
            Event::StateWritten { .. } => self.on_batch(store, ledger),
            Event::RegionChanged { view } => self.on_role(store, view, ledger),
            Event::RegionGone { region } => {
                self.leaders.retain(|led, leader| led != region || leader.store != store);
                Ok(())
            }
            Event::Crashed { .. } | Event::Stopped | Event::Failed { .. } | Event::Wiped => {
                self.leaders.retain(|_, leader| leader.store != store);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, _: &Ledger) -> Result<(), Violation> {
        self.check_tiles()
    }
}

#[cfg(test)]
mod tests {
    use engine::{Family, StateBatch, meta};

    use super::*;
    use crate::check::testing::*;

    fn script() -> Script {
        Script::with(vec![Box::new(Regions::default())]).led()
    }

    fn describe(script: &mut Script, store: u64, change: impl FnOnce(&mut RegionDescriptor)) -> Result<(), Violation> {
        let mut changed = descriptor(LOW);
        change(&mut changed);
        let mut batch = StateBatch::default();
        batch.put(Family::Meta, meta::descriptor_key(LOW), meta::encode_descriptor(&changed));
        script.write_state(store, batch)
    }

    fn epoch(conf_ver: u64, version: u64) -> RegionEpoch {
        RegionEpoch { conf_ver, version }
    }

    #[test]
    fn epochs_grow() {
        let mut script = script();
        describe(&mut script, 1, |region| region.epoch = epoch(3, 2)).fine();
        describe(&mut script, 1, |region| region.epoch = epoch(2, 2)).violates(NAME, "back to");
    }

    #[test]
    fn an_epoch_is_one_descriptor_on_all_stores() {
        let mut script = script();
        let roles = |region: &mut RegionDescriptor| {
            region.epoch = epoch(2, 1);
            region.peers.pop();
        };
        describe(&mut script, 1, roles).fine();
        describe(&mut script, 2, roles).fine();
        describe(&mut script, 3, |region| region.epoch = epoch(2, 1)).violates(NAME, "at one epoch");
    }

    #[test]
    fn regions_of_a_store_do_not_overlap() {
        let change = |region: &mut RegionDescriptor| {
            region.epoch = epoch(1, 2);
            region.range.end = "x".into();
        };
        describe(&mut script(), 1, change).violates(NAME, "holds both");
    }

    #[test]
    fn regions_leave_no_gap() {
        let change = |region: &mut RegionDescriptor| {
            region.epoch = epoch(1, 2);
            region.range.end = "k".into();
        };
        describe(&mut script(), 1, change).violates(NAME, "do not join");
        let change = |region: &mut RegionDescriptor| {
            region.epoch = epoch(1, 2);
            region.range.start = "a".into();
        };
        describe(&mut script(), 1, change).violates(NAME, "reach only from");
    }

    #[test]
    fn a_key_has_one_leader() {
        let view = |region: RegionId, store: u64, range: KeyRange| {
            let descriptor = std::sync::Arc::new(RegionDescriptor { range, ..descriptor(region) });
            let (peer, role, term) = (peer(region, store), Role::Leader, Term(7));
            Event::RegionChanged { view: RegionView { descriptor, peer, role, term, leader: None } }
        };
        let mut script = script();
        script.see(1, view(LOW, 1, KeyRange::new("", "m"))).fine();
        script.see(2, view(HIGH, 2, KeyRange::new("m", ""))).fine();
        // What is shown may be older than what is applied.
        script.see(2, view(HIGH, 2, KeyRange::new("k", ""))).fine();
        let mut batch = StateBatch::default();
        for (region, range) in [(LOW, KeyRange::new("", "k")), (HIGH, KeyRange::new("k", ""))] {
            let changed = RegionDescriptor { range, epoch: epoch(1, 2), ..descriptor(region) };
            batch.put(Family::Meta, meta::descriptor_key(region), meta::encode_descriptor(&changed));
        }
        script.write_state(2, batch).fine();
        script.see(2, view(HIGH, 2, KeyRange::new("k", ""))).violates(NAME, "both lead keys");
        // One that has not applied all that is committed may not know yet that the key went elsewhere.
        let mut script = Script::with(vec![Box::new(Regions::default())]).led();
        script.see(2, view(LOW, 2, KeyRange::new("", "m"))).fine();
        script.see(3, view(HIGH, 3, KeyRange::new("k", ""))).fine();
    }
}
