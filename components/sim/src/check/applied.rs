//! What is applied only grows, a crash to an earlier cut apart.

use engine::ApplyState;
use types::{RegionId, StoreId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::Ledger;
use crate::observation::{Event, Observation};

const NAME: &str = "applied";

/// Apply states move forward, whatever a batch says; cuts to which S falls back are the ledger's matter.
#[derive(Debug, Default)]
pub struct Applied;

fn check(store: StoreId, region: RegionId, before: &ApplyState, after: &ApplyState) -> Result<(), Violation> {
    let words = || format!("region {region}: store {store} goes from {before:?} to {after:?}");
    let applied = (before.applied, before.applied_term) <= (after.applied, after.applied_term)
        && before.applied_term <= after.applied_term;
    let truncated = before.truncated <= after.truncated && before.truncated_term <= after.truncated_term;
    // An entry that is applied again without moving anything would write the very same state.
    let moves = before.applied < after.applied || before == after;
    ensure(NAME, applied && truncated && moves && after.truncated <= after.applied, words)
}

impl Checker for Applied {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let Event::StateWritten { .. } = observation.event else { return Ok(()) };
        for change in ledger.changes() {
            let (Some(before), Some(after)) = (&change.before, ledger.state(observation.store, change.region)) else {
                continue;
            };
            check(observation.store, change.region, &before.apply_state, &after.apply_state)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use engine::memory::CrashPoint;
    use types::LogIndex;

    use super::*;
    use crate::check::testing::*;

    #[test]
    fn applied_goes_back_only_by_a_crash() {
        let mut script = Script::new().led();
        script.apply(1, apply_state(5, 5), &[]).violates(NAME, "goes from");

        let mut script = Script::new().led();
        script.crash(1, CrashPoint::OLDEST);
        script.open(1).fine();
        script.apply(1, apply_state(6, 6), &[]).fine();
    }

    #[test]
    fn a_truncated_index_moves_with_an_entry_and_forward() {
        let state = |applied, truncated| ApplyState { truncated: LogIndex(truncated), ..apply_state(applied, 6) };
        check(StoreId(1), LOW, &state(7, 5), &state(8, 6)).fine();
        check(StoreId(1), LOW, &state(7, 6), &state(8, 5)).violates(NAME, "goes from");
        check(StoreId(1), LOW, &state(7, 5), &state(7, 6)).violates(NAME, "goes from");
        check(StoreId(1), LOW, &state(7, 5), &state(8, 9)).violates(NAME, "goes from");
    }

    #[test]
    fn terms_do_not_fall() {
        check(StoreId(1), LOW, &apply_state(6, 7), &apply_state(7, 6)).violates(NAME, "goes from");
    }
}
