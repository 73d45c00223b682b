//! Whoever begins to vote has caught up: no quorum comes to depend on a peer that has nothing (raftstore-rules §7).

use std::collections::BTreeMap;

use types::{LogIndex, PeerId, PeerRole, RegionId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::{Ledger, RegionTruth};
use crate::observation::{Event, Observation};

const NAME: &str = "promotion";

/// How far a peer's log may lag when the entry that lets it vote is proposed; the leader's own bound.
const MOST_LAG: u64 = 256;

/// Compares the logs of new voters with the entries that made them.
#[derive(Debug, Default)]
pub struct Promotion {
    /// How far each region's entries were looked at. Whoever applies one first meets the logs as they were then.
    checked: BTreeMap<RegionId, LogIndex>,
}

fn check(region: RegionId, from: LogIndex, truth: &RegionTruth, ledger: &Ledger) -> Result<(), Violation> {
    for index in from.0 + 1..=truth.frontier().0 {
        let index = LogIndex(index);
        let Some((before, after)) = truth.committed(index.previous()).zip(truth.committed(index)) else { continue };
        let votes = |entry: &crate::ledger::Committed, peer: PeerId| {
            entry.descriptor.peer(peer).is_some_and(|peer| peer.role != PeerRole::Learner)
        };
        for peer in after.descriptor.peers.iter().filter(|peer| votes(after, peer.id) && !votes(before, peer.id)) {
            let account = ledger.store(peer.store_id);
            if account.is_some_and(|account| !truth.counts_on(peer.id, account.instance())) {
                continue;
            }
            let log = account.and_then(|account| account.region_log(region));
            let last = log.filter(|log| log.peer() == Some(peer.id)).map(|log| log.last_index()).unwrap_or_default();
            let state = account.and_then(|account| account.state.regions().get(&region));
            let last = last.max(state.map(|state| state.apply_state.applied).unwrap_or_default());
            ensure(NAME, last.0 + MOST_LAG + 1 >= index.0 && last > LogIndex(0), || {
                let (id, store) = (peer.id, peer.store_id);
                format!("region {region}: entry {index} lets peer {id} on store {store} vote, its log ends at {last}")
            })?;
        }
    }
    Ok(())
}

impl Checker for Promotion {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let Event::StateWritten { .. } = observation.event else { return Ok(()) };
        ledger.changes().iter().try_for_each(|change| {
            let Some(truth) = ledger.region(change.region) else { return Ok(()) };
            let checked = self.checked.entry(change.region).or_insert_with(|| truth.origin());
            let from = std::mem::replace(checked, truth.frontier());
            check(change.region, from, truth, ledger)
        })
    }
}

#[cfg(test)]
mod tests {
    use types::{MemberChange, StoreId};

    use super::*;
    use crate::check::testing::*;

    /// Entry 7 demotes the peer on store 3, and entry 8 lets it vote again.
    fn promoted(lag: bool) -> Result<(), Violation> {
        let mut script = Script::with(vec![Box::new(Promotion::default())]).led();
        let state = || hard_state(6, 101, 5);
        if lag {
            script.forget(3).fine();
        }
        for store in [1, 2] {
            let demoted = members(7, 6, 1, MemberChange::learn(PeerId(103), StoreId(3)));
            let promoted = members(8, 6, 2, MemberChange::vote(PeerId(103), StoreId(3)));
            script.append(store, vec![demoted, promoted], state()).fine();
        }
        script.adopt(1, 7, &[MemberChange::learn(PeerId(103), StoreId(3))]).fine();
        let back = [MemberChange::learn(PeerId(103), StoreId(3)), MemberChange::vote(PeerId(103), StoreId(3))];
        script.adopt(1, 8, &back)
    }

    #[test]
    fn a_voter_has_a_log() {
        promoted(false).fine();
        promoted(true).violates(NAME, "its log ends at 0");
    }
}
