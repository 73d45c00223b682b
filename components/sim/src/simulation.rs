//! The cluster and its clock: takes the next event, lets it happen, and lets the checkers look.

use std::collections::BTreeSet;
use std::time::Duration;

use coordinator::home_region;
use engine::memory::MemDisk;
use runtime::clock::Clock;
use types::{Instant, RegionId, StoreId};

use crate::call::{Call, CallId, ClientId, Reply, Wires};
use crate::cell::{Cell, Outgoing};
use crate::chance::Dice;
use crate::check::{self, Watch};
use crate::clock::Timepiece;
use crate::coordinating::ToCoordinator;
use crate::faults::{Fault, Undo};
use crate::guests::{Guests, NoGuests};
use crate::moves::Moves;
use crate::node::{HOME, Node, Part, Process, Running, Turn, draw_cpu};
use crate::observation::{Event, Observation};
use crate::races::{Fallen, HeldSnapshot};
use crate::recorder::Recorder;
use crate::schedule::Schedule;
use crate::shape::Shape;
use crate::streams::StreamId;
use crate::wire::{Cargo, Fate, Network, Packet, Place};
use crate::workload::{self, Workload};

/// Something that will happen to one process of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    Tick,
    Upkeep,
    Raft(usize),
    Apply(usize),
    /// The log writer takes what waits.
    TakeRounds,
    /// And has written it.
    WriteRounds,
    /// A guest wants to go on.
    Guests,
    /// Led regions and the store are reported.
    Report,
    StoreReport,
    /// The store looks whether a region is to be split.
    SplitCheck,
    /// The step of joining with this number has had no answer.
    JoinTimeout(u64),
    /// A Hello has had no answer.
    ConnectTimeout {
        to: usize,
        attempt: u64,
    },
    /// The pause after a lost connection is over.
    Reconnect {
        to: usize,
    },
    /// A cut connection is noticed.
    Break {
        to: usize,
    },
    /// The lifecycle's queue, and what it waits for.
    Lifecycle,
    /// The snapshots that are built and looked through.
    Snapshots,
    /// A snapshot is offered on a new stream.
    OpenStream {
        shipment: u64,
    },
    /// Its next chunk leaves.
    StepShipment {
        shipment: u64,
    },
    /// Is anybody there?
    StreamSilence {
        shipment: u64,
    },
    /// What waits of a stream is taken.
    Unload {
        from: usize,
        stream: StreamId,
    },
    /// Does it go on?
    IntakeSilence {
        from: usize,
        stream: StreamId,
    },
}

/// Something that will happen.
pub(crate) enum Happening {
    Node {
        node: usize,
        life: u64,
        due: Due,
    },
    Arrive(Box<Packet>),
    /// The operator starts a node.
    Start(usize),
    Fault,
    /// Somebody moves something.
    Move,
    /// What another fault has led to.
    Inflict(Fault),
    Undo(Undo),
    WakeClient(ClientId),
    /// How far are a region and the snapshot that waits for its children?
    LookAtHeld(Box<HeldSnapshot>),
    /// What has become of the peer of a machine that is off?
    LookAtFallen(Fallen),
}

/// A run that went wrong: what must not be was.
pub(crate) type Wrong = String;

pub(crate) struct Simulation {
    pub(crate) now: Instant,
    pub(crate) schedule: Schedule<Happening>,
    pub(crate) shape: Shape,
    /// The stores in the order of their ids, then the coordinator.
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) recorder: Recorder,
    /// Clients; none where guests do what is to be done.
    pub(crate) workload: Option<Workload>,
    /// What was said of the workload at the end.
    pub(crate) judged: Option<workload::Report>,
    /// What lives in the stores' processes beside the stores.
    pub(crate) guests: Box<dyn Guests>,
    pub(crate) dice: Dice,
    pub(crate) faults: crate::faults::Faults,
    pub(crate) moves: Moves,
    /// The store that was told to leave, and may be told to stay.
    pub(crate) draining: Option<StoreId>,
    /// Whether a store is away whose peer is being removed meanwhile.
    pub(crate) is_someone_absent: bool,
    /// Snapshots that wait for the children of their regions, by the stores that they are for.
    pub(crate) held: BTreeSet<(RegionId, StoreId)>,
    pub(crate) steps: u64,
    /// Pairs of nodes that know each other's lives.
    pub(crate) met: BTreeSet<(usize, usize)>,
    pub(crate) stores_watch: Watch,
    home_watch: Watch,
    seen: Vec<Observation>,
    wishes: Wishes,
    pub(crate) probe_replies: Vec<(CallId, Reply)>,
}

/// What clients want done; done when they have had their say.
#[derive(Default)]
pub(crate) struct Wishes {
    calls: Vec<(CallId, Call)>,
    wakes: Vec<(ClientId, Instant)>,
}

impl Wires for Wishes {
    fn call(&mut self, id: CallId, call: Call) {
        self.calls.push((id, call));
    }

    fn wake_at(&mut self, client: ClientId, at: Instant) {
        self.wakes.push((client, at));
    }
}

/// Calls from here on are the simulation's own probes, and not the clients'.
pub(crate) const FIRST_PROBE: u64 = 1 << 60;

const TICKS: crate::trace::Kind = crate::trace::Kind { name: "tick", numbers: "" };

impl Simulation {
    /// A cluster in which nothing runs yet.
    pub(crate) fn new(
        seed: u64,
        shape: Shape,
        faults: crate::faults::Faults,
        workload: Option<Workload>,
        guests: Box<dyn Guests>,
        aloud: bool,
    ) -> Self {
        let recorder = Recorder::new(aloud);
        let stores = (1..=shape.machines as u64).map(|id| (Part::Store, StoreId(id)));
        let nodes = stores.chain([(Part::Coordinator, HOME)]).enumerate().map(|(at, (part, store))| {
            let number = at as u64 + 1;
            let mut dice = Dice::fork(seed, "node", number);
            let origin = Instant(dice.within(1, 1_000_000_000_000));
            let cell = Cell::new(number, store, recorder.clone(), Dice::fork(seed, "disk", number));
            Node {
                part,
                store,
                cell,
                disk: MemDisk::new(shape.disk),
                time: Timepiece::new(origin),
                process: Process::Down,
                paused_until: Instant::ORIGIN,
                apply_rests_until: Instant::ORIGIN,
                loss: None,
                is_in_service: part == Part::Coordinator || at < shape.stores,
                has_left: false,
                is_away: false,
                is_starting: false,
                intent: None,
                birth_regions: Vec::new(),
                dice,
            }
        });
        let nodes: Vec<Node> = nodes.collect();
        let checkers = || check::all(&check::Config { store: shape.store.clone() });
        Self {
            now: Instant::ORIGIN,
            schedule: Schedule::default(),
            network: Network::new(nodes.len() + 1, Dice::fork(seed, "network", 0)),
            nodes,
            recorder,
            workload,
            judged: None,
            guests,
            dice: Dice::fork(seed, "schedule", 0),
            faults,
            moves: Moves::none(),
            draining: None,
            is_someone_absent: false,
            held: BTreeSet::new(),
            steps: 0,
            met: BTreeSet::new(),
            stores_watch: Watch::new(checkers()),
            home_watch: Watch::new(checkers()),
            seen: Vec::new(),
            wishes: Wishes::default(),
            probe_replies: Vec::new(),
            shape,
        }
    }

    /// The node that is the coordinator.
    pub(crate) fn home(&self) -> usize {
        self.shape.machines
    }

    /// Where all clients are.
    pub(crate) fn clients_place(&self) -> Place {
        Place(self.nodes.len())
    }

    pub(crate) fn plan(&mut self, after: Duration, what: Happening) {
        self.schedule.plan(self.now + after, what);
    }

    pub(crate) fn plan_due(&mut self, after: Duration, node: usize, life: u64, due: Due) {
        self.plan(after, Happening::Node { node, life, due });
    }

    /// Plans something that a node's own clock brings about.
    pub(crate) fn plan_by_own_clock(&mut self, after: Duration, node: usize, life: u64, due: Due) {
        let after = self.nodes[node].time.stretch(after);
        self.plan_due(after, node, life, due);
    }

    /// Lets the next thing happen.
    ///
    /// # Errors
    /// When something happened that must not.
    pub(crate) fn step(&mut self) -> Result<(), Wrong> {
        let Some((at, what)) = self.schedule.next() else {
            return Err("nothing is left to happen: the simulation stands still".to_owned());
        };
        self.now = at;
        self.recorder.set_now(at);
        self.steps += 1;
        match what {
            Happening::Node { node, life, due } => self.node_due(node, life, due, at)?,
            Happening::Arrive(packet) => self.arrive(*packet)?,
            Happening::Start(node) => self.start(node)?,
            Happening::Fault => self.strike()?,
            Happening::Move => self.move_on()?,
            Happening::Inflict(fault) if !self.faults.are_over => self.inflict(fault)?,
            Happening::Inflict(_) => {}
            Happening::Undo(undo) => self.undo(undo)?,
            Happening::LookAtHeld(held) => self.look_at_held(*held)?,
            Happening::LookAtFallen(fallen) => self.look_at_fallen(fallen),
            Happening::WakeClient(client) => {
                self.ask_clients(|workload, now, wishes| workload.on_wake(now, client, wishes));
            }
        }
        self.look()
    }

    /// Lets the checkers look at what happened.
    pub(crate) fn look(&mut self) -> Result<(), Wrong> {
        self.recorder.take(&mut self.seen);
        for observation in self.seen.drain(..) {
            let watch = if observation.store == HOME { &mut self.home_watch } else { &mut self.stores_watch };
            watch.observe(&observation).map_err(|violation| violation.to_string())?;
        }
        let violation = self.workload.as_ref().and_then(Workload::violation);
        violation.map_or(Ok(()), |violation| Err(violation.to_string()))
    }

    /// Lets the checkers judge the whole.
    pub(crate) fn finish(&mut self) -> Result<(), Wrong> {
        // What is still in queues and caches counts as of now.
        (0..self.nodes.len()).try_for_each(|at| self.upkeep(at))?;
        self.look()?;
        self.stores_watch.finish().map_err(|violation| violation.to_string())?;
        self.home_watch.finish().map_err(|violation| violation.to_string())?;
        let judged = self.workload.as_ref().map(Workload::check).transpose();
        self.judged = judged.map_err(|violation| violation.to_string())?;
        Ok(())
    }

    fn node_due(&mut self, at: usize, life: u64, due: Due, now: Instant) -> Result<(), Wrong> {
        let node = &self.nodes[at];
        if node.life().is_none_or(|current| current.number != life) {
            return Ok(());
        }
        if node.is_paused(now) {
            self.schedule.plan(node.paused_until, Happening::Node { node: at, life, due });
            return Ok(());
        }
        match due {
            Due::Tick => {
                self.recorder.note(at as u64 + 1, TICKS, &[]);
                self.plan_by_own_clock(self.shape.store.tick, at, life, due);
                self.run(at, true, |running, _| {
                    running.stepper.tick();
                    running.life.observe(|| Event::Ticked);
                })
            }
            Due::Upkeep => {
                self.plan_by_own_clock(self.shape.store.upkeep_interval, at, life, due);
                self.upkeep(at)
            }
            Due::Raft(poller) => self.raft_round(at, poller),
            Due::Apply(poller) => self.apply_round(at, poller),
            Due::TakeRounds => self.take_rounds(at, life),
            Due::WriteRounds => self.run(at, false, |running, _| {
                running.stepper.write_rounds();
                running.writer.is_planned = false;
            }),
            Due::Guests => self.run(at, true, |running, _| running.guests_at = None),
            Due::Report => self.report_all(at, life),
            Due::StoreReport => self.report_store(at, life),
            Due::SplitCheck => self.check_splits(at, life),
            Due::JoinTimeout(attempt) => self.join_timeout(at, attempt),
            Due::ConnectTimeout { to, attempt } => {
                let connecting =
                    self.nodes[at].running_mut().is_some_and(|running| running.session(to).is_connecting(attempt));
                if connecting { self.lose_connection(at, to) } else { Ok(()) }
            }
            Due::Reconnect { to } => {
                if let Some(running) = self.nodes[at].running_mut() {
                    running.session(to).retry();
                    self.push_session(at, to, Duration::ZERO);
                }
                Ok(())
            }
            Due::Break { to } => {
                if let Some(running) = self.nodes[at].running_mut() {
                    running.session(to).break_planned = false;
                }
                self.lose_connection(at, to)
            }
            Due::Lifecycle => self.lifecycle_step(at),
            Due::Snapshots => self.snapshots_step(at),
            Due::OpenStream { shipment } => self.open_stream(at, life, shipment),
            Due::StepShipment { shipment } => self.step_shipment(at, life, shipment),
            Due::StreamSilence { shipment } => self.check_silence(at, life, shipment),
            Due::Unload { from, stream } => self.unload(from, at, stream),
            Due::IntakeSilence { from, stream } => self.check_intake(from, at, stream),
        }
    }

    /// A node's own time now.
    pub(crate) fn local_now(&mut self, at: usize) -> Instant {
        let node = &self.nodes[at];
        node.show(self.now);
        node.cell.now()
    }

    /// Lets a running process do something, and takes up what it gave away, how long it took and how it ended.
    pub(crate) fn run(
        &mut self,
        at: usize,
        sync_takes_time: bool,
        work: impl FnOnce(&mut Running, &mut Dice),
    ) -> Result<(), Wrong> {
        let now = self.now;
        let node = &mut self.nodes[at];
        let Process::Running(running) = &mut node.process else { return Ok(()) };
        node.cell.clock.show(node.time.local(now));
        node.cell.wall_clock.show(node.time.unix_ms(now));
        node.cell.begin_event(draw_cpu(&mut self.dice), sync_takes_time);
        work(running, &mut self.dice);
        let wakes = self.run_guests(at);
        self.take_up(at)?;
        if let Some((after, life)) = wakes {
            self.plan_by_own_clock(after, at, life, Due::Guests);
        }
        Ok(())
    }

    /// From now on guests may propose, before anything has happened.
    pub(crate) fn admit_guests(&mut self) {
        self.stores_watch = Watch::new(check::of_guests(&check::Config { store: self.shape.store.clone() }));
    }

    /// Ends all guests.
    pub(crate) fn dismiss_guests(&mut self) {
        for node in self.nodes.iter().filter(|node| node.part == Part::Store) {
            self.guests.moved_out(node.store);
        }
        self.guests = Box::new(NoGuests);
    }

    /// Lets a store's guests go on, and tells when they have to be woken, if that is news.
    fn run_guests(&mut self, at: usize) -> Option<(Duration, u64)> {
        let node = &mut self.nodes[at];
        let Process::Running(running) = &mut node.process else { return None };
        if node.part != Part::Store || !running.life.is_alive() {
            return None;
        }
        let next = self.guests.run(node.store)?;
        if running.guests_at.is_some_and(|planned| planned <= next) {
            return None;
        }
        running.guests_at = Some(next);
        Some((next.since(node.cell.clock.now()), running.life.number))
    }

    /// Takes up what a process gave away, and whether it is still there.
    pub(crate) fn take_up(&mut self, at: usize) -> Result<(), Wrong> {
        let (outgoing, _) = self.nodes[at].cell.end_event();
        self.take_up_end(at)?;
        for (after, what) in outgoing {
            match what {
                Outgoing::Frame(to, messages) => self.send_frame(at, to, messages, after),
                Outgoing::Reply(id, reply) => {
                    let (to, reply) = (self.clients_place(), Box::new(reply));
                    self.send(after, Packet { from: Place(at), to, cargo: Cargo::Reply { id, reply } });
                }
                Outgoing::ToStore(store, answer) => {
                    let to = Place(store.0 as usize - 1);
                    self.send(after, Packet { from: Place(at), to, cargo: Cargo::FromCoordinator(answer) });
                }
                Outgoing::Errand(store, errand) => {
                    // One for a store that does not exist is lost like any other.
                    if let Some(to) = self.nodes.iter().position(|node| node.part == Part::Store && node.store == store)
                    {
                        let (from, to) = (Place(at), Place(to));
                        self.send(after, Packet { from, to, cargo: Cargo::Errand(errand) });
                    }
                }
                Outgoing::Word(store, word) => {
                    let (to, cargo) = (Place(store.0 as usize - 1), Cargo::Word(Box::new(word)));
                    self.send(after, Packet { from: Place(at), to, cargo });
                }
                Outgoing::Status(status) => self.report_status(at, &status),
                Outgoing::Shipment(shipment) => self.ship(at, *shipment, after),
                Outgoing::WantIds(wanted) => self.want_ids(at, *wanted, after),
                Outgoing::LeaderMissing(region) => {
                    let store = self.nodes[at].store;
                    self.ask_coordinator(at, ToCoordinator::WhoAreMembers { store, region });
                }
            }
        }
        self.report_changed(at);
        self.wake_pollers(at);
        Ok(())
    }

    /// Plans rounds for the pollers that have work.
    pub(crate) fn wake_pollers(&mut self, at: usize) {
        let now = self.now;
        let apply_from = self.nodes[at].apply_rests_until;
        let Process::Running(running) = &mut self.nodes[at].process else { return };
        let mut planned: Vec<(Instant, Due)> = Vec::new();
        let mut wake = |turn: &mut Turn, due: Due, dice: &mut Dice| {
            if !turn.is_planned {
                turn.is_planned = true;
                planned.push((turn.free_at.max(now + dice.micros(1, 20)), due));
            }
        };
        if running.stepper.has_raft_work() {
            for (poller, turn) in running.raft.iter_mut().enumerate() {
                wake(turn, Due::Raft(poller), &mut self.dice);
            }
        }
        if running.stepper.has_apply_work() {
            for (poller, turn) in running.apply.iter_mut().enumerate() {
                turn.free_at = turn.free_at.max(apply_from);
                wake(turn, Due::Apply(poller), &mut self.dice);
            }
        }
        if running.stepper.has_log_work() {
            wake(&mut running.writer, Due::TakeRounds, &mut self.dice);
        }
        if running.stepper.has_lifecycle_work() {
            wake(&mut running.lifecycle, Due::Lifecycle, &mut self.dice);
        }
        if running.stepper.has_snapshot_work() {
            wake(&mut running.snapshots, Due::Snapshots, &mut self.dice);
        }
        let life = running.life.number;
        for (when, due) in planned {
            self.schedule.plan(when, Happening::Node { node: at, life, due });
        }
    }

    /// Sends a packet some time after now.
    pub(crate) fn send(&mut self, after: Duration, packet: Packet) {
        let (from, to) = (packet.from, packet.to);
        match self.network.send(self.now + after, packet) {
            Fate::Arrives(arrivals) => {
                for (when, packet) in arrivals {
                    self.schedule.plan(when, Happening::Arrive(Box::new(packet)));
                }
            }
            Fate::Held | Fate::Lost { cut: false } => {}
            Fate::Lost { cut: true } => self.notice_cut(from, to),
        }
    }

    /// Lets the clients do something, sends what they want sent, and wakes them when they want it.
    pub(crate) fn ask_clients(&mut self, work: impl FnOnce(&mut Workload, Instant, &mut Wishes)) {
        let Some(workload) = &mut self.workload else { return };
        let mut wishes = std::mem::take(&mut self.wishes);
        work(workload, self.now, &mut wishes);
        for (id, call) in wishes.calls.drain(..) {
            self.send_call(id, call);
        }
        for (client, at) in wishes.wakes.drain(..) {
            self.schedule.plan(at.max(self.now), Happening::WakeClient(client));
        }
        self.wishes = wishes;
    }

    pub(crate) fn send_call(&mut self, id: CallId, call: Call) {
        let to = match &call {
            Call::Region { to, .. } => Place(to.0 as usize - 1),
            _ => Place(self.home()),
        };
        let cargo = Cargo::Call { id, call: Box::new(call) };
        self.send(Duration::ZERO, Packet { from: self.clients_place(), to, cargo });
    }

    /// Hands a reply to whoever asked.
    pub(crate) fn answer_client(&mut self, id: CallId, reply: Reply) {
        if id.0 >= FIRST_PROBE {
            self.probe_replies.push((id, reply));
        } else {
            self.ask_clients(|workload, now, wishes| workload.on_reply(now, id, reply, wishes));
        }
    }

    /// Makes a fault happen when its time has come, and plans the next.
    fn strike(&mut self) -> Result<(), Wrong> {
        let Some((fault, next)) = self.faults.next(self.shape.machines) else { return Ok(()) };
        self.plan(next, Happening::Fault);
        self.inflict(fault)
    }

    pub(crate) fn home_regions() -> [types::RegionDescriptor; 1] {
        [home_region(HOME)]
    }

    fn inflict(&mut self, fault: Fault) -> Result<(), Wrong> {
        self.recorder.tell(0, "fault", format!("{fault:?}"));
        self.carry_out(fault)
    }
}
