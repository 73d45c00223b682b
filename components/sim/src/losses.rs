//! Stores that are lost for good, and the spare ones that take their place.
//!
//! A disk is damaged or emptied while its store is away. Its regions are repaired from the others: the coordinator replaces
//! its peers once it was away for long enough, and a spare store gives room for them.
//!
//! A majority of what is there must stay, whatever is under way. So a store is first away for a while, in which every
//! leader learns that it cannot count on it; then it is looked at each region's members and at the changes of them that no
//! quorum has agreed on yet.

use std::time::Duration;

use engine::EntryType;
use engine::memory::MemDisk;
use types::{PeerRole, RegionDescriptor, StoreId};

use crate::faults::Undo;
use crate::node::{Loss, Node, Part, Process};
use crate::observation::Event;
use crate::simulation::{Happening, Simulation};

/// How long a store is away before it is lost: longer than leaders take a silent member for healthy.
const AWAY: Duration = Duration::from_secs(6);

impl Simulation {
    /// A store goes away, and is lost if that is bearable when the others have noticed.
    pub(crate) fn begin_loss(&mut self, at: usize, loss: Loss) {
        let node = &self.nodes[at];
        let is_sound = node.part == Part::Store && node.loss.is_none() && node.is_in_service && !node.is_starting;
        let is_met = loss == Loss::Damaged || self.is_met_by_all(at);
        if !is_sound || node.running().is_none() || !is_met || !self.may_be_lost(at, loss) {
            return;
        }
        self.kill(at, true);
        // Nobody starts it meanwhile: a start that is planned is as good as one that is under way.
        self.nodes[at].is_away = true;
        self.plan(AWAY, Happening::Undo(Undo::Lose(at, loss)));
    }

    /// A disk that is emptied is refused by those who met it before: whom nobody knows, nobody can refuse (D14).
    fn is_met_by_all(&self, at: usize) -> bool {
        let members = (0..self.shape.machines).filter(|other| *other != at && self.nodes[*other].is_in_service);
        members.into_iter().all(|other| self.met.contains(&(at.min(other), at.max(other))))
    }

    /// A disk that is emptied comes back with what it was born with, and another such disk has never met the one before:
    /// whether all of them together make no leader of any region. Clients that are as old would listen to it.
    fn elects_nobody(&self, at: usize) -> bool {
        let own = self.nodes[at].store;
        let was_emptied = |node: &Node| node.store == own || node.loss == Some(Loss::Wiped);
        let emptied = |store: StoreId| self.nodes.iter().any(|node| node.store == store && was_emptied(node));
        self.nodes[at].birth_regions.iter().all(|region| keeps_majority(region, &emptied))
    }

    /// Whether every region keeps a majority without a store, by whichever of its configurations may hold in the end; and
    /// somebody can take the store's place; and what may come back of it does no harm.
    fn may_be_lost(&self, at: usize, loss: Loss) -> bool {
        let lost = |store: StoreId| {
            let node = self.nodes.iter().find(|node| node.store == store);
            store == self.nodes[at].store || node.is_none_or(|node| node.loss.is_some())
        };
        // Each emptied disk is thrown away in the end, and takes a spare store then.
        let waiting = self.nodes.iter().filter(|node| node.loss == Some(Loss::Wiped)).count();
        let has_spare = self.shape.machines == self.shape.stores || self.spares().count() > waiting;
        let is_harmless = loss == Loss::Damaged || self.elects_nobody(at);
        has_spare && is_harmless && self.possible_configurations().iter().all(|region| keeps_majority(region, &lost))
    }

    /// What each region's members are, and what they may become by changes that are in some log.
    fn possible_configurations(&self) -> Vec<RegionDescriptor> {
        let ledger = self.stores_watch.ledger();
        let mut possible = Vec::new();
        for (region, truth) in ledger.regions() {
            let settled = &truth.replay().descriptor;
            possible.push((**settled).clone());
            for (_, account) in ledger.stores() {
                let Some(log) = account.region_log(region) else { continue };
                let open = truth.frontier().0 + 1..=log.last_index().0;
                let changes = open.filter_map(|index| log.slot(types::LogIndex(index)));
                for slot in changes.filter(|slot| slot.kind == EntryType::EntryConfChangeV2) {
                    possible.extend(crate::ledger::replay::changed(settled, slot));
                }
            }
        }
        possible
    }

    /// The store that was away is lost, or comes back.
    pub(crate) fn lose(&mut self, at: usize, loss: Loss) {
        self.nodes[at].is_away = false;
        let is_bearable = !self.faults.are_over && self.nodes[at].is_down() && self.may_be_lost(at, loss);
        if is_bearable {
            match loss {
                Loss::Damaged => self.damage(at),
                Loss::Wiped | Loss::Scrapped => self.empty(at),
            }
        }
        self.plan_start(Duration::from_millis(50), at);
    }

    /// A bit of the log rots while the machine is off.
    fn damage(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.disk.damage_log() {
            node.loss = Some(Loss::Damaged);
            self.buy(Duration::ZERO);
        }
    }

    /// A disk is emptied, and the store is told that this is its first start. Once it is thrown away another one comes: a
    /// store that has never met the old disk could not tell that this is another one.
    fn empty(&mut self, at: usize) {
        let disk = MemDisk::new(self.shape.disk);
        let node = &mut self.nodes[at];
        node.disk = disk;
        node.loss = Some(Loss::Wiped);
        node.intent = None;
        debug_assert!(matches!(node.process, Process::Down));
        self.recorder.observe(node.store, Event::Wiped);
        let lasts = self.dice.millis(2000, 15_000);
        self.plan(lasts, Happening::Undo(Undo::Scrap(at)));
    }

    /// A disk to which nobody listens is thrown away, and a spare store takes its place.
    pub(crate) fn scrap(&mut self, at: usize) {
        if self.spares().next().is_none() {
            return;
        }
        self.kill(at, false);
        self.nodes[at].loss = Some(Loss::Scrapped);
        self.buy(Duration::from_millis(10));
    }

    /// Stores that nobody has turned on yet.
    fn spares(&self) -> impl Iterator<Item = usize> {
        (0..self.shape.machines).filter(|at| !self.nodes[*at].is_in_service)
    }

    fn buy(&mut self, after: Duration) {
        let spare = self.spares().next();
        if let Some(spare) = spare {
            self.nodes[spare].is_in_service = true;
            self.plan_start(after, spare);
        }
    }
}

/// A majority of each half of a configuration.
pub(crate) fn keeps_majority(region: &RegionDescriptor, lost: &impl Fn(StoreId) -> bool) -> bool {
    let half = |votes: fn(PeerRole) -> bool| {
        let voters = || region.peers.iter().filter(|peer| votes(peer.role));
        voters().filter(|peer| lost(peer.store_id)).count() * 2 < voters().count()
    };
    half(PeerRole::voted_before) && half(PeerRole::votes_afterwards)
}
