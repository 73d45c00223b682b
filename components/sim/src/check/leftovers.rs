//! Nothing is left in keys that no region of a store owns, when nothing is under way (D6, D9).

use types::KeyRange;

use crate::check::{Checker, Violation, ensure};
use crate::ledger::Ledger;
use crate::observation::{Event, Observation};

const NAME: &str = "leftovers";

/// Looks at what is left in the end; and at replicas that say of themselves that they differ.
#[derive(Debug, Default)]
pub struct Leftovers;

impl Checker for Leftovers {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, _: &Ledger) -> Result<(), Violation> {
        let Event::ReplicasDiffer { region, index } = &observation.event else { return Ok(()) };
        let store = observation.store;
        Err(Violation::new(NAME, format!("region {region}: store {store} says that replicas differ at {index}")))
    }

    fn finish(&mut self, ledger: &Ledger) -> Result<(), Violation> {
        for (store, account) in ledger.stores().filter(|(_, account)| account.is_open) {
            let everything = KeyRange::all();
            let left = account.state.unowned(&everything).map(|key| key.escape_ascii().to_string());
            ensure(NAME, left.is_none(), || format!("store {store} holds key {left:?}, which no region of it owns"))?;
            let region = account.log.durable().markers.keys().next();
            ensure(NAME, region.is_none(), || format!("store {store} holds a marker of region {region:?}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use types::{LogIndex, RegionId};

    use super::*;
    use crate::check::testing::*;

    #[test]
    fn keys_go_with_their_region() {
        let mut script = Script::with(vec![Box::new(Leftovers)]).led();
        script.append(1, vec![entry(7, 6, put("a", "1"))], hard_state(6, 101, 5)).fine();
        script.apply(1, apply_state(7, 6), &[("a", "1")]).fine();
        script.watch().finish().fine();
        script.forget(1).fine();
        script.watch().finish().violates(NAME, "which no region of it owns");
    }

    #[test]
    fn replicas_do_not_differ() {
        let mut script = Script::with(vec![Box::new(Leftovers)]);
        let event = Event::ReplicasDiffer { region: RegionId(1), index: LogIndex(7) };
        script.see(1, event).violates(NAME, "replicas differ");
    }
}
