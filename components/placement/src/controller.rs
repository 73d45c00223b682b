//! Which operators are under way, and what became of the others.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use types::{Instant, RegionId, StoreId};

use crate::config::PlacementConfig;
use crate::error::PlacementError;
use crate::limits::{Charge, StoreLimits};
use crate::operator::{Advance, Ending, Operator, OperatorId, Origin, Priority};
use crate::order::RegionOrder;
use crate::region::RegionState;
use crate::step::{Stage, Step};

/// Most operators under way, people's included.
pub const MAX_OPERATORS: usize = 4096;

/// How many operators that have ended are remembered.
pub const MAX_RECORDS: usize = 1000;

/// An order that nobody reacted to is given again after that time, though its region does not report.
const ORDER_AGAIN_AFTER: Duration = Duration::from_secs(8);

/// An operator that is about to be made.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) name: &'static str,
    pub(crate) origin: Origin,
    pub(crate) priority: Priority,
    pub(crate) stages: Vec<Stage>,
}

/// An operator that has ended.
#[derive(Clone, Debug)]
pub struct OperatorRecord {
    /// The operator, as it was at its end.
    pub operator: Operator,
    /// When it ended.
    pub ended: Instant,
    /// How.
    pub ending: Ending,
}

/// What operators under way do to a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Influence {
    /// Peers on their way there.
    pub(crate) adding: u64,
    /// About how many bytes those bring.
    pub(crate) adding_bytes: u64,
    /// Peers that it sends a snapshot to.
    pub(crate) sending: u64,
}

/// What happened, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Operators made.
    pub created: u64,
    /// Operators that ended as planned.
    pub finished: u64,
    /// Operators that took too long.
    pub timed_out: u64,
    /// Operators that became impossible or were cancelled.
    pub cancelled: u64,
    /// Operators that made way for more urgent ones.
    pub replaced: u64,
    /// Orders given, repetitions included.
    pub orders: u64,
    /// How often a limit kept a checker from making an operator.
    pub limited: u64,
    /// How long the operators took that ended as planned.
    pub lasted: Vec<Duration>,
}

/// Operators by region.
#[derive(Clone, Debug, Default)]
pub(crate) struct Controller {
    running: BTreeMap<RegionId, Operator>,
    records: VecDeque<OperatorRecord>,
    influence: BTreeMap<StoreId, Influence>,
    limits: StoreLimits,
    last: OperatorId,
    pub(crate) totals: Totals,
}

/// What a heartbeat did to its region's operator.
pub(crate) enum Reaction {
    /// There is none.
    Idle,
    /// It goes on; perhaps with an order.
    UnderWay(Option<RegionOrder>),
    /// It ended just now.
    Ended,
}

impl Controller {
    pub(crate) fn operator(&self, region: RegionId) -> Option<&Operator> {
        self.running.get(&region)
    }

    pub(crate) fn operators(&self) -> impl ExactSizeIterator<Item = &Operator> {
        self.running.values()
    }

    /// The newest last.
    pub(crate) fn records(&self) -> impl DoubleEndedIterator<Item = &OperatorRecord> {
        self.records.iter()
    }

    pub(crate) fn influence(&self, store: StoreId) -> Influence {
        self.influence.get(&store).copied().unwrap_or_default()
    }

    pub(crate) fn allows_add(&self, config: &PlacementConfig, now: Instant, store: StoreId, bytes: u64) -> bool {
        self.limits.allows(now, store, Charge::Add, config.store_limit, bytes)
    }

    pub(crate) fn allows_remove(&self, config: &PlacementConfig, now: Instant, store: StoreId, bytes: u64) -> bool {
        self.limits.allows(now, store, Charge::Remove, config.store_limit, bytes)
    }

    /// Whether a checker may make one more operator.
    pub(crate) fn has_room(&self, config: &PlacementConfig, only_moves_leader: bool) -> bool {
        let limit = if only_moves_leader { config.leader_schedule_limit } else { config.replica_schedule_limit };
        let alike = |operator: &&Operator| {
            operator.origin == Origin::Checker && operator.only_moves_leader() == only_moves_leader
        };
        self.running.len() < MAX_OPERATORS && self.running.values().filter(alike).count() < limit
    }

    /// Whether an operator of this urgency may begin for a region.
    ///
    /// # Errors
    /// `Occupied` and `TooMany`.
    pub(crate) fn check_place(&self, region: RegionId, priority: Priority) -> Result<(), PlacementError> {
        match self.running.get(&region) {
            Some(operator) if operator.priority >= priority => {
                Err(PlacementError::Occupied { region, operator: operator.id, name: operator.name })
            }
            None if self.running.len() >= MAX_OPERATORS => Err(PlacementError::TooMany { limit: MAX_OPERATORS }),
            _ => Ok(()),
        }
    }

    /// Begins an operator, in the place of a less urgent one.
    pub(crate) fn begin(
        &mut self,
        config: &PlacementConfig,
        now: Instant,
        region: &RegionState,
        proposal: Proposal,
    ) -> OperatorId {
        let Proposal { name, origin, priority, stages } = proposal;
        let id = OperatorId(self.last.0 + 1);
        self.last = id;
        self.end(now, region.id(), Ending::Replaced(id));
        let bytes = region.bytes();
        let operator = Operator {
            id,
            region: region.id(),
            name,
            origin,
            priority,
            stages,
            current: 0,
            created: now,
            step_began: now,
            ordered: now,
            epoch: region.descriptor.epoch,
            approximate_bytes: bytes,
            source: region.leader.store_id,
        };
        for step in operator.steps() {
            match step {
                Step::AddLearner { peer } => {
                    self.limits.take(now, peer.store_id, Charge::Add, config.store_limit, bytes)
                }
                Step::RemovePeer { peer } => {
                    self.limits.take(now, peer.store_id, Charge::Remove, config.store_limit, bytes);
                }
                _ => {}
            }
        }
        self.totals.created += 1;
        count(&mut self.influence, &operator, |count, more| *count += more);
        self.running.insert(operator.region, operator);
        id
    }

    /// Takes what a region reports.
    pub(crate) fn heard(&mut self, config: &PlacementConfig, now: Instant, region: &RegionState) -> Reaction {
        let Some(operator) = self.running.get_mut(&region.id()) else { return Reaction::Idle };
        count(&mut self.influence, operator, |count, less| *count -= less);
        let advance = operator.advance(config, now, region);
        count(&mut self.influence, operator, |count, more| *count += more);
        match advance {
            Advance::UnderWay(order) => {
                if order.is_some() {
                    operator.ordered = now;
                    self.totals.orders += 1;
                }
                Reaction::UnderWay(order)
            }
            Advance::Ended(ending) => {
                self.end(now, region.id(), ending);
                Reaction::Ended
            }
        }
    }

    /// Ends a region's operator. Says whether there was one.
    pub(crate) fn end(&mut self, now: Instant, region: RegionId, ending: Ending) -> bool {
        let Some(operator) = self.running.remove(&region) else { return false };
        count(&mut self.influence, &operator, |count, less| *count -= less);
        let counter = match ending {
            Ending::Finished => &mut self.totals.finished,
            Ending::TimedOut(_) => &mut self.totals.timed_out,
            Ending::Cancelled(_) => &mut self.totals.cancelled,
            Ending::Replaced(_) => &mut self.totals.replaced,
        };
        *counter += 1;
        if ending == Ending::Finished {
            self.totals.lasted.push(now.since(operator.created));
        }
        if self.records.len() == MAX_RECORDS {
            self.records.pop_front();
        }
        self.records.push_back(OperatorRecord { operator, ended: now, ending });
        true
    }

    /// Ends the operators that have used up their time, and gives their regions.
    pub(crate) fn expire(&mut self, config: &PlacementConfig, now: Instant) -> Vec<RegionId> {
        let overdue = |operator: &Operator| Some((operator.region, operator.overdue(config, now)?));
        let late: Vec<_> = self.running.values().filter_map(overdue).collect();
        late.into_iter()
            .map(|(region, ending)| {
                self.end(now, region, ending);
                region
            })
            .collect()
    }

    /// The regions of operators whose order was given some time ago. It may have been lost.
    pub(crate) fn ordered_long_ago(&self, now: Instant) -> Vec<RegionId> {
        let is_old = |operator: &&Operator| now.since(operator.ordered) > ORDER_AGAIN_AFTER;
        self.running.values().filter(is_old).map(|operator| operator.region).collect()
    }

    /// Ends the operators that would still add a peer to a store, and gives their regions.
    pub(crate) fn give_up_target(&mut self, now: Instant, store: StoreId, why: &str) -> Vec<RegionId> {
        let adds = |step: &Step| matches!(step, Step::AddLearner { peer } if peer.store_id == store);
        let affected = self.running.values().filter(|operator| operator.remaining().any(adds));
        let affected: Vec<RegionId> = affected.map(|operator| operator.region).collect();
        for region in &affected {
            self.end(now, *region, Ending::Cancelled(why.to_owned()));
        }
        affected
    }

    pub(crate) fn forget_store(&mut self, store: StoreId) {
        self.limits.forget(store);
    }
}

/// Counts what an operator still does to stores.
fn count(influence: &mut BTreeMap<StoreId, Influence>, operator: &Operator, change: impl Fn(&mut u64, u64)) {
    for step in operator.remaining() {
        let Step::AddLearner { peer } = step else { continue };
        let target = influence.entry(peer.store_id).or_default();
        change(&mut target.adding, 1);
        change(&mut target.adding_bytes, operator.approximate_bytes);
        change(&mut influence.entry(operator.source).or_default().sending, 1);
        influence.retain(|_, influence| *influence != Influence::default());
    }
}
