//! The machine: what it is told, and the orders that follow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use types::{Instant, PeerId, RegionId, StoreId};

use crate::candidates::Scene;
use crate::checker::{self, PeerIds, Verdict};
use crate::cluster::Cluster;
use crate::command::{self, Command};
use crate::config::PlacementConfig;
use crate::controller::{Controller, OperatorRecord, Proposal, Reaction, Totals};
use crate::error::PlacementError;
use crate::operator::{Ending, Operator, OperatorId, Priority};
use crate::order::RegionOrder;
use crate::region::RegionState;
use crate::scatter::Scatterer;
use crate::store::{StoreLoad, StoreState};

/// Checkers act after that time even when not all regions have reported.
pub const PREPARE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How many regions that wait are looked at when a store reports.
const PATROL_ON_STORE_HEARTBEAT: usize = 1024;

/// How many regions that wait are looked at when an operator ends.
const PATROL_ON_END: usize = 16;

/// Placement. See the crate's documentation.
#[derive(Clone, Debug)]
pub struct Placement {
    config: PlacementConfig,
    cluster: Cluster,
    controller: Controller,
    scatterer: Scatterer,
    /// When it began.
    since: Instant,
    /// Whether enough is known for checkers to act.
    is_prepared: bool,
    /// Regions for which something is to be done that was not possible when they were looked at.
    waiting: BTreeSet<RegionId>,
    /// The region that the next patrol begins behind.
    patrolled: RegionId,
}

/// Gives ids that no peer ever had; `None` while none is at hand.
pub type TakePeerId<'a> = &'a mut dyn FnMut() -> Option<PeerId>;

impl Placement {
    /// Placement that knows nothing yet.
    pub fn new(config: PlacementConfig, now: Instant) -> Self {
        Self {
            config,
            cluster: Cluster::default(),
            controller: Controller::default(),
            scatterer: Scatterer::default(),
            since: now,
            is_prepared: false,
            waiting: BTreeSet::new(),
            patrolled: RegionId(0),
        }
    }

    /// How regions are placed.
    pub fn config(&self) -> &PlacementConfig {
        &self.config
    }

    /// What is known.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The operators under way, by region.
    pub fn operators(&self) -> impl ExactSizeIterator<Item = &Operator> {
        self.controller.operators()
    }

    pub(crate) fn controller(&self) -> &Controller {
        &self.controller
    }

    /// A region's operator.
    pub fn operator(&self, region: RegionId) -> Option<&Operator> {
        self.controller.operator(region)
    }

    /// Operators that ended, the newest last; bounded.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &OperatorRecord> {
        self.controller.records()
    }

    /// Whether checkers act: most regions have reported, or long enough was waited for them.
    pub fn is_prepared(&self) -> bool {
        self.is_prepared
    }

    /// How many regions wait for a limit or a store.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no region has a peer on a store, and no operator adds one.
    pub fn is_vacant(&self, store: StoreId) -> bool {
        self.cluster.counts(store).regions == 0 && self.controller.influence(store).adding == 0
    }

    /// What happened since the last call, for metrics.
    pub fn drain_totals(&mut self) -> Totals {
        std::mem::take(&mut self.controller.totals)
    }

    /// Changes how regions are placed. All regions are looked at again.
    pub fn set_config(&mut self, config: PlacementConfig) {
        if self.config != config {
            self.config = config;
            let all: Vec<RegionId> = self.cluster.regions().map(|region| region.id()).collect();
            self.waiting.extend(all);
        }
    }

    /// A store belongs to the cluster, with these labels; perhaps it was told to leave.
    pub fn set_store(&mut self, now: Instant, store: StoreId, labels: &BTreeMap<String, String>, is_leaving: bool) {
        let known = self.cluster.store(store);
        let begins_to_leave = is_leaving && known.is_none_or(|known| !known.is_leaving);
        let (heard, load) = known.map_or((self.since, None), |known| (known.heard, known.load));
        self.cluster.set_store(StoreState { id: store, labels: labels.clone(), is_leaving, heard, load });
        if begins_to_leave {
            self.waiting.extend(self.cluster.regions_on(store));
            self.waiting.extend(self.controller.give_up_target(now, store, "the store it adds a peer to leaves"));
        }
    }

    /// A store was removed.
    pub fn forget_store(&mut self, now: Instant, store: StoreId) {
        self.waiting.extend(self.controller.give_up_target(now, store, "the store it adds a peer to is gone"));
        self.waiting.extend(self.cluster.regions_on(store));
        self.cluster.forget_store(store);
        self.controller.forget_store(store);
    }

    /// A region is not there any more, or not known to be. Its operator goes on when it reports again, or times out.
    pub fn forget_region(&mut self, region: RegionId) {
        self.cluster.remove_region(region);
        self.waiting.remove(&region);
    }

    /// A store reports: time passes for everybody.
    pub fn store_heartbeat(
        &mut self,
        now: Instant,
        store: StoreId,
        load: StoreLoad,
        ids: TakePeerId<'_>,
        orders: &mut Vec<RegionOrder>,
    ) {
        if let Some(known) = self.cluster.store_mut(store) {
            known.heard = now;
            known.load = Some(load);
        }
        self.waiting.extend(self.controller.expire(&self.config, now));
        self.order_again(now, orders);
        self.patrol(now, PATROL_ON_STORE_HEARTBEAT, ids, orders);
    }

    /// A region's leader reports. Gives the order for it; orders for other regions, for which it made room, are pushed.
    pub fn region_heartbeat(
        &mut self,
        now: Instant,
        region: Arc<RegionState>,
        ids: TakePeerId<'_>,
        orders: &mut Vec<RegionOrder>,
    ) -> Option<RegionOrder> {
        self.cluster.set_region(now, Arc::clone(&region));
        match self.controller.heard(&self.config, now, &region) {
            Reaction::UnderWay(order) => order,
            Reaction::Idle => self.consider(now, &region, ids),
            Reaction::Ended => {
                let order = self.consider(now, &region, ids);
                self.patrol(now, PATROL_ON_END, ids, orders);
                order
            }
        }
    }

    /// People want something done. Pushes the first order.
    ///
    /// # Errors
    /// [`PlacementError`].
    pub fn command(
        &mut self,
        now: Instant,
        region: RegionId,
        command: &Command,
        ids: TakePeerId<'_>,
        orders: &mut Vec<RegionOrder>,
    ) -> Result<OperatorId, PlacementError> {
        let state = self.cluster.region(region).cloned().ok_or(PlacementError::RegionUnknown { region })?;
        let priority = match command {
            Command::Scatter { .. } => Priority::Medium,
            _ => Priority::Urgent,
        };
        self.controller.check_place(region, priority)?;
        let scene = Scene { config: &self.config, now, cluster: &self.cluster, controller: &self.controller };
        let proposal = match command {
            Command::Scatter { group } => self.scatterer.propose(scene, &state, group, ids),
            _ => command::propose(scene, &state, command, ids),
        }?;
        let (operator, order) = self.begin(now, &state, proposal);
        orders.extend(order);
        Ok(operator)
    }

    /// People want a region's operator to end.
    ///
    /// # Errors
    /// `NoOperator`.
    pub fn cancel(&mut self, now: Instant, region: RegionId) -> Result<(), PlacementError> {
        match self.controller.end(now, region, Ending::Cancelled("people cancelled it".to_owned())) {
            true => Ok(()),
            false => Err(PlacementError::NoOperator { region }),
        }
    }

    /// Looks at regions that wait, beginning behind the one that was looked at last.
    fn patrol(&mut self, now: Instant, most: usize, ids: TakePeerId<'_>, orders: &mut Vec<RegionOrder>) {
        self.prepare(now);
        let behind = (std::ops::Bound::Excluded(self.patrolled), std::ops::Bound::Unbounded);
        let next = self.waiting.range(behind).chain(self.waiting.range(..=self.patrolled)).copied();
        let next: Vec<RegionId> = next.take(most).collect();
        for region in next {
            self.patrolled = region;
            match self.cluster.region(region).cloned() {
                Some(state) if self.controller.operator(region).is_none() => {
                    orders.extend(self.consider(now, &state, ids));
                }
                _ => drop(self.waiting.remove(&region)),
            }
        }
    }

    /// Gives orders again that may have been lost on their way, by what the regions reported last. Stale ones do no harm.
    fn order_again(&mut self, now: Instant, orders: &mut Vec<RegionOrder>) {
        for region in self.controller.ordered_long_ago(now) {
            let Some(state) = self.cluster.region(region).cloned() else { continue };
            match self.controller.heard(&self.config, now, &state) {
                Reaction::UnderWay(order) => orders.extend(order),
                Reaction::Ended => drop(self.waiting.insert(region)),
                Reaction::Idle => {}
            }
        }
    }

    /// Lets checkers look at a region without an operator. Gives the first order of what they make of it.
    fn consider(&mut self, now: Instant, region: &RegionState, ids: PeerIds<'_>) -> Option<RegionOrder> {
        if self.config.halt_scheduling || !self.is_prepared {
            return None;
        }
        let scene = Scene { config: &self.config, now, cluster: &self.cluster, controller: &self.controller };
        let verdict = checker::check(scene, region, ids);
        match verdict {
            Verdict::Waits(obstacle) if obstacle.passes_soon() => {
                self.controller.totals.limited += 1;
                self.waiting.insert(region.id())
            }
            Verdict::Fine | Verdict::Act(_) | Verdict::Waits(_) => self.waiting.remove(&region.id()),
        };
        match verdict {
            Verdict::Act(proposal) => self.begin(now, region, proposal).1,
            _ => None,
        }
    }

    fn begin(&mut self, now: Instant, region: &RegionState, proposal: Proposal) -> (OperatorId, Option<RegionOrder>) {
        let id = self.controller.begin(&self.config, now, region, proposal);
        match self.controller.heard(&self.config, now, region) {
            Reaction::UnderWay(order) => (id, order),
            Reaction::Idle | Reaction::Ended => (id, None),
        }
    }

    /// Checkers act once most of what stores hold has reported: else a store whose regions are late looks empty.
    fn prepare(&mut self, now: Instant) {
        if self.is_prepared {
            return;
        }
        let has_reported = |store: &StoreState| match store.load {
            Some(load) => self.cluster.counts(store.id).regions * 10 >= load.region_count.saturating_mul(9),
            None => !store.is_connected(now),
        };
        self.is_prepared = now.since(self.since) > PREPARE_TIMEOUT || self.cluster.stores().all(has_reported);
        if self.is_prepared {
            let all: Vec<RegionId> = self.cluster.regions().map(|region| region.id()).collect();
            self.waiting.extend(all);
        }
    }
}
