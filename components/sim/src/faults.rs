//! What goes wrong: faults drawn from the seed, and how they are inflicted and ended.

use std::time::Duration;

use engine::memory::{Fault as DiskFault, FaultPoint};
use types::{RegionId, Responder, StoreId};

use crate::chance::Dice;
use crate::node::Loss;
use crate::profile::{FaultKind, Profile};
use crate::simulation::{Happening, Simulation, Wrong};
use crate::wire::{Place, Weather};

/// Something that goes wrong. Nodes are given by their index, the coordinator's being the last.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A region's leader is asked to hand over; which one, and to whom, is taken from the number.
    MoveLeader {
        choice: u64,
    },
    /// Peers of a store begin anew while it runs: all of them, or the one that the number stands for.
    Rebuild {
        node: usize,
        all: bool,
        choice: u64,
    },
    StopInOrder {
        node: usize,
    },
    Weather {
        weather: Weather,
        lasts: Duration,
    },
    /// One direction, or both, between two places.
    Cut {
        left: usize,
        right: usize,
        both: bool,
        lasts: Duration,
    },
    /// A node from everyone, in one direction or both; or only from the stores, so that clients still reach it.
    CutOff {
        node: usize,
        from_all: bool,
        incoming: bool,
        outgoing: bool,
        lasts: Duration,
    },
    /// A store is asked to hand its leaders over, and hears nothing of other stores from then on: it goes on leading for a
    /// while beside its successors, and clients reach both.
    StrandLeaders {
        node: usize,
        choice: u64,
        lasts: Duration,
    },
    /// The places whose bits are set, from the others.
    Split {
        side: u64,
        lasts: Duration,
    },
    SlowWire {
        from: usize,
        to: usize,
        by: Duration,
        lasts: Duration,
    },
    Clog {
        from: usize,
        to: usize,
        lasts: Duration,
    },
    Kill {
        node: usize,
        machine: bool,
    },
    /// Every node whose bit is set.
    KillMany {
        nodes: u64,
        machine: bool,
    },
    /// In the middle of a call of an engine.
    KillInCall {
        node: usize,
        point: FaultPoint,
        nth: u64,
        machine: bool,
    },
    /// Now, and again while it recovers.
    KillInStart {
        node: usize,
        point: FaultPoint,
        nth: u64,
        machine: bool,
    },
    /// The process ends, and the next one is slow to replay.
    ReplaySlowly {
        node: usize,
        machine: bool,
        lasts: Duration,
    },
    Stall {
        node: usize,
        lasts: Duration,
    },
    /// Both engines stall, and every peer of the store begins anew meanwhile: much lies between what was begun and the news
    /// that it is done.
    RebuildStalled {
        node: usize,
        lasts: Duration,
    },
    /// The state engine makes a writer wait, and the store, which falls behind with applying, is to lead everything.
    LeadStalled {
        node: usize,
        lasts: Duration,
    },
    /// The state engine makes a writer wait.
    StallWrites {
        node: usize,
        lasts: Duration,
    },
    SlowDisk {
        node: usize,
        slowness: u64,
        lasts: Duration,
    },
    DiskError {
        node: usize,
        point: FaultPoint,
        nth: u64,
        full: bool,
    },
    FullDisk {
        node: usize,
        room: u64,
        lasts: Duration,
    },
    FlipBit {
        node: usize,
    },
    Wipe {
        node: usize,
    },
    Drift {
        node: usize,
        speed: u64,
        lasts: Duration,
    },
    Jump {
        node: usize,
        by: Duration,
    },
    WallJump {
        by_ms: i64,
    },
    Pause {
        node: usize,
        lasts: Duration,
    },
}

/// The end of a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Undo {
    Weather,
    Wire(Place, Place),
    Slow(Place, Place),
    Clog(Place, Place),
    SlowDisk(usize),
    FullDisk(usize),
    Clock(usize),
    /// A store comes back whose region was told to do without it.
    Absence(RegionId, StoreId),
    /// A store that was told to leave is told to stay.
    Drain(StoreId),
    /// A store that is away is lost for good now, if that is bearable.
    Lose(usize, Loss),
    /// A disk that nobody listens to is thrown away.
    Scrap(usize),
}

/// Draws faults.
pub(crate) struct Faults {
    dice: Dice,
    mixture: Vec<(FaultKind, u64)>,
    /// The usual time between two of them.
    interval: Duration,
    pub(crate) are_over: bool,
}

/// Engine calls in which a process can die.
const KILL_POINTS: [FaultPoint; 7] = [
    FaultPoint::LogWrite,
    FaultPoint::LogSync,
    FaultPoint::LogSync,
    FaultPoint::LogRead,
    FaultPoint::StateWrite,
    FaultPoint::StateFlush,
    FaultPoint::StateRead,
];

const ERROR_POINTS: [FaultPoint; 5] =
    [FaultPoint::LogWrite, FaultPoint::LogRead, FaultPoint::StateWrite, FaultPoint::StateFlush, FaultPoint::StateRead];

impl Faults {
    pub(crate) fn new(profile: Profile, mut dice: Dice) -> Self {
        let interval = dice.millis(200, 4000);
        Self { dice, mixture: profile.mixture(), interval, are_over: false }
    }

    /// The next fault, and when the one after it comes.
    pub(crate) fn next(&mut self, stores: usize) -> Option<(Fault, Duration)> {
        if self.are_over {
            return None;
        }
        let interval = self.interval.as_micros() as u64;
        let pause = self.dice.micros(interval / 4, interval * 2);
        Some((self.draw(stores), pause))
    }

    fn draw(&mut self, stores: usize) -> Fault {
        let total: u64 = self.mixture.iter().map(|(_, weight)| weight).sum();
        let mut at = self.dice.below(total);
        let mut kinds = self.mixture.iter();
        let kind = loop {
            let (kind, weight) = kinds.next().expect("the weights add up to the total");
            if at < *weight {
                break *kind;
            }
            at -= weight;
        };
        self.draw_one(kind, stores)
    }

    fn draw_one(&mut self, kind: FaultKind, stores: usize) -> Fault {
        let dice = &mut self.dice;
        // The coordinator is struck as often as one store, the clients' wires as well.
        let (store, node, place) = (dice.place(stores), dice.place(stores + 1), dice.place(stores + 2));
        let other = (place + 1 + dice.place(stores + 1)) % (stores + 2);
        let lasts = if dice.one_in(4) { dice.millis(2000, 15_000) } else { dice.millis(50, 3000) };
        let machine = dice.one_in(2);
        let nth = if dice.one_in(2) { dice.within(1, 4) } else { dice.within(1, 100) };
        match kind {
            FaultKind::MoveLeader => Fault::MoveLeader { choice: dice.number() },
            FaultKind::Rebuild => Fault::Rebuild { node, all: dice.one_in(2), choice: dice.number() },
            FaultKind::StopInOrder => Fault::StopInOrder { node },
            FaultKind::Weather => {
                let mut draw = |most: u64| if dice.one_in(2) { dice.within(1, most) } else { 0 };
                let weather = Weather {
                    loses: draw(200),
                    doubles: draw(200),
                    overtakes: draw(500),
                    strays: draw(100),
                    garbles: draw(150),
                };
                Fault::Weather { weather, lasts }
            }
            FaultKind::CutOneWay => Fault::Cut { left: place, right: other, both: dice.one_in(3), lasts },
            FaultKind::CutOff => {
                let which = dice.below(3);
                Fault::CutOff { node, from_all: dice.one_in(2), incoming: which != 0, outgoing: which != 1, lasts }
            }
            FaultKind::StrandLeaders => Fault::StrandLeaders { node: store, choice: dice.number(), lasts },
            FaultKind::Split => Fault::Split { side: dice.number(), lasts },
            FaultKind::SlowWire => Fault::SlowWire { from: place, to: other, by: dice.millis(1, 1500), lasts },
            FaultKind::Clog => Fault::Clog { from: place, to: other, lasts },
            FaultKind::KillProcess => Fault::Kill { node, machine: false },
            FaultKind::KillMachine => Fault::Kill { node, machine: true },
            FaultKind::KillMany => Fault::KillMany { nodes: dice.number(), machine },
            FaultKind::KillInCall => Fault::KillInCall { node, point: *dice.pick(&KILL_POINTS), nth, machine },
            FaultKind::KillInStart => {
                Fault::KillInStart { node, point: *dice.pick(&KILL_POINTS), nth: dice.within(1, 12), machine }
            }
            FaultKind::ReplaySlowly => Fault::ReplaySlowly { node, machine, lasts },
            FaultKind::Stall => Fault::Stall { node, lasts },
            FaultKind::RebuildStalled => Fault::RebuildStalled { node: store, lasts },
            FaultKind::LeadStalled => Fault::LeadStalled { node: store, lasts },
            FaultKind::StallWrites => Fault::StallWrites { node, lasts },
            FaultKind::SlowDisk => Fault::SlowDisk { node, slowness: dice.within(2, 100), lasts },
            FaultKind::IoError => {
                Fault::DiskError { node, point: *dice.pick(&ERROR_POINTS), nth, full: dice.one_in(5) }
            }
            FaultKind::SyncError => Fault::DiskError { node, point: FaultPoint::LogSync, nth, full: false },
            FaultKind::FullDisk => Fault::FullDisk { node, room: dice.below(8 << 10), lasts },
            FaultKind::FlipBit => Fault::FlipBit { node: store },
            FaultKind::Wipe => Fault::Wipe { node: store },
            // Up to two per cent; quartz is a thousand times better.
            FaultKind::Drift => Fault::Drift { node, speed: dice.within(980_000, 1_020_000), lasts },
            FaultKind::Jump => Fault::Jump { node, by: dice.millis(1, 20_000) },
            FaultKind::WallJump => Fault::WallJump { by_ms: dice.within(0, 7_200_000) as i64 - 3_600_000 },
            FaultKind::Pause => Fault::Pause { node, lasts },
        }
    }
}

impl Simulation {
    pub(crate) fn carry_out(&mut self, fault: Fault) -> Result<(), Wrong> {
        match fault {
            Fault::MoveLeader { choice } => self.move_leader(choice)?,
            Fault::Rebuild { node, all, choice } => self.rebuild(node, all, choice)?,
            Fault::StopInOrder { node } => self.stop(node)?,
            Fault::Weather { weather, lasts } => {
                self.network.weather = weather;
                self.plan(lasts, Happening::Undo(Undo::Weather));
            }
            Fault::Cut { left, right, both, lasts } => {
                self.cut(left, right, lasts);
                if both {
                    self.cut(right, left, lasts);
                }
            }
            Fault::CutOff { node, from_all, incoming, outgoing, lasts } => {
                let others = if from_all { self.nodes.len() + 1 } else { self.shape.machines };
                for other in (0..others).filter(|other| *other != node) {
                    if incoming {
                        self.cut(other, node, lasts);
                    }
                    if outgoing {
                        self.cut(node, other, lasts);
                    }
                }
            }
            Fault::StrandLeaders { node, choice, lasts } => {
                self.hand_over(node, |peers| peers.get(choice as usize % peers.len().max(1)).copied())?;
                let others = (0..self.shape.machines).filter(|other| *other != node);
                others.for_each(|other| self.cut(other, node, lasts));
            }
            Fault::Split { side, lasts } => {
                let places = 0..=self.nodes.len();
                let pairs = places.clone().flat_map(|left| places.clone().map(move |right| (left, right)));
                for (left, right) in pairs.filter(|(left, right)| side >> left & 1 != side >> right & 1) {
                    self.cut(left, right, lasts);
                }
            }
            Fault::SlowWire { from, to, by, lasts } => {
                let (from, to) = (Place(from), Place(to));
                self.network.slow(from, to, by);
                self.plan(lasts, Happening::Undo(Undo::Slow(from, to)));
            }
            Fault::Clog { from, to, lasts } => {
                let (from, to) = (Place(from), Place(to));
                self.network.clog(from, to);
                self.plan(lasts, Happening::Undo(Undo::Clog(from, to)));
            }
            Fault::Kill { node, machine } => self.kill(node, machine),
            Fault::KillMany { nodes, machine } => {
                for node in (0..self.nodes.len()).filter(|node| nodes >> node & 1 == 1) {
                    self.kill(node, machine);
                }
            }
            Fault::KillInCall { node, point, nth, machine } => self.kill_in_call(node, point, nth, machine),
            Fault::KillInStart { node, point, nth, machine } => {
                self.kill(node, machine);
                self.kill_in_call(node, point, nth, machine);
            }
            Fault::ReplaySlowly { node, machine, lasts } => {
                self.kill(node, machine);
                self.rest_apply(node, lasts);
            }
            Fault::Stall { node, lasts } => self.nodes[node].cell.set_pace(|pace| pace.stall = lasts),
            Fault::RebuildStalled { node, lasts } => {
                self.nodes[node].cell.set_pace(|pace| pace.write_stall = lasts);
                self.plan(lasts / 2, Happening::Inflict(Fault::Stall { node, lasts }));
                self.plan(lasts / 4 * 3, Happening::Inflict(Fault::Rebuild { node, all: true, choice: 0 }));
            }
            Fault::LeadStalled { node, lasts } => {
                let heir = self.nodes[node].store;
                self.nodes[node].cell.set_pace(|pace| pace.write_stall = lasts);
                for other in (0..self.shape.machines).filter(|other| *other != node) {
                    self.hand_over(other, |peers| peers.iter().copied().find(|store| *store == heir))?;
                }
            }
            Fault::StallWrites { node, lasts } => self.nodes[node].cell.set_pace(|pace| pace.write_stall = lasts),
            Fault::SlowDisk { node, slowness, lasts } => {
                self.nodes[node].cell.set_pace(|pace| pace.slowness = slowness);
                // What rewrites files in the background falls behind.
                self.nodes[node].disk.set_crowded(true);
                self.plan(lasts, Happening::Undo(Undo::SlowDisk(node)));
            }
            Fault::DiskError { node, point, nth, full } => {
                let node = &self.nodes[node];
                node.cell.expect_faults();
                node.disk.inject(point, nth, if full { DiskFault::DiskFull } else { DiskFault::Io });
            }
            Fault::FullDisk { node, room, lasts } => {
                let disk = &self.nodes[node].disk;
                disk.set_capacity(disk.used_bytes() + room);
                self.nodes[node].cell.expect_faults();
                self.plan(lasts, Happening::Undo(Undo::FullDisk(node)));
            }
            Fault::FlipBit { node } => self.begin_loss(node, Loss::Damaged),
            Fault::Wipe { node } => self.begin_loss(node, Loss::Wiped),
            Fault::Drift { node, speed, lasts } => {
                self.nodes[node].time.drift(self.now, speed);
                self.plan(lasts, Happening::Undo(Undo::Clock(node)));
            }
            Fault::Jump { node, by } => self.nodes[node].time.jump(self.now, by),
            Fault::WallJump { by_ms } => {
                let home = self.home();
                self.nodes[home].time.set_wall_offset(by_ms);
            }
            Fault::Pause { node, lasts } => {
                if !self.nodes[node].is_down() {
                    // What fell due during an earlier pause waits for the end of that one.
                    let paused_until = &mut self.nodes[node].paused_until;
                    *paused_until = (*paused_until).max(self.now + lasts);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn undo(&mut self, undo: Undo) -> Result<(), Wrong> {
        match undo {
            Undo::Weather => self.network.weather = Weather::default(),
            Undo::Wire(from, to) => self.network.cut(from, to, false),
            Undo::Slow(from, to) => self.network.slow(from, to, Duration::ZERO),
            Undo::Clog(from, to) => {
                for packet in self.network.unclog(from, to) {
                    self.schedule.plan(self.now, Happening::Arrive(Box::new(packet)));
                }
            }
            Undo::SlowDisk(node) => {
                self.nodes[node].cell.set_pace(|pace| pace.slowness = 1);
                self.nodes[node].disk.set_crowded(false);
            }
            Undo::FullDisk(node) => self.nodes[node].disk.set_capacity(u64::MAX),
            Undo::Clock(node) => self.nodes[node].time.mend(self.now),
            Undo::Absence(region, store) => {
                self.is_someone_absent = false;
                self.add_again(region, store);
            }
            Undo::Drain(store) => return self.end_drain(store),
            Undo::Lose(node, loss) => self.lose(node, loss),
            Undo::Scrap(node) => self.scrap(node),
        }
        Ok(())
    }

    /// Ends every fault that can be ended, and lets every store that can start.
    pub(crate) fn heal(&mut self) {
        self.faults.are_over = true;
        self.recorder.tell(0, "heal", String::new());
        for packet in self.network.heal() {
            self.schedule.plan(self.now, Happening::Arrive(Box::new(packet)));
        }
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            node.disk.clear_faults();
            node.disk.set_capacity(u64::MAX);
            node.disk.set_crowded(false);
            node.cell.calm_disk();
            node.apply_rests_until = self.now;
            node.time.mend(self.now);
            if node.is_paused(self.now) {
                // Whatever waits for the end of the pause was planned for it.
                node.paused_until = node.paused_until.min(self.now + Duration::from_secs(15));
            }
            if node.is_down() && node.is_in_service && !matches!(node.loss, Some(Loss::Damaged | Loss::Scrapped)) {
                self.plan_start(Duration::from_millis(10), at);
            }
        }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize, lasts: Duration) {
        let (from, to) = (Place(from), Place(to));
        self.network.cut(from, to, true);
        self.plan(lasts, Happening::Undo(Undo::Wire(from, to)));
    }

    /// A store applies nothing for a while.
    pub(crate) fn rest_apply(&mut self, at: usize, lasts: Duration) {
        let until = &mut self.nodes[at].apply_rests_until;
        *until = (*until).max(self.now + lasts);
    }

    fn kill_in_call(&mut self, at: usize, point: FaultPoint, nth: u64, machine: bool) {
        let node = &self.nodes[at];
        let (cell, disk) = (node.cell.clone(), node.disk.clone());
        let hook = move || cell.crash_here(&disk, machine, point == FaultPoint::LogSync);
        node.disk.inject(point, nth, DiskFault::Stall(Box::new(hook)));
    }

    fn move_leader(&mut self, choice: u64) -> Result<(), Wrong> {
        let led = |at: usize| {
            let views = self.nodes[at].running().map(|running| running.stepper.handle().regions()).unwrap_or_default();
            let led = views.into_iter().filter(|view| view.role == region::Role::Leader);
            led.map(move |view| (at, view)).collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..self.shape.machines).flat_map(led).collect();
        if all.is_empty() {
            return Ok(());
        }
        let (at, view) = &all[(choice % all.len() as u64) as usize];
        let (at, region): (usize, RegionId) = (*at, view.descriptor.id);
        if self.nodes[at].is_paused(self.now) {
            return Ok(());
        }
        let peers = &view.descriptor.peers;
        let to: StoreId = peers[(choice >> 32) as usize % peers.len()].store_id;
        self.run(at, true, |running, _| {
            running.stepper.handle().transfer_leader(region, to, Responder::new(|_| {}));
        })
    }

    /// Asks a store to hand over what it leads, each region to the one of its other voters' stores that is picked.
    fn hand_over(&mut self, at: usize, pick: impl Fn(&[StoreId]) -> Option<StoreId>) -> Result<(), Wrong> {
        if self.nodes[at].is_paused(self.now) {
            return Ok(());
        }
        let own = self.nodes[at].store;
        self.run(at, true, |running, _| {
            let handle = running.stepper.handle();
            for view in handle.regions().iter().filter(|view| view.role == region::Role::Leader) {
                let voters = view.descriptor.peers.iter().filter(|peer| peer.role == types::PeerRole::Voter);
                let others: Vec<StoreId> = voters.map(|peer| peer.store_id).filter(|store| *store != own).collect();
                if let Some(heir) = pick(&others) {
                    handle.transfer_leader(view.descriptor.id, heir, Responder::new(|_| {}));
                }
            }
        })
    }

    fn rebuild(&mut self, at: usize, all: bool, choice: u64) -> Result<(), Wrong> {
        if self.nodes[at].is_paused(self.now) {
            return Ok(());
        }
        self.run(at, true, |running, _| {
            let handle = running.stepper.handle();
            let regions = handle.regions();
            let chosen = choice as usize % regions.len().max(1);
            for (_, view) in regions.iter().enumerate().filter(|(place, _)| all || *place == chosen) {
                handle.rebuild(view.descriptor.id, Responder::new(|_| {}));
            }
        })
    }
}
