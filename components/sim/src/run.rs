//! One run from its seed to its end: the cluster is made, disturbed, healed, has to serve again, and comes to rest.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Change, IdBatch, Reply};
use parking_lot::Mutex;
use region::{Inspector, RegionStatus};
use types::{Instant, KeyRange, PlantedBugs, RegionDescriptor, RegionId};

use crate::chance::Dice;
use crate::coordinating::serves;
use crate::faults::Faults;
use crate::guests::NoGuests;
use crate::losses::keeps_majority;
use crate::moves::Moves;
use crate::profile::Profile;
use crate::shape::{Shape, draw_workload};
use crate::simulation::{Happening, Simulation, Wrong};
use crate::splitting;
use crate::workload::Workload;

/// How long every region may take to serve after everything is healed. Generous against what it needs: a pause that
/// ends, the longest backlog of a link, an election, and a replay.
pub(crate) const LIVENESS_BOUND: Duration = Duration::from_secs(120);

/// How long the cluster may take to come to rest.
const REST_BOUND: Duration = Duration::from_secs(300);

/// How long the cluster is left alone at the end.
const REST: Duration = Duration::from_secs(3);

/// How often it is looked whether something has come about.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How long the coordinator may take to serve for the first time.
const FOUNDING_BOUND: Duration = Duration::from_secs(60);

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where all chance comes from.
    pub seed: u64,
    /// Which faults there are.
    pub profile: Profile,
    /// How many events the disturbance lasts.
    pub steps: u64,
    /// How many stores there are.
    pub stores: usize,
    /// How many regions there are.
    pub regions: usize,
    /// Whether everything is said as it happens.
    pub verbose: bool,
    /// Bugs that are to be found.
    pub planted: PlantedBugs,
}

impl Settings {
    /// An ordinary run of a seed: three stores, twenty regions.
    pub fn new(seed: u64, profile: Profile) -> Self {
        Self { seed, profile, steps: 20_000, stores: 3, regions: 20, verbose: false, planted: PlantedBugs::NONE }
    }
}

/// What a run was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// A number that stands for everything that happened, in its order.
    pub hash: u64,
    /// How many events there were.
    pub steps: u64,
    /// How long it lasted, by the simulation's clock.
    pub simulated: Duration,
    /// How many operations of clients were answered.
    pub operations: u64,
    /// Of how many registers nobody knows whether they were legal, since the search for an order met its bound.
    pub undecided_registers: u64,
}

/// A run went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was run.
    pub settings: Settings,
    /// What was wrong, in one line.
    pub what: String,
    /// When, by the simulation's clock.
    pub at: Instant,
    /// What happened before it, for a reader.
    pub trace: String,
}

/// Runs a seed.
///
/// # Errors
/// When something happened that must not, or did not happen that must.
pub fn run(settings: &Settings) -> Result<Report, Box<Failure>> {
    let _guard = runtime::clock::simulate();
    let seed = settings.seed;
    let shape = Shape::draw(settings.stores, settings.regions, &mut Dice::fork(seed, "shape", 0));
    let mut shape = shape.planting(settings.planted);
    shape.store.split = splitting::draw(&mut Dice::fork(seed, "splitting", 0));
    let faults = Faults::new(settings.profile, Dice::fork(seed, "faults", 0));
    let mut dice = Dice::fork(seed, "clients", 0);
    let workload = Workload::new(draw_workload(&shape, &mut dice), dice.number());
    let shape = shape.with_spares();
    let mut simulation = Simulation::new(seed, shape, faults, Some(workload), Box::new(NoGuests), settings.verbose);
    simulation.moves = Moves::new(Dice::fork(seed, "moves", 0));
    caught(settings, simulation, |simulation| simulation.run_phases(settings))
}

/// Carries a run through, and makes a failure of whatever ends it.
pub(crate) fn caught(
    settings: &Settings,
    mut simulation: Simulation,
    work: impl FnOnce(&mut Simulation) -> Result<(), Wrong>,
) -> Result<Report, Box<Failure>> {
    // What a panic leaves behind is read for its trace, and not run any more.
    let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut simulation)));
    let what = match outcome {
        Ok(Ok(())) => {
            return Ok(Report {
                hash: simulation.recorder.digest(),
                steps: simulation.steps,
                simulated: simulation.now.since(Instant::ORIGIN),
                operations: simulation.workload.as_ref().map_or(0, |workload| workload.tally().served()),
                undecided_registers: simulation.judged.map_or(0, |judged| judged.tally.undecided_registers),
            });
        }
        Ok(Err(wrong)) => wrong,
        Err(payload) => format!("panic: {}", words(&*payload)),
    };
    let trace = format!("{settings:?}\n{:#?}\n{}{what}\n", simulation.shape, simulation.recorder.read());
    let failure = Failure { settings: *settings, what, at: simulation.now, trace };
    // Its parts may be half changed by a panic: nothing of it is dropped, so that no destructor runs into that.
    std::mem::forget(simulation);
    Err(Box::new(failure))
}

fn words(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

impl Simulation {
    fn run_phases(&mut self, settings: &Settings) -> Result<(), Wrong> {
        self.found()?;
        self.ask_clients(|workload, now, wishes| workload.start(now, wishes));
        self.disturb(settings.steps)?;
        self.moves.are_over = true;
        self.heal();
        self.rest_clients()?;
        self.start_again()?;
        self.settle()?;
        self.serve_clients()?;
        self.read_back()?;
        self.come_to_rest()?;
        // The coordinator may have had one more idea meanwhile.
        while self.what_is_open()?.is_some() {
            self.settle()?;
            self.come_to_rest()?;
        }
        self.finish()
    }

    /// Starts the coordinator alone, has it allocate the stores' ids, and starts the stores.
    pub(crate) fn found(&mut self) -> Result<(), Wrong> {
        let home = self.home();
        self.plan_start(Duration::ZERO, home);
        self.until(FOUNDING_BOUND, "the coordinator serves", |simulation| {
            simulation.nodes[home].running().and_then(|running| running.coordinator.as_ref()).is_some_and(serves)
        })?;
        let allocated = Arc::new(Mutex::new(None));
        let (slot, count) = (Arc::clone(&allocated), self.shape.machines as u32);
        self.run(home, true, |running, _| {
            let reply = Reply::new(move |result: Result<IdBatch, _>| *slot.lock() = Some(result.map(|ids| ids.last)));
            let coordinator = running.coordinator.as_ref().expect("the coordinator's node runs one");
            coordinator.request(Change::AllocateIds { count, reply });
        })?;
        self.until(FOUNDING_BOUND, "the ids of the stores are allocated", |_| allocated.lock().is_some())?;
        let last = allocated.lock().take();
        if !matches!(last, Some(Ok(last)) if last == u64::from(count)) {
            return Err(format!("the first {count} ids of a fresh cluster ended with {last:?}"));
        }
        for at in 0..self.shape.stores {
            let after = self.dice.millis(0, 200);
            self.plan_start(after, at);
        }
        Ok(())
    }

    /// Lets faults strike for so many events.
    pub(crate) fn disturb(&mut self, steps: u64) -> Result<(), Wrong> {
        // Now and then at once, so that faults meet stores that are only being made.
        let latest = if self.dice.one_in(2) { 300 } else { 5000 };
        let first = self.dice.millis(0, latest);
        self.plan(first, Happening::Fault);
        if let Some(pause) = self.moves.pause() {
            self.plan(first + pause, Happening::Move);
        }
        for _ in 0..steps {
            self.step()?;
        }
        Ok(())
    }

    /// Steps until something is so.
    pub(crate) fn until(
        &mut self,
        bound: Duration,
        what: &str,
        mut is_so: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Wrong> {
        let deadline = self.now + bound;
        while !is_so(self) {
            if self.now > deadline {
                return Err(format!("not within {} simulated seconds: {what}", bound.as_secs()));
            }
            self.step()?;
        }
        Ok(())
    }

    /// The regions of the cluster, each of which must still have a majority.
    fn living_regions(&self) -> Result<Vec<RegionDescriptor>, Wrong> {
        let ledger = self.stores_watch.ledger();
        let regions: Vec<_> = ledger.regions().map(|(_, truth)| (*truth.replay().descriptor).clone()).collect();
        if regions.len() < self.shape.regions {
            return Err(format!("of {} regions only {} were ever seen", self.shape.regions, regions.len()));
        }
        let lost = |store| self.nodes.iter().any(|node| node.store == store && node.loss.is_some());
        match regions.iter().find(|region| !keeps_majority(region, &lost)) {
            Some(region) => Err(format!("region {} has lost its majority: {:?}", region.id, region.peers)),
            None => Ok(regions),
        }
    }

    /// Every store that is not lost must start, and every region keep a majority of its voters.
    pub(crate) fn start_again(&mut self) -> Result<Vec<RegionDescriptor>, Wrong> {
        let all_joined =
            |simulation: &mut Self| simulation.nodes.iter().all(|node| !node.is_expected() || node.running().is_some());
        self.until(LIVENESS_BOUND, "every store that is not lost has started", all_joined)?;
        self.living_regions()
    }

    /// Clients must be able to write to every region, and to read from it.
    fn serve_clients(&mut self) -> Result<(), Wrong> {
        let regions = self.led_regions();
        let ranges: Vec<KeyRange> = regions.into_iter().map(|region| region.range).collect();
        self.ask_clients(|workload, now, wishes| workload.probe(now, &ranges, wishes));
        let deadline = self.now + LIVENESS_BOUND;
        let mut look_at = self.now;
        loop {
            self.step()?;
            if self.now < look_at {
                continue;
            }
            look_at = self.now + LOOK_INTERVAL;
            let silent = self.workload.as_ref().map(|workload| workload.probe_report().silent).unwrap_or_default();
            if silent.is_empty() {
                return self.rest_clients();
            }
            if self.now > deadline {
                let bound = LIVENESS_BOUND.as_secs();
                return Err(format!("regions do not serve within {bound} simulated seconds of peace: {silent:?}"));
            }
        }
    }

    /// Lets the clients end what they are at.
    fn rest_clients(&mut self) -> Result<(), Wrong> {
        self.ask_clients(|workload, _, _| workload.stop());
        self.wait_for_clients("the clients are done")
    }

    fn wait_for_clients(&mut self, what: &str) -> Result<(), Wrong> {
        self.until(REST_BOUND, what, |simulation| simulation.workload.as_ref().is_none_or(Workload::is_idle))
    }

    /// Lets the clients read everything once more: a write that was lost is then missed.
    fn read_back(&mut self) -> Result<(), Wrong> {
        self.ask_clients(|workload, now, wishes| workload.read_back(now, wishes));
        self.wait_for_clients("everything was read once more")?;
        self.rest_clients()
    }

    /// Every member of every region has applied the same, and stays so.
    pub(crate) fn come_to_rest(&mut self) -> Result<(), Wrong> {
        self.wait_for_rest()?;
        // Logs that were kept for somebody are compacted now.
        let end = self.now + REST;
        while self.now < end {
            self.step()?;
        }
        self.wait_for_rest()
    }

    fn wait_for_rest(&mut self) -> Result<(), Wrong> {
        let deadline = self.now + REST_BOUND;
        while !self.is_at_rest()? {
            if self.now > deadline {
                let bound = REST_BOUND.as_secs();
                return Err(format!("not within {bound} simulated seconds: every member has applied everything"));
            }
            let end = self.now + LOOK_INTERVAL;
            while self.now < end {
                self.step()?;
            }
        }
        Ok(())
    }

    fn is_at_rest(&mut self) -> Result<bool, Wrong> {
        let mut ends: BTreeMap<(bool, RegionId), Vec<RegionStatus>> = BTreeMap::new();
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            if !node.is_expected() {
                continue;
            }
            if node.is_paused(self.now) || node.running().is_none() {
                return Ok(false);
            }
            let found = Arc::new(Mutex::new(Vec::new()));
            self.run(at, true, |running, _| {
                let handle = running.stepper.handle();
                for view in handle.regions() {
                    let found = Arc::clone(&found);
                    handle.inspect(view.descriptor.id, Inspector::new(move |status| found.lock().push(status)));
                }
                running.stepper.run_until_idle();
            })?;
            for status in found.lock().drain(..) {
                // A region that is too busy to be looked at, or is being rebuilt, tells nothing.
                let Some(status) = status else { return Ok(false) };
                ends.entry((at == self.home(), status.descriptor.id)).or_default().push(status);
            }
        }
        Ok(ends.values().all(|members| {
            let last = members[0].last_index;
            members.iter().all(|member| {
                member.last_index == last && member.committed == last && member.apply_state.applied == last
            })
        }))
    }
}
