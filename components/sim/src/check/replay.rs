//! What a state engine holds of a region is what the committed log makes of it, on every replica: data, descriptor and
//! the begin of its log.

use std::collections::BTreeMap;

use engine::{LogBatch, LogOp};
use types::{LogIndex, RegionId, StoreId, Term};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::{Ledger, RegionTruth, StateAccount};
use crate::observation::{Event, Observation};

const NAME: &str = "replay";

/// Compares data and apply states with the replayed log: with each batch by hash, at the end pair by pair.
#[derive(Debug, Default)]
pub struct Replayed {
    /// The newest snapshot that took the place of a replica's log: index and term.
    snapshots: BTreeMap<(StoreId, RegionId), (LogIndex, Term)>,
}

impl Replayed {
    fn on_batch(&mut self, store: StoreId, batch: &LogBatch) {
        for op in &batch.ops {
            if let LogOp::Remove { region, .. } = op {
                self.snapshots.remove(&(store, *region));
            }
        }
        for op in &batch.ops {
            if let LogOp::PutMarker(marker) = op {
                self.snapshots.insert((store, marker.region()), (marker.index, marker.term));
            }
        }
    }

    fn check(&self, store: StoreId, region: RegionId, ledger: &Ledger) -> Result<(), Violation> {
        check(store, region, self.snapshots.get(&(store, region)).copied().unwrap_or_default(), ledger)
    }
}

fn check(store: StoreId, region: RegionId, snapshot: (LogIndex, Term), ledger: &Ledger) -> Result<(), Violation> {
    let (Some(truth), Some(state)) = (ledger.region(region), ledger.state(store, region)) else { return Ok(()) };
    let apply_state = &state.apply_state;
    let applied = apply_state.applied;
    let Some(expected) = truth.committed(applied) else {
        let frontier = truth.frontier();
        return ensure(NAME, applied < truth.oldest(), || {
            format!("region {region}: store {store} has applied {applied}, committed is only {frontier}")
        });
    };
    let truncated = (apply_state.truncated, apply_state.truncated_term);
    // Before it is installed its marker changes nothing.
    let snapshot = Some(snapshot).filter(|(index, _)| *index <= applied).unwrap_or_default();
    let of_log = expected.truncated.max(snapshot);
    ensure(NAME, truncated == of_log, || {
        format!(
            "region {region}: store {store} has compacted its log to {truncated:?}, by its log up to {applied} it is {of_log:?}"
        )
    })?;
    ensure(NAME, state.descriptor == *expected.descriptor, || {
        let (of_store, of_log) = (&state.descriptor, &expected.descriptor);
        format!("region {region}: store {store} has {of_store:?}, its log up to {applied} makes it {of_log:?}")
    })?;
    ensure(NAME, state.digest == expected.digest, || {
        let difference = if applied == truth.frontier() { difference(store, state, truth, ledger) } else { None };
        let difference = difference.unwrap_or_else(|| "replicas that applied as much hold other data".to_owned());
        format!("region {region}: store {store} does not hold what its log up to {applied} makes: {difference}")
    })
}

/// The first pair that differs.
fn difference(store: StoreId, state: &StateAccount, truth: &RegionTruth, ledger: &Ledger) -> Option<String> {
    let content = truth.replay().content();
    let mut expected = content.iter();
    let account = ledger.store(store)?;
    for (key, value) in account.state.pairs(&state.descriptor.range) {
        match expected.next() {
            Some((of_log, wanted)) if of_log == key && wanted == value => {}
            wanted => return Some(format!("it holds {key:?} = {value:?}, the log has {wanted:?} there")),
        }
    }
    expected.next().map(|(key, value)| format!("it lacks {key:?} = {value:?}"))
}

impl Checker for Replayed {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        match &observation.event {
            Event::StateWritten { .. } => {
                ledger.changes().iter().try_for_each(|change| self.check(store, change.region, ledger))
            }
            Event::Opened { content } => {
                // A write that failed may be found after all.
                for marker in &content.markers {
                    self.snapshots.insert((store, marker.region()), (marker.index, marker.term));
                }
                let regions = ledger.store(store).into_iter().flat_map(|account| account.state.regions().keys());
                // What a marker stands for is done again.
                let is_marked = |region: &&RegionId| {
                    ledger.store(store).is_some_and(|account| account.log.durable().markers.contains_key(*region))
                };
                regions.filter(|region| !is_marked(region)).try_for_each(|region| self.check(store, *region, ledger))
            }
            Event::LogWritten { batch, .. } => {
                self.on_batch(store, batch);
                Ok(())
            }
            Event::Wiped => {
                self.snapshots.retain(|(of, _), _| *of != store);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, ledger: &Ledger) -> Result<(), Violation> {
        for (region, truth) in ledger.regions() {
            for peer in &truth.replay().descriptor.peers {
                let (store, frontier) = (peer.store_id, truth.frontier());
                let Some(account) = ledger.store(store).filter(|account| account.is_open) else { continue };
                let Some(state) = account.state.regions().get(&region) else { continue };
                if !truth.counts_on(peer.id, account.instance()) {
                    continue;
                }
                let applied = state.apply_state.applied;
                ensure(NAME, applied == frontier, || {
                    format!(
                        "region {region}: store {store} has applied {applied} of {frontier} when everything is healed"
                    )
                })?;
                self.check(store, region, ledger)?;
                let difference = difference(store, state, truth, ledger);
                ensure(NAME, difference.is_none(), || format!("region {region}: store {store}: {difference:?}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use engine::memory::CrashPoint;

    use super::*;
    use crate::check::testing::*;

    /// Entry 7 puts `a = 1` and is durable on all stores.
    fn script() -> Script {
        let mut script = Script::with(vec![Box::new(Replayed::default())]).led();
        script.append(3, vec![empty(6, 6)], hard_state(6, 0, 5)).fine();
        for store in 1..=3 {
            script.append(store, vec![entry(7, 6, put("a", "1"))], hard_state(6, 101, 5)).fine();
        }
        script
    }

    #[test]
    fn what_the_log_says_is_applied() {
        script().apply(1, apply_state(7, 6), &[("a", "1")]).fine();
        script().apply(1, apply_state(7, 6), &[("a", "2")]).violates(NAME, "the log has");
        script().apply(1, apply_state(7, 6), &[]).violates(NAME, "it lacks");
        script().apply(1, apply_state(7, 6), &[("a", "1"), ("b", "1")]).violates(NAME, "it holds");
        script().apply(1, apply_state(6, 6), &[("a", "1")]).violates(NAME, "it holds");
    }

    #[test]
    fn replicas_that_lag_are_compared_as_of_their_entry() {
        let mut script = script();
        script.apply(1, apply_state(7, 6), &[("a", "1")]).fine();
        script.apply(2, apply_state(6, 6), &[]).fine();
        script.apply(3, apply_state(6, 6), &[("a", "1")]).violates(NAME, "hold other data");
    }

    #[test]
    fn compactions_are_applied_too() {
        let state = |truncated, term| engine::ApplyState {
            truncated: types::LogIndex(truncated),
            truncated_term: types::Term(term),
            ..apply_state(8, 6)
        };
        for (truncated, term, is_fine) in [(7, 6, true), (6, 6, false), (7, 5, false), (5, 5, false)] {
            let mut script = script();
            script.append(1, vec![compaction(8, 6, 7)], hard_state(6, 101, 5)).fine();
            let verdict = script.apply(1, state(truncated, term), &[("a", "1")]);
            if is_fine { verdict.fine() } else { verdict.violates(NAME, "has compacted its log to") }
        }
    }

    #[test]
    fn a_cut_is_compared_when_it_is_opened() {
        let mut script = script();
        script.apply(1, apply_state(7, 6), &[("a", "1")]).fine();
        for kept in [1, 0] {
            script.crash(1, CrashPoint { state_batches: kept, ..CrashPoint::OLDEST });
            script.open(1).fine();
        }
        script.apply(1, apply_state(7, 6), &[]).violates(NAME, "it lacks");
    }

    #[test]
    fn at_the_end_every_member_has_everything() {
        let mut script = script();
        for store in [1, 2] {
            script.apply(store, apply_state(7, 6), &[("a", "1")]).fine();
        }
        script.watch().finish().violates(NAME, "store 3 has applied 5 of 7");
        script.apply(3, apply_state(7, 6), &[("a", "1")]).fine();
        script.watch().finish().fine();
    }
}
