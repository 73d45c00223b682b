//! An id is given once, and means one thing for ever: a region, or one peer of a region on one store.

use std::collections::BTreeMap;

use types::{PeerId, RegionDescriptor, RegionId, StoreId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::Ledger;
use crate::observation::{Event, Observation};

const NAME: &str = "ids";

/// Watches the ids that the coordinator gives away, and those that stores use.
#[derive(Debug, Default)]
pub struct Ids {
    /// What was given: the last id of each batch by its first.
    given: BTreeMap<u64, u64>,
    /// What stores know each peer to be.
    peers: BTreeMap<PeerId, (RegionId, StoreId)>,
}

impl Ids {
    fn on_given(&mut self, first: u64, last: u64) -> Result<(), Violation> {
        let before = self.given.range(..=last).next_back().filter(|(_, end)| **end >= first);
        ensure(NAME, before.is_none(), || {
            format!("the coordinator gives the ids {first} to {last}, and gave {before:?} before")
        })?;
        self.given.insert(first, last);
        Ok(())
    }

    fn on_descriptor(&mut self, store: StoreId, descriptor: &RegionDescriptor) -> Result<(), Violation> {
        descriptor.peers.iter().try_for_each(|peer| {
            let meant = (descriptor.id, peer.store_id);
            let known = *self.peers.entry(peer.id).or_insert(meant);
            ensure(NAME, known == meant, || {
                format!(
                    "store {store} takes peer {} for one of region {} on store {}, it is one of region {} on store {}",
                    peer.id, meant.0, meant.1, known.0, known.1
                )
            })
        })
    }
}

impl Checker for Ids {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        match &observation.event {
            Event::IdsGiven { ids } => ids.iter().try_for_each(|(first, last)| self.on_given(*first, *last)),
            Event::StateWritten { .. } => ledger.changes().iter().try_for_each(|change| {
                let Some(state) = ledger.state(observation.store, change.region) else { return Ok(()) };
                let before = change.before.as_ref().map(|state| &state.descriptor);
                if before == Some(&state.descriptor) {
                    return Ok(());
                }
                self.on_descriptor(observation.store, &state.descriptor)
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::*;

    #[test]
    fn an_id_is_given_once() {
        let script = || Script::with(vec![Box::new(Ids::default())]).led();
        let give = |script: &mut Script, ids: &[(u64, u64)]| script.see(1, Event::IdsGiven { ids: ids.to_vec() });
        for again in [(7, 7), (5, 9), (9, 12), (4, 5), (4, 40)] {
            let mut script = script();
            give(&mut script, &[(5, 9), (20, 20)]).fine();
            give(&mut script, &[(10, 19), (21, 21), (4, 4)]).fine();
            give(&mut script, &[again]).violates(NAME, "gave Some");
        }
    }

    #[test]
    fn a_peer_is_of_one_region_on_one_store() {
        let mut checker = Ids::default();
        let peer = |id: u64, store: u64| types::Peer::voter(PeerId(id), StoreId(store));
        let region = |id: u64, peers: &[types::Peer]| RegionDescriptor {
            id: RegionId(id),
            peers: peers.to_vec(),
            ..RegionDescriptor::default()
        };
        checker.on_descriptor(StoreId(1), &region(7, &[peer(71, 1), peer(72, 2)])).expect("they are new");
        checker.on_descriptor(StoreId(2), &region(7, &[peer(71, 1), peer(73, 2)])).expect("they fit");
        for wrong in [region(8, &[peer(71, 1)]), region(7, &[peer(72, 3)])] {
            let violation = checker.on_descriptor(StoreId(1), &wrong).expect_err("it is another's");
            assert!(violation.to_string().contains("takes peer"), "{violation}");
        }
    }
}
