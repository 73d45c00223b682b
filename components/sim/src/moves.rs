//! Moves: regions are split, their members changed, stores emptied, replicas compared, all under load and faults.
//!
//! Some are asked of leaders by hand, with ids from the coordinator; some are operators of the coordinator, whose orders
//! leaders obey. Ids always come from the one allocator: a store never makes a peer with a smaller id than one that it had.

use std::sync::Arc;
use std::time::Duration;

use coordinator::{Change, Reply, Request, StoreState};
use parking_lot::Mutex;
use placement::{Command, SplitPolicy};
use store::RegionView;
use types::limits::MAX_SPLIT_REGIONS;
use types::{MemberChangeKind, Peer, PeerRole, RegionId, StoreId};

use crate::chance::Dice;
use crate::coordinating::ToCoordinator;
use crate::faults::Undo;
use crate::node::Part;
use crate::orders::{Wanted, keys_in};
use crate::races::Until;
use crate::simulation::{Happening, Simulation, Wrong};

/// Most keys of one split.
const MOST_CUTS: u64 = 4;

/// How often splits may make of each region that there was at first.
const MOST_REGIONS_EACH: usize = 4;

/// How soon a store that is to stay is looked at again.
const RESTORE_INTERVAL: Duration = Duration::from_secs(2);

/// Something that is asked for. Which region, store or key is meant is taken from the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// A region is cut into several.
    Split { choice: u64, cuts: u64, right_derive: bool },
    /// A voter is added on a store that has no peer.
    AddVoter { choice: u64 },
    /// A learner is.
    AddLearner { choice: u64 },
    /// A member goes, whichever it is.
    Remove { choice: u64 },
    /// A voter on another store takes the place of a member, in one change.
    Replace { choice: u64 },
    /// A voter becomes a learner.
    Demote { choice: u64 },
    /// A learner becomes a voter.
    Promote { choice: u64 },
    /// A region gets as many voters as it should have.
    Fill { choice: u64 },
    /// A member is removed while nobody reaches its store; and comes back there under another id, if it may.
    RemoveStranded { choice: u64, lasts: Duration },
    /// A learner is added, and its region is split while the learner's snapshot is on the way: what comes of the children
    /// comes before it.
    SplitBehindSnapshot { choice: u64, cuts: u64, right_derive: bool },
    /// A member is removed while its machine is off, and gets a successor there, which is greeted while the old one replays.
    RemoveFallen { choice: u64, lasts: Duration },
    /// A member's machine is off until its region has left it to a snapshot, which comes while it replays.
    LeaveBehind { choice: u64, lasts: Duration },
    /// The replicas of a region are compared.
    Compare { choice: u64 },
    /// The coordinator is asked for an operator.
    Operator { choice: u64 },
    /// A store is told to leave, and to stay after a while, if it is still there.
    Drain { choice: u64, lasts: Duration },
}

/// Draws moves.
pub(crate) struct Moves {
    dice: Dice,
    /// The usual time between two; none where nothing moves.
    interval: Option<Duration>,
    weights: [u64; KINDS],
    pub(crate) are_over: bool,
}

const KINDS: usize = 15;

impl Moves {
    /// How often what happens is drawn for each run: in some nothing moves at all, in some hardly anything else.
    pub(crate) fn new(mut dice: Dice) -> Self {
        let interval = match dice.below(8) {
            0 => None,
            1 | 2 => Some(dice.millis(30, 200)),
            _ => Some(dice.millis(100, 1500)),
        };
        let mut weights = [0; KINDS].map(|_: u64| dice.within(0, 4));
        // Splits move everybody; without any there is little to see.
        weights[0] += 1;
        Self { dice, interval, weights, are_over: false }
    }

    /// None at all.
    pub(crate) fn none() -> Self {
        Self { dice: Dice::fork(0, "moves", 0), interval: None, weights: [1; KINDS], are_over: true }
    }

    /// When the next one comes.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let interval = self.interval.filter(|_| !self.are_over)?.as_micros() as u64;
        Some(self.dice.micros(interval / 4, interval * 2))
    }

    pub(crate) fn draw(&mut self) -> Move {
        let total = self.weights.iter().sum();
        let mut at = self.dice.below(total);
        let kind = self.weights.iter().position(|weight| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        });
        let dice = &mut self.dice;
        let (choice, lasts) = (dice.number(), dice.millis(300, 12_000));
        match kind.unwrap_or(0) {
            0 => {
                let cuts = if dice.one_in(3) { dice.within(2, MOST_CUTS) } else { 1 };
                Move::Split { choice, cuts, right_derive: dice.one_in(2) }
            }
            1 => Move::AddVoter { choice },
            2 => Move::AddLearner { choice },
            3 => Move::Remove { choice },
            4 => Move::Replace { choice },
            5 => Move::Demote { choice },
            6 => Move::Promote { choice },
            7 => Move::Fill { choice },
            8 => Move::RemoveStranded { choice, lasts },
            9 => Move::Compare { choice },
            10 => Move::Operator { choice },
            11 => Move::SplitBehindSnapshot { choice, cuts: dice.within(1, 2), right_derive: dice.one_in(2) },
            12 => Move::RemoveFallen { choice, lasts: lasts / 4 },
            13 => Move::LeaveBehind { choice, lasts: lasts / 4 },
            _ => Move::Drain { choice, lasts: lasts * 3 },
        }
    }
}

/// A number, of which each use takes a part.
pub(crate) struct Choice(pub(crate) u64);

impl Choice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        let taken = self.0 % bound;
        self.0 /= bound;
        taken as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len())).copied()
    }
}

impl Simulation {
    /// Makes a move when its time has come, and plans the next.
    pub(crate) fn move_on(&mut self) -> Result<(), Wrong> {
        let Some(pause) = self.moves.pause() else { return Ok(()) };
        self.plan(pause, Happening::Move);
        let next = self.moves.draw();
        self.make_move(next)
    }

    pub(crate) fn make_move(&mut self, what: Move) -> Result<(), Wrong> {
        self.recorder.tell(0, "move", format!("{what:?}"));
        match what {
            Move::Split { choice, cuts, right_derive } => self.split_region(choice, cuts, right_derive),
            Move::AddVoter { choice } => self.add_member(choice, MemberChangeKind::Vote),
            Move::AddLearner { choice } => self.add_member(choice, MemberChangeKind::Learn),
            Move::Remove { choice } => self.remove_member(choice),
            Move::Replace { choice } => self.replace_member(choice),
            Move::Demote { choice } => self.change_role(choice, PeerRole::Voter, MemberChangeKind::Learn),
            Move::Promote { choice } => self.change_role(choice, PeerRole::Learner, MemberChangeKind::Vote),
            Move::Fill { choice } => self.fill_region(choice),
            Move::RemoveStranded { choice, lasts } => self.remove_stranded(choice, lasts),
            Move::SplitBehindSnapshot { choice, cuts, right_derive } => {
                self.split_behind_snapshot(choice, cuts, right_derive)
            }
            Move::RemoveFallen { choice, lasts } => self.fall(choice, Until::Replaced, lasts),
            Move::LeaveBehind { choice, lasts } => self.fall(choice, Until::LeftBehind, lasts),
            Move::Compare { choice } => self.compare(choice),
            Move::Operator { choice } => self.ask_operator(choice),
            Move::Drain { choice, lasts } => self.drain(choice, lasts),
        }
    }

    /// Every region that is led by a store that does something now, with its node.
    pub(crate) fn led(&self) -> Vec<(usize, RegionView)> {
        let mut led = Vec::new();
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.part == Part::Store) {
            let Some(running) = node.running().filter(|_| !node.is_paused(self.now)) else { continue };
            let views = running.stepper.handle().regions().into_iter();
            led.extend(views.filter(|view| view.role == region::Role::Leader).map(|view| (at, view)));
        }
        led
    }

    pub(crate) fn pick_led(&self, choice: &mut Choice) -> Option<(usize, RegionView)> {
        let led = self.led();
        led.get(choice.below(led.len())).cloned()
    }

    /// Stores on which peers may be put: they belong to the cluster, and their disks are theirs.
    fn homes(&self) -> Vec<StoreId> {
        let nodes = self.nodes.iter().filter(|node| node.part == Part::Store && node.is_in_service);
        nodes.filter(|node| node.loss.is_none() && !node.has_left).map(|node| node.store).collect()
    }

    pub(crate) fn free_homes(&self, view: &RegionView) -> Vec<StoreId> {
        self.homes().into_iter().filter(|store| view.descriptor.peer_on(*store).is_none()).collect()
    }

    fn split_region(&mut self, choice: u64, cuts: u64, right_derive: bool) -> Result<(), Wrong> {
        let mut choice = Choice(choice);
        let Some((at, view)) = self.pick_led(&mut choice) else { return Ok(()) };
        self.split_this(at, &view, choice, cuts, right_derive)
    }

    /// Whether there are as many regions as splits may make.
    pub(crate) fn has_all_regions(&self) -> bool {
        self.led().len() >= self.shape.regions * MOST_REGIONS_EACH
    }

    /// Has a leader cut its region at so many of its keys.
    pub(crate) fn split_this(
        &mut self,
        at: usize,
        view: &RegionView,
        mut choice: Choice,
        cuts: u64,
        right_derive: bool,
    ) -> Result<(), Wrong> {
        if self.has_all_regions() {
            return Ok(());
        }
        let mut keys = Vec::new();
        self.run(at, true, |running, _| keys = keys_in(&running.stepper.handle(), &view.descriptor))?;
        let mut chosen = Vec::new();
        for _ in 0..cuts.min(MAX_SPLIT_REGIONS as u64) {
            if let Some(key) = keys.get(choice.below(keys.len())) {
                chosen.push(key.clone());
            }
            choice.0 = choice.0.rotate_left(17) ^ 0x9e37_79b9_7f4a_7c15;
        }
        chosen.sort_unstable();
        chosen.dedup();
        if !chosen.is_empty() {
            let (store, region) = (self.nodes[at].store, Box::new((*view.descriptor).clone()));
            self.ask_coordinator(at, ToCoordinator::Split { store, region, keys: chosen, right_derive });
        }
        Ok(())
    }

    /// Has a leader change its region's members, as soon as the coordinator has given ids for the newcomers.
    pub(crate) fn ask_members(&mut self, at: usize, view: &RegionView, changes: Vec<Wanted>) {
        let (store, region, epoch) = (self.nodes[at].store, view.descriptor.id, view.descriptor.epoch);
        self.ask_coordinator(at, ToCoordinator::Members { store, region, epoch, changes });
    }

    fn add_member(&mut self, choice: u64, kind: MemberChangeKind) -> Result<(), Wrong> {
        let mut choice = Choice(choice);
        let Some((at, view)) = self.pick_led(&mut choice) else { return Ok(()) };
        if let Some(home) = choice.pick(&self.free_homes(&view)) {
            self.ask_members(at, &view, vec![Wanted::newcomer(kind, home)]);
        }
        Ok(())
    }

    fn remove_member(&mut self, choice: u64) -> Result<(), Wrong> {
        let mut choice = Choice(choice);
        let Some((at, view)) = self.pick_led(&mut choice) else { return Ok(()) };
        if let Some(peer) = choice.pick(&view.descriptor.peers) {
            self.ask_members(at, &view, vec![Wanted::of(MemberChangeKind::Remove, peer)]);
        }
        Ok(())
    }

    fn replace_member(&mut self, choice: u64) -> Result<(), Wrong> {
        let mut choice = Choice(choice);
        let Some((at, view)) = self.pick_led(&mut choice) else { return Ok(()) };
        let (peer, home) = (choice.pick(&view.descriptor.peers), choice.pick(&self.free_homes(&view)));
        if let Some((peer, home)) = peer.zip(home) {
            let leaves = Wanted::of(MemberChangeKind::Remove, peer);
            self.ask_members(at, &view, vec![leaves, Wanted::newcomer(MemberChangeKind::Vote, home)]);
        }
        Ok(())
    }

    fn change_role(&mut self, choice: u64, from: PeerRole, to: MemberChangeKind) -> Result<(), Wrong> {
        let mut choice = Choice(choice);
        let Some((at, view)) = self.pick_led(&mut choice) else { return Ok(()) };
        let peers: Vec<Peer> = view.descriptor.peers.iter().filter(|peer| peer.role == from).copied().collect();
        if let Some(peer) = choice.pick(&peers) {
            self.ask_members(at, &view, vec![Wanted::of(to, peer)]);
        }
        Ok(())
    }

    /// All that is missing, or all that is too much, at once.
    fn fill_region(&mut self, choice: u64) -> Result<(), Wrong> {
        let mut choice = Choice(choice);
        let Some((at, view)) = self.pick_led(&mut choice) else { return Ok(()) };
        let (mut wanted, target) = (Vec::new(), self.shape.replicas);
        let (voters, learners): (Vec<Peer>, Vec<Peer>) =
            view.descriptor.peers.iter().partition(|peer| peer.role == PeerRole::Voter);
        let mut missing = target.saturating_sub(voters.len());
        for learner in learners {
            let kind = if missing > 0 { MemberChangeKind::Vote } else { MemberChangeKind::Remove };
            missing = missing.saturating_sub(1);
            wanted.push(Wanted::of(kind, learner));
        }
        let newcomer = |store| Wanted::newcomer(MemberChangeKind::Vote, store);
        wanted.extend(self.free_homes(&view).into_iter().take(missing).map(newcomer));
        let extra = voters.len().saturating_sub(target);
        wanted.extend(voters.iter().rev().take(extra).map(|peer| Wanted::of(MemberChangeKind::Remove, *peer)));
        if !wanted.is_empty() {
            self.ask_members(at, &view, wanted);
        }
        Ok(())
    }

    fn remove_stranded(&mut self, choice: u64, lasts: Duration) -> Result<(), Wrong> {
        let mut choice = Choice(choice);
        let Some((at, view)) = self.pick_led(&mut choice) else { return Ok(()) };
        let own = self.nodes[at].store;
        let others: Vec<Peer> = view.descriptor.peers.iter().filter(|peer| peer.store_id != own).copied().collect();
        // One at a time: where most stores are away, nothing else can move.
        let Some(peer) = choice.pick(&others).filter(|_| !self.is_someone_absent) else { return Ok(()) };
        if !self.faults.are_over {
            self.is_someone_absent = true;
            let stranded = peer.store_id.0 as usize - 1;
            for other in (0..self.shape.machines).filter(|other| *other != stranded) {
                self.cut(other, stranded, lasts);
                self.cut(stranded, other, lasts);
            }
            self.plan(lasts + lasts / 2, Happening::Undo(Undo::Absence(view.descriptor.id, peer.store_id)));
        }
        self.ask_members(at, &view, vec![Wanted::of(MemberChangeKind::Remove, peer)]);
        Ok(())
    }

    /// A region gets a voter on a store again, if it has room for one.
    pub(crate) fn add_again(&mut self, region: RegionId, store: StoreId) {
        let led = self.led().into_iter().find(|(_, view)| view.descriptor.id == region);
        let Some((at, view)) = led.filter(|_| !self.moves.are_over) else { return };
        if view.descriptor.peers.len() < self.shape.replicas && self.free_homes(&view).contains(&store) {
            self.ask_members(at, &view, vec![Wanted::newcomer(MemberChangeKind::Vote, store)]);
        }
    }

    fn compare(&mut self, choice: u64) -> Result<(), Wrong> {
        let Some((at, view)) = self.pick_led(&mut Choice(choice)) else { return Ok(()) };
        self.run(at, true, |running, _| running.stepper.handle().check_consistency(view.descriptor.id))
    }

    fn ask_operator(&mut self, choice: u64) -> Result<(), Wrong> {
        let mut choice = Choice(choice);
        let Some((at, view)) = self.pick_led(&mut choice) else { return Ok(()) };
        let (region, homes) = (view.descriptor.id, self.homes());
        let kind = choice.below(7);
        let Some(from) = choice.pick(&view.descriptor.peers).map(|peer| peer.store_id) else { return Ok(()) };
        let Some(to) = choice.pick(&homes) else { return Ok(()) };
        let command = match kind {
            0 => Command::TransferLeader { to: from },
            1 => Command::AddPeer { to },
            2 => Command::AddLearner { to },
            3 => Command::RemovePeer { from },
            4 => Command::MovePeer { from, to },
            5 if self.has_all_regions() => return Ok(()),
            5 => {
                let mut keys = Vec::new();
                self.run(at, true, |running, _| keys = keys_in(&running.stepper.handle(), &view.descriptor))?;
                let key = keys.get(choice.below(keys.len())).cloned();
                let keys = key.map(|key| SplitPolicy::Keys(vec![key]));
                Command::Split { policy: keys.filter(|_| choice.below(2) == 0).unwrap_or(SplitPolicy::Scan) }
            }
            _ => Command::Scatter { group: "all".to_owned() },
        };
        self.tell_operator(move |coordinator| {
            let (command, reply) = (Box::new(command), Reply::new(|_| {}));
            coordinator.request(Request::Command { region, command, reply });
        })
    }

    /// Somebody says something to the coordinator itself.
    pub(crate) fn tell_operator(&mut self, say: impl FnOnce(&coordinator::Coordinator)) -> Result<(), Wrong> {
        let home = self.home();
        if self.nodes[home].is_paused(self.now) {
            return Ok(());
        }
        self.run(home, true, |running, _| {
            if let Some(coordinator) = &running.coordinator {
                say(coordinator);
            }
        })
    }

    fn drain(&mut self, choice: u64, lasts: Duration) -> Result<(), Wrong> {
        // One at a time, and only where another store can take its place.
        let homes = self.homes();
        let is_born = self.stores_watch.ledger().regions().count() >= self.shape.regions;
        if !is_born || self.draining.is_some() || homes.len() <= self.shape.replicas {
            return Ok(());
        }
        let Some(store) = Choice(choice).pick(&homes) else { return Ok(()) };
        self.draining = Some(store);
        self.plan(lasts, Happening::Undo(Undo::Drain(store)));
        self.tell_operator(|coordinator| {
            coordinator.request(Change::RemoveStore { store, reply: Reply::new(|_| {}) });
        })
    }

    /// A store that was told to leave stays, if it is not gone by now.
    pub(crate) fn end_drain(&mut self, store: StoreId) -> Result<(), Wrong> {
        if self.draining != Some(store) {
            return Ok(());
        }
        let found = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&found);
        self.tell_operator(move |coordinator| {
            coordinator.query(move |view| {
                *seen.lock() = view.ok().and_then(|view| view.store(store).ok()).map(|store| store.record.state);
            });
        })?;
        let state = *found.lock();
        match state {
            Some(StoreState::Up) => self.draining = None,
            Some(StoreState::Tombstone) => {
                self.draining = None;
                self.nodes[store.0 as usize - 1].has_left = true;
            }
            Some(StoreState::Offline) | None => {
                self.plan(RESTORE_INTERVAL, Happening::Undo(Undo::Drain(store)));
                self.tell_operator(|coordinator| {
                    coordinator.request(Change::RestoreStore { store, reply: Reply::new(|_| {}) });
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_drawn_where_anything_moves() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let mut moves = Moves::new(Dice::fork(seed, "moves", 0));
            for _ in 0..200 {
                let text = format!("{:?}", moves.draw());
                kinds.insert(text.split(' ').next().map(str::to_owned));
            }
        }
        assert_eq!(kinds.len(), KINDS);
    }

    #[test]
    fn in_some_runs_nothing_moves() {
        let still = (0..64).filter(|seed| Moves::new(Dice::fork(*seed, "moves", 0)).pause().is_none()).count();
        assert!((1..32).contains(&still), "{still}");
    }
}
