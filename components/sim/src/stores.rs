//! How nodes start, join, work and end.

use std::sync::Arc;
use std::time::Duration;

use coordinator::{CoordinatorError, LayoutAnswer, StoreStats};
use engine::StoreIdent;
use observe::metrics::store::Queue;
use region::{RegionStatus, Role};
use store::{SplitConfig, StoreError};
use types::RegionDescriptor;

use crate::cell::{crash_disk, is_disk_trouble};
use crate::coordinating::{FromCoordinator, JoinAnswer, ToCoordinator};
use crate::engines;
use crate::guests::Host;
use crate::node::{JoinStep, Joining, Loss, Part, Process};
use crate::observation::{DiskContent, Event};
use crate::orders::{self, Word};
use crate::shape::CLUSTER;
use crate::simulation::{Due, Happening, Simulation, Wrong};
use crate::wire::{Cargo, Packet, Place};

/// How long a store waits for the coordinator's answer before it asks again.
const JOIN_TIMEOUT: Duration = Duration::from_millis(800);

/// How often every led region is reported, changed or not.
const REGION_INTERVAL: Duration = Duration::from_secs(4);

/// How often a store is reported.
const STORE_INTERVAL: Duration = Duration::from_secs(10);

impl Simulation {
    /// The operator starts a node some time after now.
    pub(crate) fn plan_start(&mut self, after: Duration, at: usize) {
        if !std::mem::replace(&mut self.nodes[at].is_starting, true) {
            self.plan(after, Happening::Start(at));
        }
    }

    /// Starts a node's process.
    pub(crate) fn start(&mut self, at: usize) -> Result<(), Wrong> {
        let now = self.now;
        let node = &mut self.nodes[at];
        node.is_starting = false;
        let is_lost = matches!(node.loss, Some(Loss::Damaged | Loss::Scrapped));
        if !node.is_down() || is_lost || node.is_away || !node.is_in_service {
            return Ok(());
        }
        node.show(now);
        let life = node.cell.begin_life();
        self.recorder.tell(at as u64 + 1, "start", format!("life {}", life.number));
        node.cell.begin_event(Duration::ZERO, true);
        let opened = engines::open(&node.disk, &life).and_then(|engines| {
            let content = Arc::new(DiskContent::of(&node.disk));
            life.observe(|| Event::Opened { content });
            let ident = engines.log.ident()?;
            Ok((engines, ident))
        });
        match opened {
            Err(error) => self.refused(at, &error.into()),
            Ok((engines, ident)) => {
                let bootstrapped = ident.is_some();
                let ident = ident.or(self.nodes[at].intent);
                let ident = ident.unwrap_or_else(|| self.intend(at));
                let joining = Joining { life, engines, ident, step: JoinStep::Register, attempt: 0, bootstrapped };
                self.nodes[at].process = Process::Joining(Box::new(joining));
                self.begin(at)
            }
        }
    }

    /// Who a fresh node will be, written down.
    fn intend(&mut self, at: usize) -> StoreIdent {
        let instance = self.nodes[at].draw_instance();
        let ident = StoreIdent { cluster: CLUSTER, store: self.nodes[at].store, instance };
        self.nodes[at].intent = Some(ident);
        ident
    }

    fn begin(&mut self, at: usize) -> Result<(), Wrong> {
        match (self.nodes[at].part, self.nodes[at].loss) {
            (Part::Store, None) => {
                self.ask(at);
                Ok(())
            }
            // Whoever empties a disk and tells the store that this is its first start does not ask anybody.
            (Part::Store, Some(_)) => {
                let regions = self.nodes[at].birth_regions.clone();
                self.bootstrap_and_open(at, &regions)
            }
            (Part::Coordinator, _) => self.bootstrap_and_open(at, &Self::home_regions()),
        }
    }

    /// Asks the coordinator what comes next.
    fn ask(&mut self, at: usize) {
        let Process::Joining(joining) = &mut self.nodes[at].process else { return };
        joining.attempt += 1;
        let (store, instance, attempt) = (joining.ident.store, joining.ident.instance, joining.attempt);
        let what = match joining.step {
            JoinStep::Register => ToCoordinator::Register { store, attempt },
            JoinStep::Layout => ToCoordinator::Layout { store, instance, attempt },
            JoinStep::Confirm => ToCoordinator::Confirm { store, instance, attempt },
        };
        let life = joining.life.number;
        self.tell_coordinator(at, life, Duration::ZERO, what);
        self.plan_by_own_clock(JOIN_TIMEOUT, at, life, Due::JoinTimeout(attempt));
    }

    pub(crate) fn tell_coordinator(&mut self, at: usize, life: u64, after: Duration, what: ToCoordinator) {
        let cargo = Cargo::ToCoordinator { life, what: Box::new(what) };
        self.send(after, Packet { from: Place(at), to: Place(self.home()), cargo });
    }

    pub(crate) fn join_timeout(&mut self, at: usize, attempt: u64) -> Result<(), Wrong> {
        if let Process::Joining(joining) = &self.nodes[at].process
            && joining.attempt == attempt
        {
            self.ask(at);
        }
        Ok(())
    }

    /// The coordinator answered a store that starts.
    pub(crate) fn joined(&mut self, at: usize, answer: FromCoordinator) -> Result<(), Wrong> {
        let Process::Joining(joining) = &mut self.nodes[at].process else { return Ok(()) };
        if joining.life.number != answer.life || joining.attempt != answer.attempt {
            return Ok(());
        }
        match answer.what {
            Err(CoordinatorError::StoreTombstone { .. }) => {
                // It has left for good: whoever runs it turns it off.
                self.nodes[at].has_left = true;
                self.kill(at, false);
                self.nodes[at].loss = Some(Loss::Scrapped);
                Ok(())
            }
            // It asks again when the time is over.
            Err(_) | Ok(JoinAnswer::Layout(LayoutAnswer::Waiting { .. })) => Ok(()),
            Ok(JoinAnswer::Registered) if !joining.bootstrapped => self.next_step(at, JoinStep::Layout),
            Ok(JoinAnswer::Registered) if self.nodes[at].intent.is_some() => self.next_step(at, JoinStep::Confirm),
            Ok(JoinAnswer::Registered) => self.bootstrap_and_open(at, &[]),
            Ok(JoinAnswer::Layout(LayoutAnswer::Ready { regions })) => self.bootstrap(at, &regions),
            Ok(JoinAnswer::Confirmed) => {
                self.nodes[at].intent = None;
                self.bootstrap_and_open(at, &[])
            }
        }
    }

    fn next_step(&mut self, at: usize, step: JoinStep) -> Result<(), Wrong> {
        if let Process::Joining(joining) = &mut self.nodes[at].process {
            joining.step = step;
            self.ask(at);
        }
        Ok(())
    }

    /// Gives a fresh store its regions; the coordinator is told before the store serves.
    fn bootstrap(&mut self, at: usize, regions: &[RegionDescriptor]) -> Result<(), Wrong> {
        let shaped: Vec<_> = regions.iter().map(|region| self.shape.shaped(region.clone())).collect();
        self.nodes[at].birth_regions.clone_from(&shaped);
        if self.write_bootstrap(at, &shaped)? { self.next_step(at, JoinStep::Confirm) } else { Ok(()) }
    }

    /// False when the process did not survive it.
    fn write_bootstrap(&mut self, at: usize, regions: &[RegionDescriptor]) -> Result<bool, Wrong> {
        let now = self.now;
        let node = &mut self.nodes[at];
        node.show(now);
        node.cell.begin_event(Duration::ZERO, true);
        let Process::Joining(joining) = &mut node.process else { return Ok(false) };
        if let Err(error) =
            store::bootstrap_planting(&joining.engines, joining.ident, regions, self.shape.store.planted)
        {
            self.refused(at, &error)?;
            return Ok(false);
        }
        joining.bootstrapped = true;
        let ident = joining.ident;
        joining.life.observe(|| Event::Bootstrapped { ident });
        self.take_up(at)?;
        Ok(matches!(self.nodes[at].process, Process::Joining(_)))
    }

    /// Opens a store that has what it needs; makes it first where nobody is to be asked.
    fn bootstrap_and_open(&mut self, at: usize, regions: &[RegionDescriptor]) -> Result<(), Wrong> {
        let Process::Joining(joining) = &self.nodes[at].process else { return Ok(()) };
        if !joining.bootstrapped && !self.write_bootstrap(at, regions)? {
            return Ok(());
        }
        let coordinator = (self.nodes[at].part == Part::Coordinator).then(|| self.shape.coordinator_config());
        let (now, config) = (self.now, self.shape.store.clone());
        let node = &mut self.nodes[at];
        node.show(now);
        node.cell.begin_event(Duration::ZERO, true);
        let Process::Joining(joining) = std::mem::replace(&mut node.process, Process::Down) else { return Ok(()) };
        let Joining { life, engines, ident, .. } = *joining;
        match node.open(engines, &life, ident, config, coordinator) {
            Err(error) => self.refused(at, &error),
            Ok(running) => {
                if node.part == Part::Store {
                    self.guests.moved_in(Host::of(&running));
                }
                node.process = Process::Running(Box::new(running));
                self.take_up(at)?;
                self.begin_work(at);
                Ok(())
            }
        }
    }

    /// Starts a process's own clocks.
    fn begin_work(&mut self, at: usize) {
        let Some(running) = self.nodes[at].running() else { return };
        let life = running.life.number;
        let (tick, upkeep) = (self.shape.store.tick, self.shape.store.upkeep_interval);
        let mut first = |interval: Duration| self.dice.micros(0, interval.as_micros() as u64);
        let (tick, upkeep) = (first(tick), first(upkeep));
        self.plan_by_own_clock(tick, at, life, Due::Tick);
        self.plan_by_own_clock(upkeep, at, life, Due::Upkeep);
        if self.nodes[at].part == Part::Store {
            self.plan_by_own_clock(Duration::ZERO, at, life, Due::StoreReport);
            self.plan_by_own_clock(REGION_INTERVAL, at, life, Due::Report);
            if self.shape.store.split != SplitConfig::default().never() {
                self.plan_by_own_clock(self.shape.store.split.check_interval, at, life, Due::SplitCheck);
            }
        }
    }

    /// A store would not open.
    fn refused(&mut self, at: usize, error: &StoreError) -> Result<(), Wrong> {
        let node = &mut self.nodes[at];
        if node.cell.take_crash().is_some() {
            self.ended(at);
            return Ok(());
        }
        let damaged = node.loss == Some(Loss::Damaged);
        let troubled = node.cell.has_faults() && is_disk_trouble(error);
        let expected = damaged || troubled;
        let words = error.to_string();
        self.recorder.tell(at as u64 + 1, "refused", words.clone());
        let (store, event) = (node.store, Event::RefusedToOpen { error: words.clone(), expected });
        self.recorder.observe(store, event);
        if !expected {
            self.look()?;
            return Err(format!("store {store} refuses to open: {words}"));
        }
        if damaged {
            node.cell.end_life();
            node.process = Process::Down;
        } else {
            self.kill(at, false);
        }
        Ok(())
    }

    /// Whether a process is still there after what it did.
    pub(crate) fn take_up_end(&mut self, at: usize) -> Result<(), Wrong> {
        let node = &mut self.nodes[at];
        let failed = node.cell.take_failure();
        if node.cell.take_crash().is_some() {
            self.ended(at);
        } else if let Some(failed) = failed {
            if !failed.is_explained {
                let store = node.store;
                self.look()?;
                return Err(format!("store {store} failed: {}", failed.error));
            }
            self.kill(at, false);
        }
        Ok(())
    }

    /// Ends a process without warning.
    pub(crate) fn kill(&mut self, at: usize, machine: bool) {
        let node = &mut self.nodes[at];
        if node.is_down() {
            return;
        }
        let point = crash_disk(&node.disk, machine, &mut node.dice);
        self.recorder.tell(at as u64 + 1, "crash", format!("{point:?}"));
        self.recorder.observe(self.nodes[at].store, Event::Crashed { disk: Some(point) });
        self.ended(at);
    }

    fn move_out(&mut self, at: usize) {
        if self.nodes[at].part == Part::Store {
            self.guests.moved_out(self.nodes[at].store);
        }
    }

    /// A process is gone and its disk has fallen back: clears up, and lets the operator start it again.
    fn ended(&mut self, at: usize) {
        self.move_out(at);
        let node = &mut self.nodes[at];
        node.cell.end_life();
        node.process = Process::Down;
        let after = node.dice.millis(5, 3000);
        self.plan_start(after, at);
    }

    /// Stops a process in order.
    pub(crate) fn stop(&mut self, at: usize) -> Result<(), Wrong> {
        let now = self.now;
        let node = &mut self.nodes[at];
        if node.running().is_none() || node.is_paused(now) {
            return Ok(());
        }
        let Process::Running(running) = std::mem::replace(&mut node.process, Process::Down) else { return Ok(()) };
        // Nobody in the process may hold its store while it stops.
        self.move_out(at);
        let node = &mut self.nodes[at];
        node.show(now);
        node.cell.begin_event(Duration::ZERO, true);
        let stopped = running.stepper.stop();
        drop(running.coordinator);
        let (store, crashed) = (node.store, node.cell.take_crash().is_some());
        if crashed {
            self.ended(at);
            return Ok(());
        }
        let failed = node.cell.take_failure();
        let explained =
            failed.as_ref().is_none_or(|failed| failed.is_explained) && (stopped.is_ok() || node.cell.has_faults());
        if !explained {
            self.look()?;
            return Err(format!("store {store} failed while it stopped: {failed:?} {stopped:?}"));
        }
        if stopped.is_err() || failed.is_some() {
            let point = crash_disk(&node.disk, false, &mut node.dice);
            self.recorder.observe(store, Event::Crashed { disk: Some(point) });
        } else {
            self.recorder.observe(store, Event::Stopped);
        }
        self.recorder.tell(at as u64 + 1, "stopped", format!("{stopped:?}"));
        self.ended(at);
        Ok(())
    }

    pub(crate) fn raft_round(&mut self, at: usize, poller: usize) -> Result<(), Wrong> {
        let (shuffles, now) = (self.shape.shuffles, self.now);
        self.run(at, true, |running, dice| {
            running.stepper.step_raft(poller, |length| pick(shuffles, dice, length));
            let turn = &mut running.raft[poller];
            turn.is_planned = false;
            turn.free_at = now + running.life.cell.passed();
        })
    }

    pub(crate) fn apply_round(&mut self, at: usize, poller: usize) -> Result<(), Wrong> {
        let (shuffles, now) = (self.shape.shuffles, self.now);
        self.run(at, true, |running, dice| {
            running.stepper.step_apply(poller, |length| pick(shuffles, dice, length));
            let turn = &mut running.apply[poller];
            turn.is_planned = false;
            turn.free_at = now + running.life.cell.passed();
        })
    }

    pub(crate) fn take_rounds(&mut self, at: usize, life: u64) -> Result<(), Wrong> {
        let mut took = false;
        self.run(at, true, |running, _| {
            took = running.stepper.take_rounds();
            running.writer.is_planned = took;
        })?;
        if took {
            let wait = self.nodes[at].cell.draw_sync();
            self.plan_due(wait, at, life, Due::WriteRounds);
        }
        Ok(())
    }

    pub(crate) fn upkeep(&mut self, at: usize) -> Result<(), Wrong> {
        self.run(at, true, |running, _| {
            running.stepper.run_upkeep();
            running.upkeeps += 1;
            let metrics = &running.metrics;
            let queued =
                metrics.queue_length[Queue::RaftMailbox].get() + metrics.queue_length[Queue::ApplyMailbox].get();
            let cached_bytes = metrics.entry_cache_bytes.get() as u64;
            running.life.observe(|| Event::Worked { queued: queued as usize, cached_bytes });
        })
    }

    pub(crate) fn lifecycle_step(&mut self, at: usize) -> Result<(), Wrong> {
        let now = self.now;
        self.run(at, true, |running, dice| {
            let stepped = running.stepper.step_lifecycle();
            running.lifecycle.is_planned = false;
            running.lifecycle.free_at = now + running.life.cell.passed() + pause(stepped, dice);
        })
    }

    pub(crate) fn snapshots_step(&mut self, at: usize) -> Result<(), Wrong> {
        let now = self.now;
        self.run(at, true, |running, dice| {
            let stepped = running.stepper.step_snapshots();
            running.snapshots.is_planned = false;
            running.snapshots.free_at = now + running.life.cell.passed() + pause(stepped, dice);
        })
    }

    /// Reports the regions that changed and are led here.
    pub(crate) fn report_changed(&mut self, at: usize) {
        let changed = self.nodes[at].cell.take_changed();
        if changed.is_empty() || self.nodes[at].part == Part::Coordinator {
            return;
        }
        let Some(running) = self.nodes[at].running() else { return };
        let handle = running.stepper.handle();
        for region in changed.into_iter().filter(|region| running.leads(*region)) {
            orders::look(&running.life, &handle, region);
        }
    }

    /// A leader told how its region is.
    pub(crate) fn report_status(&mut self, at: usize, status: &RegionStatus) {
        let now = self.local_now(at);
        let Some(running) = self.nodes[at].running_mut().filter(|running| running.coordinator.is_none()) else {
            return;
        };
        let report = running.silences.report(status, now);
        self.ask_coordinator(at, ToCoordinator::Region(report));
    }

    /// A store asks the coordinator for something, or tells it.
    pub(crate) fn ask_coordinator(&mut self, at: usize, what: ToCoordinator) {
        let Some(running) = self.nodes[at].running() else { return };
        self.tell_coordinator(at, running.life.number, Duration::ZERO, what);
    }

    /// The coordinator says something to a store.
    pub(crate) fn hear(&mut self, at: usize, word: Word) -> Result<(), Wrong> {
        let mut question = None;
        self.run(at, true, |running, _| question = orders::obey(running, word))?;
        if let Some(question) = question {
            self.ask_coordinator(at, question);
        }
        Ok(())
    }

    pub(crate) fn report_all(&mut self, at: usize, life: u64) -> Result<(), Wrong> {
        self.plan_by_own_clock(REGION_INTERVAL, at, life, Due::Report);
        self.run(at, true, |running, _| {
            let handle = running.stepper.handle();
            for view in handle.regions().iter().filter(|view| view.role == Role::Leader) {
                orders::look(&running.life, &handle, view.descriptor.id);
            }
        })
    }

    pub(crate) fn report_store(&mut self, at: usize, life: u64) -> Result<(), Wrong> {
        self.plan_by_own_clock(STORE_INTERVAL, at, life, Due::StoreReport);
        let Some(running) = self.nodes[at].running() else { return Ok(()) };
        // A store is empty when nothing of any peer is left on it, and not before.
        let (store, region_count) = (running.ident.store, running.stepper.handle().counts().peers as u32);
        let stats = StoreStats { store, region_count, ..StoreStats::default() };
        self.tell_coordinator(at, life, Duration::ZERO, ToCoordinator::Store(stats));
        Ok(())
    }
}

/// How long a worker that steps rests between two steps; longer when there was nothing that it could do.
fn pause(stepped: bool, dice: &mut crate::chance::Dice) -> Duration {
    if stepped { dice.micros(5, 1500) } else { dice.millis(2, 20) }
}

/// Whom a poller takes next: in order, or anyone, and now and then nobody more.
fn pick(shuffles: bool, dice: &mut crate::chance::Dice, length: usize) -> Option<usize> {
    match shuffles {
        false => Some(0),
        true if dice.one_in(20) => None,
        true => Some(dice.place(length)),
    }
}
