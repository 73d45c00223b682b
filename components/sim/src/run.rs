//! One run from its seed to its end: the cluster is made, disturbed, healed, has to serve again, and comes to rest.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coordinator::{Change, IdBatch, Reply};
use parking_lot::Mutex;
use region::{Inspector, RegionStatus};
use types::{ColumnFamily, Instant, PeerRole, PlantedBugs, RegionDescriptor, RegionId, RequestHeader};

use crate::call::{Call, CallId, RegionCall, RegionReply, Reply as CallReply};
use crate::chance::Dice;
use crate::clients::Clients;
use crate::faults::Faults;
use crate::guests::NoGuests;
use crate::node::HOME;
use crate::profile::Profile;
use crate::shape::Shape;
use crate::simulation::{FIRST_PROBE, Happening, Simulation, Wrong};

/// How long every region may take to serve after everything is healed. Generous against what it needs: a pause that
/// ends, the longest backlog of a link, an election, and a replay.
const LIVENESS_BOUND: Duration = Duration::from_secs(120);

/// How long the cluster may take to come to rest.
const REST_BOUND: Duration = Duration::from_secs(300);

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

/// Makes the clients of a run: the seed's own stream of chance, and the keys at which regions are cut.
pub type MakeClients = dyn Fn(&Settings, Dice) -> Box<dyn Clients>;

/// Runs a seed with these clients.
///
/// # Errors
/// When something happened that must not, or did not happen that must.
pub fn run(settings: &Settings, clients: &MakeClients) -> Result<Report, Box<Failure>> {
    let _guard = runtime::clock::simulate();
    let seed = settings.seed;
    let shape = Shape::draw(settings.stores, settings.regions, &mut Dice::fork(seed, "shape", 0));
    let shape = shape.planting(settings.planted);
    let faults = Faults::new(settings.profile, Dice::fork(seed, "faults", 0));
    let clients = clients(settings, Dice::fork(seed, "clients", 0));
    let simulation = Simulation::new(seed, shape, faults, clients, Box::new(NoGuests), settings.verbose);
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
                operations: simulation.clients.operations(),
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

/// What the probe of a region waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Put,
    Get,
    Delete,
    Done,
}

impl Simulation {
    fn run_phases(&mut self, settings: &Settings) -> Result<(), Wrong> {
        self.found()?;
        self.disturb(settings.steps)?;
        self.heal();
        self.clients.stop();
        self.serve_again()?;
        self.come_to_rest()?;
        self.finish()
    }

    /// Starts the coordinator alone, has it allocate the stores' ids, and starts the stores.
    pub(crate) fn found(&mut self) -> Result<(), Wrong> {
        let home = self.home();
        self.plan_start(Duration::ZERO, home);
        self.until(FOUNDING_BOUND, "the coordinator serves", |simulation| {
            simulation.nodes[home]
                .running()
                .and_then(|running| running.coordinator.as_ref())
                .is_some_and(crate::coordinating::serves)
        })?;
        let allocated = Arc::new(Mutex::new(None));
        let (slot, count) = (Arc::clone(&allocated), self.shape.stores as u32);
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
        self.plan(Duration::ZERO, Happening::WakeClients);
        Ok(())
    }

    /// Lets faults strike for so many events.
    pub(crate) fn disturb(&mut self, steps: u64) -> Result<(), Wrong> {
        let first = self.dice.millis(100, 5000);
        self.plan(first, Happening::Fault);
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

    /// The regions of the cluster, as their stores were born with them, which still have a majority.
    fn living_regions(&self) -> Vec<RegionDescriptor> {
        let mut regions = BTreeMap::new();
        for region in self.nodes.iter().flat_map(|node| &node.birth_regions) {
            regions.insert(region.id, region.clone());
        }
        let lives = |store: types::StoreId| self.nodes.iter().any(|node| node.store == store && node.loss.is_none());
        regions.retain(|_, region| {
            let voters = || region.peers.iter().filter(|peer| peer.role == PeerRole::Voter);
            voters().filter(|peer| lives(peer.store_id)).count() * 2 > voters().count()
        });
        regions.into_values().collect()
    }

    /// Every region must serve a write and a read.
    pub(crate) fn serve_again(&mut self) -> Result<(), Wrong> {
        let all_joined =
            |simulation: &mut Self| simulation.nodes.iter().all(|node| node.loss.is_some() || node.running().is_some());
        self.until(LIVENESS_BOUND, "every store that is not lost has started", all_joined)?;
        let regions = self.living_regions();
        if regions.len() != self.shape.regions {
            return Err(format!("{} of {} regions have a majority", regions.len(), self.shape.regions));
        }
        let mut probes: Vec<(RegionDescriptor, Probe, u64)> =
            regions.into_iter().map(|region| (region, Probe::Put, 0)).collect();
        let mut next = FIRST_PROBE;
        let mut ask_again = self.now;
        let deadline = self.now + LIVENESS_BOUND;
        while probes.iter().any(|(_, probe, _)| *probe != Probe::Done) {
            for (id, reply) in std::mem::take(&mut self.probe_replies) {
                let asked = probes.iter_mut().find(|(_, _, asked)| *asked == id.0);
                if let Some((region, probe, asked)) = asked
                    && let Some(following) = probe.after(region, reply)?
                {
                    (*probe, *asked) = (following, 0);
                }
            }
            if self.now >= ask_again {
                ask_again = self.now + Duration::from_millis(300);
                for (region, probe, asked) in &mut probes {
                    next += 1;
                    if let Some(call) = self.probe_call(region, *probe) {
                        *asked = next;
                        self.send_call(CallId(next), call);
                    }
                }
            }
            if self.now > deadline {
                let silent = probes.iter().filter(|(_, probe, _)| *probe != Probe::Done);
                let silent: Vec<_> = silent.map(|(region, probe, _)| format!("{} ({probe:?})", region.id)).collect();
                return Err(format!(
                    "regions do not serve within {} simulated seconds after everything was healed: {}",
                    LIVENESS_BOUND.as_secs(),
                    silent.join(", ")
                ));
            }
            self.step()?;
        }
        Ok(())
    }

    /// A probe's call to whoever leads the region now.
    fn probe_call(&self, region: &RegionDescriptor, probe: Probe) -> Option<Call> {
        let leads = |node: &&crate::node::Node| {
            node.loss.is_none() && node.running().is_some_and(|running| running.leads(region.id))
        };
        let term = |node: &&crate::node::Node| {
            node.running().and_then(|running| running.stepper.handle().region(region.id)).map(|view| view.term)
        };
        let to = self.nodes.iter().filter(leads).max_by_key(term)?.store;
        let header = RequestHeader { region_id: region.id, epoch: region.epoch, ..RequestHeader::default() };
        let (family, key) = (ColumnFamily::Lock, probe_key(region));
        let call = match probe {
            Probe::Put => RegionCall::Write(apply::build::batch(vec![apply::build::put(family, key, PROBE_VALUE)])),
            Probe::Get => RegionCall::Get { family, key },
            Probe::Delete => RegionCall::Write(apply::build::batch(vec![apply::build::delete(family, key)])),
            Probe::Done => return None,
        };
        Some(Call::Region { to, header, call })
    }

    /// Clients have what they waited for, and every member of every region has applied the same.
    pub(crate) fn come_to_rest(&mut self) -> Result<(), Wrong> {
        self.until(REST_BOUND, "the clients are done", |simulation| simulation.clients.are_done())?;
        let mut look_at = self.now;
        self.until(REST_BOUND, "every member has applied everything", |simulation| {
            if simulation.now < look_at {
                return false;
            }
            look_at = simulation.now + Duration::from_millis(200);
            simulation.is_at_rest()
        })
    }

    fn is_at_rest(&mut self) -> bool {
        let mut ends: BTreeMap<RegionId, Vec<RegionStatus>> = BTreeMap::new();
        for node in self.nodes.iter_mut().filter(|node| node.loss.is_none() && node.store != HOME) {
            let Some(running) = node.running_mut() else { return false };
            let handle = running.stepper.handle();
            let found = Arc::new(Mutex::new(Vec::new()));
            for view in handle.regions() {
                let found = Arc::clone(&found);
                handle.inspect(view.descriptor.id, Inspector::new(move |status| found.lock().push(status)));
            }
            running.stepper.run_until_idle();
            for status in found.lock().drain(..).flatten() {
                ends.entry(status.descriptor.id).or_default().push(status);
            }
        }
        for at in 0..self.nodes.len() {
            // Whatever the look at them made them send is sent.
            if self.take_up(at).is_err() {
                return false;
            }
        }
        ends.values().all(|members| {
            let last = members[0].last_index;
            members.iter().all(|member| {
                member.last_index == last && member.committed == last && member.apply_state.applied == last
            })
        })
    }
}

const PROBE_VALUE: Bytes = Bytes::from_static(b"here");

/// A key of a region for its probe, in a column family that clients do not use.
fn probe_key(region: &RegionDescriptor) -> Bytes {
    let start = &region.range.start;
    if start.is_empty() { Bytes::from_static(b"!") } else { start.clone() }
}

impl Probe {
    /// What comes next after an answer; nothing when it must be asked again.
    fn after(self, region: &RegionDescriptor, reply: CallReply) -> Result<Option<Self>, Wrong> {
        let CallReply::Region(Ok(reply)) = reply else { return Ok(None) };
        Ok(match (self, reply) {
            (Self::Put, RegionReply::Written(_)) => Some(Self::Get),
            (Self::Get, RegionReply::Value(Some(value))) if value == PROBE_VALUE => Some(Self::Delete),
            (Self::Get, RegionReply::Value(value)) => {
                return Err(format!("region {} answered {value:?} for what was just written to it", region.id));
            }
            (Self::Delete, RegionReply::Written(_)) => Some(Self::Done),
            _ => None,
        })
    }
}
