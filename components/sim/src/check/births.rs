//! A peer is on disk before it acts, and what its parent owes it is, too (D7).

use std::collections::{BTreeMap, BTreeSet};

use engine::{Birth, LogBatch, LogOp};
use types::{LogIndex, PeerId, RegionId, StoreId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::Ledger;
use crate::observation::{Event, Observation};

const NAME: &str = "births";

/// What the log engine says of a region's peer, as written.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    peer: Option<PeerId>,
    /// The largest commit index that was written, by a hard state or as the floor.
    commit: LogIndex,
    floor: LogIndex,
}

/// Watches lifecycle records, commit floors, and what is written for whom.
#[derive(Debug, Default)]
pub struct Births {
    known: BTreeMap<(StoreId, RegionId), Known>,
}

impl Births {
    fn on_batch(&mut self, store: StoreId, batch: &LogBatch) -> Result<(), Violation> {
        let is_new = |region: RegionId| self.known.get(&(store, region)).is_none_or(|known| known.peer.is_none());
        let born = batch.ops.iter().filter_map(|op| match op {
            LogOp::PutLifecycle { region, .. } if is_new(*region) => Some(*region),
            _ => None,
        });
        let born: BTreeSet<RegionId> = born.collect();
        for op in &batch.ops {
            match op {
                LogOp::PutLifecycle { region, lifecycle } => {
                    let known = self.known.entry((store, *region)).or_default();
                    let other = known.peer.filter(|peer| lifecycle.peer.is_some_and(|new| new != *peer));
                    ensure(NAME, other.is_none(), || {
                        let new = lifecycle.peer;
                        format!("region {region}: on store {store} peer {new:?} begins while {other:?} is still there")
                    })?;
                    known.peer = lifecycle.peer;
                }
                LogOp::Append { region, hard_state, .. } => {
                    let known = self.known.entry((store, *region)).or_default();
                    known.commit = known.commit.max(hard_state.commit);
                    let (commit, floor) = (hard_state.commit, known.floor);
                    ensure(NAME, commit >= floor, || {
                        format!("region {region}: store {store} writes commit {commit}, its floor is {floor}")
                    })?;
                }
                LogOp::RaiseCommitFloor { region, floor } => {
                    let known = self.known.entry((store, *region)).or_default();
                    known.floor = known.floor.max(*floor);
                    known.commit = known.commit.max(*floor);
                }
                LogOp::Remove { region, .. } => {
                    self.known.insert((store, *region), Known::default());
                }
                _ => {}
            }
        }
        batch.ops.iter().try_for_each(|op| self.check(store, op, &born))
    }

    /// What must be true behind the whole batch.
    fn check(&self, store: StoreId, op: &LogOp, born: &BTreeSet<RegionId>) -> Result<(), Violation> {
        let known = |region: RegionId| self.known.get(&(store, region)).copied().unwrap_or_default();
        match op {
            LogOp::Append { region, peer, .. } => ensure(NAME, known(*region).peer == Some(*peer), || {
                let record = known(*region).peer;
                format!("region {region}: store {store} writes for peer {peer}, its record is of {record:?}")
            }),
            LogOp::PutLifecycle { region, lifecycle } => match lifecycle.birth {
                Birth::Split { parent, parent_peer, index } if known(parent).peer == Some(parent_peer) => {
                    // A peer that a message had made is taken over later, and its parent's log may be another by then.
                    let parent_floor = known(parent).floor;
                    let commit = if born.contains(region) { parent_floor } else { known(parent).commit };
                    ensure(NAME, commit >= index, || {
                        format!(
                            "region {region}: store {store} has it born by entry {index} of region {parent}, which is \
                             known to be committed only up to {commit}"
                        )
                    })
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl Checker for Births {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, _: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        match &observation.event {
            Event::LogWritten { batch, .. } => self.on_batch(store, batch),
            Event::Opened { content } => {
                self.known.retain(|(of, _), _| *of != store);
                for (log, _) in &content.logs {
                    let commit = log.state.map_or(LogIndex(0), |state| state.hard_state.commit).max(log.commit_floor);
                    let peer = log.lifecycle.and_then(|lifecycle| lifecycle.peer);
                    self.known.insert((store, log.region), Known { peer, commit, floor: log.commit_floor });
                }
                Ok(())
            }
            Event::Wiped => {
                self.known.retain(|(of, _), _| *of != store);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::{Durability, Lifecycle};

    use super::*;
    use crate::check::testing::*;

    const CHILD: RegionId = RegionId(300);

    fn script() -> Script {
        Script::with(vec![Box::new(Births::default())]).led()
    }

    fn record(region: RegionId, peer: u64, birth: Birth) -> LogOp {
        let lifecycle = Lifecycle { peer: Some(PeerId(peer)), next_peer: PeerId(peer + 1), birth };
        LogOp::PutLifecycle { region, lifecycle }
    }

    fn write(script: &mut Script, ops: Vec<LogOp>) -> Result<(), Violation> {
        script.write_log(1, ops, Durability::Synced)
    }

    #[test]
    fn a_record_comes_with_the_first_write() {
        let first = || append(CHILD, 1, Vec::new(), hard_state(5, 0, 5));
        write(&mut script(), vec![first(), record(CHILD, 301, Birth::Message)]).fine();
        write(&mut script(), vec![first()]).violates(NAME, "its record is of None");
    }

    #[test]
    fn one_incarnation_at_a_time() {
        let next = || record(LOW, 109, Birth::Message);
        let gone = || LogOp::Remove { region: LOW, next_peer: PeerId(102) };
        write(&mut script(), vec![gone(), next()]).fine();
        write(&mut script(), vec![next(), gone()]).violates(NAME, "while Some(");
    }

    #[test]
    fn a_birth_raises_the_parents_floor() {
        let birth = Birth::Split { parent: LOW, parent_peer: PeerId(101), index: LogIndex(6) };
        let born = || record(CHILD, 301, birth);
        let floor = || LogOp::RaiseCommitFloor { region: LOW, floor: LogIndex(6) };
        write(&mut script(), vec![born(), floor()]).fine();
        write(&mut script(), vec![born()]).violates(NAME, "committed only up to 0");
        // A peer that was there is taken over when its parent may have another log.
        let mut script = script();
        write(&mut script, vec![record(CHILD, 301, Birth::Message)]).fine();
        write(&mut script, vec![born()]).violates(NAME, "committed only up to 5");
        write(&mut script, vec![append(LOW, 1, Vec::new(), hard_state(6, 101, 6))]).fine();
        write(&mut script, vec![born()]).fine();
    }

    #[test]
    fn no_commit_index_falls_behind_the_floor() {
        let mut script = script();
        write(&mut script, vec![LogOp::RaiseCommitFloor { region: LOW, floor: LogIndex(6) }]).fine();
        write(&mut script, vec![append(LOW, 1, Vec::new(), hard_state(6, 101, 6))]).fine();
        write(&mut script, vec![append(LOW, 1, Vec::new(), hard_state(6, 101, 5))]).violates(NAME, "its floor is 6");
    }
}
