//! Simulated clients: what they ask, how they find their way, what they saw, and whether that can be true.
//!
//! A [`Workload`] is driven by the world that it lives in. The world calls [`Workload::on_reply`] for each answer,
//! [`Workload::on_wake`] for each wake-up that was asked for, and carries what is sent through [`Wires`]. There is no
//! clock in here, and chance comes from the seed alone.
//!
//! Clients do as real ones do. Each has a cache of the regions and asks the coordinator when it does not know better. It
//! tries again only what was promised to have had no effect. A write that is not answered in time, or whose store does not
//! know, stays unknown; should its answer come later, what it says is taken down all the same.
//!
//! A run goes through phases: [`start`](Workload::start) lets the clients work, [`stop`](Workload::stop) lets them end what
//! they are at, [`probe`](Workload::probe) asks whether every region serves, and
//! [`read_back`](Workload::read_back) reads every register once more, so that [`check`](Workload::check) misses no lost
//! write.
//!
//! Memory is bounded however long a run is: a register that has seen enough operations is checked, forgotten and
//! replaced by a fresh one.

mod ask;
mod client;
mod config;
mod desk;
mod errand;
mod layout;
mod notes;
mod pick;
mod report;
mod routes;
mod task;
mod value;
mod verdict;

use types::{Instant, KeyRange};

pub use config::WorkloadConfig;
pub use report::{ProbeReport, Report, Tally};

use client::{Client, Scene};
use desk::{Desk, Mode};
use errand::Errand;
use task::Task;

use crate::call::{CallId, ClientId, Reply, Wires};
use crate::check::Violation;
use crate::check::linearizability::Verdict;
use crate::history::History;

/// Simulated clients and what they saw.
#[derive(Debug)]
pub struct Workload {
    clients: Vec<Client>,
    desk: Desk,
}

impl Workload {
    /// Clients that have not begun yet. What they will do follows from the configuration and the seed.
    ///
    /// # Panics
    /// When the configuration has no clients or no registers.
    pub fn new(config: WorkloadConfig, seed: u64) -> Self {
        assert!(config.clients > 0, "a workload needs clients");
        let count = config.clients;
        let desk = Desk::new(config);
        let clients = (0..count).map(|number| Client::new(ClientId(number), seed, &desk)).collect();
        Self { clients, desk }
    }

    /// Lets the clients work, for the first time or again.
    pub fn start(&mut self, now: Instant, wires: &mut dyn Wires) {
        self.desk.mode = Mode::Work;
        self.desk.errands.clear();
        self.rouse(now, wires);
    }

    /// An answer came over the network.
    pub fn on_reply(&mut self, now: Instant, id: CallId, reply: Reply, wires: &mut dyn Wires) {
        let Some(pending) = self.desk.answered(id) else { return };
        let client = &mut self.clients[pending.client.0 as usize];
        if client.waits_for(id) {
            client.answered(id, &pending, reply, &mut Scene { now, desk: &mut self.desk, wires });
        } else {
            self.desk.late(id, &pending, &reply, now);
        }
    }

    /// A client is woken. One that did not ask for it, or asked for a later moment, does not mind.
    pub fn on_wake(&mut self, now: Instant, client: ClientId, wires: &mut dyn Wires) {
        self.clients[client.0 as usize].wake(&mut Scene { now, desk: &mut self.desk, wires });
    }

    /// Lets the clients end what they are at, and begin nothing else.
    ///
    /// They need answers and wake-ups for that, until [`is_idle`](Self::is_idle).
    pub fn stop(&mut self) {
        self.desk.mode = Mode::Rest;
        self.desk.errands.clear();
    }

    /// Whether no client has anything to do.
    pub fn is_idle(&self) -> bool {
        self.desk.errands.is_empty() && self.clients.iter().all(Client::is_idle)
    }

    /// Writes a key in each of these ranges, and reads it, again and again until it succeeds or the clients are stopped.
    /// [`probe_report`](Self::probe_report) tells how it goes.
    pub fn probe(&mut self, now: Instant, regions: &[KeyRange], wires: &mut dyn Wires) {
        self.desk.begin_probe(regions);
        self.rouse(now, wires);
    }

    /// Which of the probed regions have served.
    pub fn probe_report(&self) -> ProbeReport {
        self.desk.probe_report()
    }

    /// Reads every key of every register that is in use, again and again until it succeeds or the clients are stopped.
    pub fn read_back(&mut self, now: Instant, wires: &mut dyn Wires) {
        self.desk.mode = Mode::Errands;
        for (id, register) in self.desk.history.live() {
            let reads = (0..register.keys.len()).map(|key| Task::Get { register: id, key });
            self.desk.errands.extend(reads.map(|task| Errand { task, probe: None }));
        }
        self.rouse(now, wires);
    }

    /// The first thing that was found wrong so far. It costs nothing to ask after each step.
    pub fn violation(&self) -> Option<&Violation> {
        self.desk.found()
    }

    /// What clients did and heard so far.
    pub const fn tally(&self) -> &Tally {
        &self.desk.tally
    }

    /// What clients saw, as far as it is remembered.
    pub const fn history(&self) -> &History {
        &self.desk.history
    }

    /// Judges everything that was seen.
    ///
    /// # Errors
    /// The first thing that was found wrong during the run, or else the first register or scan that no order explains.
    pub fn check(&self) -> Result<Report, Violation> {
        if let Some(violation) = self.desk.found() {
            return Err(violation.clone());
        }
        let history = &self.desk.history;
        let mut report = Report {
            tally: self.desk.tally,
            calls: self.desk.calls(),
            snapshots: history.snapshots().len(),
            ..Report::default()
        };
        for (_, register) in history.live() {
            let verdict = verdict::check_register(register)?;
            report.tally.undecided_registers += u64::from(verdict == Verdict::Undecided);
            report.operations += register.operations.len();
            report.registers += 1;
        }
        verdict::check_snapshots(history)?;
        Ok(report)
    }

    /// Sends those off who have nothing to do.
    fn rouse(&mut self, now: Instant, wires: &mut dyn Wires) {
        for client in self.clients.iter_mut().filter(|client| client.is_idle()) {
            client.rest(&mut Scene { now, desk: &mut self.desk, wires: &mut *wires });
        }
    }
}
