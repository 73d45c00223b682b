//! A cluster in the hands of whoever tests what he builds on it.

use std::time::Duration;

use bytes::Bytes;
use types::{Instant, StoreId};

use crate::chance::Dice;
use crate::faults::{Fault, Faults};
use crate::guests::Guests;
use crate::moves::Moves;
use crate::profile::Profile;
use crate::run::{Failure, Report, Settings, caught};
use crate::shape::Shape;
use crate::simulation::Simulation;

/// Runs a scenario on a cluster with guests. When it is over everything is healed, and the store's own checkers judge the
/// whole run.
///
/// `split_keys` are the keys at which the cluster's regions are cut, ascending and without the empty key; the settings'
/// number of regions is not looked at.
///
/// # Errors
/// What the scenario says, or what was wrong with the stores.
pub fn scenario(
    settings: &Settings,
    split_keys: Vec<Bytes>,
    guests: Box<dyn Guests>,
    scenario: impl FnOnce(&mut Cluster<'_>) -> Result<(), String>,
) -> Result<Report, Box<Failure>> {
    let _guard = runtime::clock::simulate();
    let shape = Shape::with_split_keys(settings.stores, split_keys, false, &mut Dice::fork(settings.seed, "shape", 0));
    let faults = Faults::new(Profile::Calm, Dice::fork(settings.seed, "faults", 0));
    let simulation = Simulation::new(settings.seed, shape, faults, None, guests, settings.verbose);
    caught(settings, simulation, |simulation| {
        simulation.admit_guests();
        simulation.found()?;
        let mut cluster = Cluster { simulation, regions_move: false };
        scenario(&mut cluster)?;
        let settles = cluster.settles();
        cluster.simulation.dismiss_guests();
        cluster.heal();
        cluster.serve()?;
        simulation.come_to_rest()?;
        while settles && simulation.what_is_open()?.is_some() {
            simulation.settle()?;
            simulation.come_to_rest()?;
        }
        simulation.finish()
    })
}

/// A running cluster. Time passes in it only while one of these functions runs.
pub struct Cluster<'a> {
    simulation: &'a mut Simulation,
    /// Whether regions split and move when it is disturbed.
    regions_move: bool,
}

impl Cluster<'_> {
    /// The ids of its stores.
    pub fn stores(&self) -> Vec<StoreId> {
        (1..=self.simulation.shape.stores as u64).map(StoreId).collect()
    }

    /// The stores that have not lost their disks for good. Faults take a minority of them at most.
    pub fn living(&self) -> Vec<StoreId> {
        let nodes = self.simulation.nodes.iter().take(self.simulation.shape.stores);
        nodes.filter(|node| node.loss.is_none()).map(|node| node.store).collect()
    }

    /// The simulation's own time, which no store sees.
    pub fn now(&self) -> Instant {
        self.simulation.now
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// When something happened that must not.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), String> {
        let end = self.simulation.now + duration;
        while self.simulation.now < end {
            self.simulation.step()?;
        }
        Ok(())
    }

    /// Lets time pass until something is so.
    ///
    /// # Errors
    /// When it is not so within `bound` of simulated time, or when something happened that must not.
    pub fn run_until(&mut self, what: &str, bound: Duration, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
        self.simulation.until(bound, what, |_| is_so())
    }

    /// From now on regions split, change their members and come and go whenever the cluster is [disturbed](Self::disturb), as
    /// often as the seed says.
    pub fn let_regions_move(&mut self) {
        self.regions_move = true;
    }

    /// Lets `steps` events happen while the faults of a profile strike. What they did stays until [`heal`](Self::heal).
    ///
    /// # Errors
    /// When something happened that must not.
    pub fn disturb(&mut self, profile: Profile, steps: u64) -> Result<(), String> {
        let dice = Dice::fork(self.simulation.dice.number(), "faults", 1);
        self.simulation.faults = Faults::new(profile, dice);
        if self.regions_move {
            self.simulation.moves = Moves::new(Dice::fork(self.simulation.dice.number(), "moves", 1));
        }
        self.simulation.disturb(steps)?;
        self.simulation.faults.are_over = true;
        self.simulation.moves.are_over = true;
        Ok(())
    }

    /// Mends everything that can be mended; stores that are down are started again.
    pub fn heal(&mut self) {
        self.simulation.heal();
    }

    /// Lets time pass until every region has a leader that serves.
    ///
    /// # Errors
    /// When one does not within two simulated minutes, or when something happened that must not.
    pub fn serve(&mut self) -> Result<(), String> {
        if self.settles() {
            self.simulation.start_again()?;
            self.simulation.settle()?;
        }
        self.simulation.serve_again()
    }

    /// Whether regions have moved, and come to an end of it in peace. Where a disk was lost nobody takes its place.
    fn settles(&self) -> bool {
        self.regions_move && self.living().len() == self.simulation.shape.stores
    }

    /// Ends a store's process without warning; with its machine, what was not synced may be lost. It is started again
    /// within a few simulated seconds.
    ///
    /// # Errors
    /// When something happened that must not.
    pub fn kill(&mut self, store: StoreId, machine: bool) -> Result<(), String> {
        self.inflict(Fault::Kill { node: self.node(store), machine })
    }

    /// Lets a store's process stand still for a while.
    ///
    /// # Errors
    /// When something happened that must not.
    pub fn pause(&mut self, store: StoreId, lasts: Duration) -> Result<(), String> {
        self.inflict(Fault::Pause { node: self.node(store), lasts })
    }

    /// Cuts a store off from everyone for a while.
    ///
    /// # Errors
    /// When something happened that must not.
    pub fn cut_off(&mut self, store: StoreId, lasts: Duration) -> Result<(), String> {
        self.inflict(Fault::CutOff { node: self.node(store), from_all: true, incoming: true, outgoing: true, lasts })
    }

    fn inflict(&mut self, fault: Fault) -> Result<(), String> {
        self.simulation.carry_out(fault)?;
        self.simulation.look()
    }

    /// # Panics
    /// When there is no such store.
    fn node(&self, store: StoreId) -> usize {
        assert!((1..=self.simulation.shape.stores as u64).contains(&store.0), "there is no store {store}");
        store.0 as usize - 1
    }
}
