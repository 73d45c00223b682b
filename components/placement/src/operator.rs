//! A plan for one region, on its way.

use std::fmt;
use std::time::Duration;

use types::{Instant, RegionEpoch, RegionId, StoreId};

use crate::config::PlacementConfig;
use crate::order::RegionOrder;
use crate::region::RegionState;
use crate::step::{Progress, Stage, Step};

/// Numbers operators, from one on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorId(pub u64);

impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How urgent an operator is. A more urgent one takes a region's operator's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// It makes things nicer.
    Low,
    /// It mends what is not as it should be.
    Medium,
    /// It mends what endangers data or availability.
    High,
    /// People asked for it.
    Urgent,
}

impl Priority {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Urgent => "urgent",
        }
    }
}

/// Who wanted an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A checker.
    Checker,
    /// People, by a command.
    People,
}

impl Origin {
    /// Its name, as the ecosystem's tools show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Checker => "checker",
            Self::People => "admin",
        }
    }
}

/// How an operator ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As planned.
    Finished,
    /// It took too long; says at which step.
    TimedOut(&'static str),
    /// It became impossible, or somebody cancelled it; says why.
    Cancelled(String),
    /// A more urgent one took its place.
    Replaced(OperatorId),
}

/// A plan for one region, on its way.
#[derive(Clone, Debug)]
pub struct Operator {
    pub(crate) id: OperatorId,
    pub(crate) region: RegionId,
    pub(crate) name: &'static str,
    pub(crate) origin: Origin,
    pub(crate) priority: Priority,
    pub(crate) stages: Vec<Stage>,
    pub(crate) current: usize,
    pub(crate) created: Instant,
    pub(crate) step_began: Instant,
    /// When its order was given last.
    pub(crate) ordered: Instant,
    pub(crate) epoch: RegionEpoch,
    pub(crate) approximate_bytes: u64,
    pub(crate) source: StoreId,
}

/// What a heartbeat made of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// It goes on; perhaps with an order.
    UnderWay(Option<RegionOrder>),
    /// It ended.
    Ended(Ending),
}

impl Operator {
    /// Its number.
    pub fn id(&self) -> OperatorId {
        self.id
    }

    /// Its region.
    pub fn region(&self) -> RegionId {
        self.region
    }

    /// What it is for.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Who wanted it.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How urgent it is.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Its steps.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = &Step> {
        self.stages.iter().map(|stage| &stage.step)
    }

    /// The place of the step that is under way.
    pub fn current(&self) -> usize {
        self.current
    }

    /// When it was made.
    pub fn created(&self) -> Instant {
        self.created
    }

    /// The region's epoch when it was made.
    pub fn epoch(&self) -> RegionEpoch {
        self.epoch
    }

    /// The steps that are not finished.
    pub(crate) fn remaining(&self) -> impl Iterator<Item = &Step> {
        self.stages[self.current..].iter().map(|stage| &stage.step)
    }

    /// Whether it only moves a leadership.
    pub(crate) fn only_moves_leader(&self) -> bool {
        self.steps().all(|step| matches!(step, Step::TransferLeader { .. }))
    }

    /// How long all of it may take.
    fn timeout(&self, config: &PlacementConfig) -> Duration {
        self.steps().map(|step| step.timeout(config, self.approximate_bytes)).sum()
    }

    /// Takes what its region reports.
    pub(crate) fn advance(&mut self, config: &PlacementConfig, now: Instant, region: &RegionState) -> Advance {
        while let Some(stage) = self.stages.get(self.current) {
            match stage.progress(region, &self.stages[self.current + 1..]) {
                Progress::Finished => {
                    self.current += 1;
                    self.step_began = now;
                }
                Progress::UnderWay { order } => return self.go_on(config, now, region, order),
                Progress::Impossible(why) => return Advance::Ended(Ending::Cancelled(why.to_owned())),
            }
        }
        Advance::Ended(Ending::Finished)
    }

    fn go_on(&self, config: &PlacementConfig, now: Instant, region: &RegionState, order: bool) -> Advance {
        let step = &self.stages[self.current].step;
        if let Some(ending) = self.overdue(config, now) {
            return Advance::Ended(ending);
        }
        let order = order.then(|| RegionOrder {
            region: self.region,
            epoch: region.descriptor.epoch,
            leader: region.leader,
            kind: step.order(config),
        });
        Advance::UnderWay(order)
    }

    /// The ending of an operator that has used up its time.
    pub(crate) fn overdue(&self, config: &PlacementConfig, now: Instant) -> Option<Ending> {
        let step = &self.stages.get(self.current)?.step;
        let late = now.since(self.step_began) > step.timeout(config, self.approximate_bytes)
            || now.since(self.created) > self.timeout(config);
        late.then(|| Ending::TimedOut(step.name()))
    }
}
