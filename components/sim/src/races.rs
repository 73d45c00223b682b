//! Moves that bring two things together which chance alone hardly ever does.
//!
//! A snapshot is held up until the children of its region reach the store that waits for it; and a peer is replaced while
//! its machine is off, or left to a snapshot, so that its successor's greeting, or the snapshot, comes while it replays.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::Birth;
use types::{MemberChangeKind, Peer, RegionId, StoreId};

use crate::moves::Choice;
use crate::node::Part;
use crate::orders::Wanted;
use crate::simulation::{Happening, Simulation, Wrong};

/// How often it is looked how far a held snapshot and its region are.
const LOOK_INTERVAL: Duration = Duration::from_millis(4);

/// How many times it is looked before the snapshot goes on whatever happened.
const MOST_LOOKS: u32 = 600;

/// How often the region of a fallen machine is asked for what is still to be done.
const ASK_INTERVAL: Duration = Duration::from_millis(150);

/// How many times it is asked before the machine is on again whatever happened.
const MOST_ASKS: u32 = 60;

/// What becomes of a peer while its machine is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// It is removed, and another one is to take its place on its store.
    Replaced,
    /// Its region keeps no log for it any more.
    LeftBehind,
}

/// A machine that is off until something has become of its peer of a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fallen {
    region: RegionId,
    /// The peer that it had.
    peer: Peer,
    until: Until,
    /// How long it applies nothing when it is on again.
    replays: Duration,
    looks: u32,
}

/// A learner whose snapshot waits until its region's children have been heard of.
#[derive(Clone, Debug)]
pub(crate) struct HeldSnapshot {
    region: RegionId,
    /// The learner's store.
    home: StoreId,
    choice: u64,
    cuts: u64,
    right_derive: bool,
    /// The newcomers that the store had when the region was told to split.
    before: Option<BTreeSet<RegionId>>,
    looks: u32,
}

impl Simulation {
    /// Adds a learner whose snapshot will be held up.
    pub(crate) fn split_behind_snapshot(&mut self, choice: u64, cuts: u64, right_derive: bool) -> Result<(), Wrong> {
        let mut chosen = Choice(choice);
        let led = self.led();
        let with_room: Vec<_> = led.iter().filter(|(_, view)| !self.free_homes(view).is_empty()).collect();
        let Some((at, view)) = with_room.get(chosen.below(with_room.len())).map(|found| (*found).clone()) else {
            return self.make_room(chosen);
        };
        let region = view.descriptor.id;
        let Some(home) = chosen.pick(&self.free_homes(&view)) else { return Ok(()) };
        if self.faults.are_over || !self.held.insert((region, home)) {
            return Ok(());
        }
        self.ask_members(at, &view, vec![Wanted::newcomer(MemberChangeKind::Learn, home)]);
        let held = HeldSnapshot { region, home, choice, cuts, right_derive, before: None, looks: 0 };
        self.plan(LOOK_INTERVAL, Happening::LookAtHeld(Box::new(held)));
        Ok(())
    }

    /// Every store has a peer of every region: one goes, so that one can come.
    fn make_room(&mut self, mut choice: Choice) -> Result<(), Wrong> {
        let Some((at, view)) = self.pick_led(&mut choice) else { return Ok(()) };
        let own = self.nodes[at].store;
        let others: Vec<Peer> = view.descriptor.peers.iter().filter(|peer| peer.store_id != own).copied().collect();
        if let Some(peer) = choice.pick(&others) {
            self.ask_members(at, &view, vec![Wanted::of(MemberChangeKind::Remove, peer)]);
        }
        Ok(())
    }

    /// Splits the region once the snapshot waits, and lets the snapshot go once a child has come before it.
    pub(crate) fn look_at_held(&mut self, mut held: HeldSnapshot) -> Result<(), Wrong> {
        held.looks += 1;
        let (region, home) = (held.region, held.home);
        let newcomers = self.newcomers(home);
        let has_come = held.before.as_ref().is_some_and(|before| newcomers.difference(before).next().is_some());
        if self.faults.are_over || held.looks > MOST_LOOKS || has_come {
            self.held.remove(&(region, home));
            let step = if has_come {
                "behind a child"
            } else if held.before.is_some() {
                "behind a split"
            } else {
                "alone"
            };
            self.recorder.tell(0, "held", format!("the snapshot of region {region} for store {home} goes on {step}"));
            return Ok(());
        }
        if held.before.is_none() && self.is_shipping(region, home) {
            let led = self.led().into_iter().find(|(_, view)| view.descriptor.id == region);
            if let Some((at, view)) = led {
                held.before = Some(newcomers);
                self.split_this(at, &view, Choice(held.choice), held.cuts, held.right_derive)?;
            }
        }
        self.plan(LOOK_INTERVAL, Happening::LookAtHeld(Box::new(held)));
        Ok(())
    }

    /// The regions of which a message has made a peer on a store.
    fn newcomers(&self, store: StoreId) -> BTreeSet<RegionId> {
        let Some(account) = self.stores_watch.ledger().store(store) else { return BTreeSet::new() };
        let logs = account.log.durable().regions.iter();
        let invited = logs.filter(|(_, log)| {
            log.lifecycle.is_some_and(|lifecycle| matches!(lifecycle.birth, Birth::Message | Birth::Invited(_)))
        });
        invited.map(|(region, _)| *region).collect()
    }

    /// A machine goes off, and is on again when something has become of its peer of a region. Then it replays for a while.
    pub(crate) fn fall(&mut self, choice: u64, until: Until, replays: Duration) -> Result<(), Wrong> {
        let mut choice = Choice(choice);
        let Some((at, view)) = self.pick_led(&mut choice) else { return Ok(()) };
        let can_fall = |peer: &&Peer| {
            let node = &self.nodes[peer.store_id.0 as usize - 1];
            let is_sound = node.part == Part::Store && node.loss.is_none() && node.running().is_some();
            is_sound && peer.store_id != self.nodes[at].store
        };
        let others: Vec<Peer> = view.descriptor.peers.iter().filter(can_fall).copied().collect();
        let may = !self.faults.are_over && !self.is_someone_absent;
        let Some(peer) = choice.pick(&others).filter(|_| may) else { return Ok(()) };
        self.is_someone_absent = true;
        let fallen = peer.store_id.0 as usize - 1;
        self.kill(fallen, true);
        self.nodes[fallen].is_away = true;
        let fallen = Fallen { region: view.descriptor.id, peer, until, replays, looks: 0 };
        self.plan(Duration::ZERO, Happening::LookAtFallen(fallen));
        if until == Until::LeftBehind {
            // What it is left behind of is the region's split as well: its snapshot is of less than it had.
            return self.split_this(at, &view, choice, 1, replays.as_micros().is_multiple_of(2));
        }
        Ok(())
    }

    /// Asks for what is still to be done before a machine is on again.
    pub(crate) fn look_at_fallen(&mut self, mut fallen: Fallen) {
        let Fallen { region, peer, until, .. } = fallen;
        fallen.looks += 1;
        let led = self.led().into_iter().find(|(_, view)| view.descriptor.id == region);
        let present = led.as_ref().and_then(|(_, view)| view.descriptor.peer_on(peer.store_id).copied());
        let has_become = match until {
            Until::Replaced => present.is_some_and(|present| present.id != peer.id),
            Until::LeftBehind => led.as_ref().is_some_and(|(at, _)| self.is_left_behind(*at, region, peer.store_id)),
        };
        if self.faults.are_over || has_become || fallen.looks > MOST_ASKS {
            let how = if has_become { "" } else { "not " };
            self.recorder.tell(0, "risen", format!("peer {} of region {region} is {how}{until:?}", peer.id));
            return self.rise(&fallen);
        }
        if let Some((at, view)) = led.filter(|_| until == Until::Replaced) {
            let wanted = match present {
                Some(present) => Wanted::of(MemberChangeKind::Remove, present),
                None => Wanted::newcomer(MemberChangeKind::Learn, peer.store_id),
            };
            self.ask_members(at, &view, vec![wanted]);
        }
        self.plan(ASK_INTERVAL, Happening::LookAtFallen(fallen));
    }

    /// Whether a leader's log begins behind the end of another store's.
    fn is_left_behind(&self, leader: usize, region: RegionId, store: StoreId) -> bool {
        let ledger = self.stores_watch.ledger();
        let first = ledger.log(self.nodes[leader].store, region).and_then(|log| log.bounds()).map(|(first, _)| first);
        let last = ledger.log(store, region).map(|log| log.last_index());
        first.zip(last).is_some_and(|(first, last)| first > last.next())
    }

    fn rise(&mut self, fallen: &Fallen) {
        let at = fallen.peer.store_id.0 as usize - 1;
        self.is_someone_absent = false;
        self.nodes[at].is_away = false;
        let after = self.dice.millis(1, 100);
        if !self.faults.are_over {
            self.rest_apply(at, after + fallen.replays);
        }
        self.plan_start(after, at);
    }
}
