//! Scenarios, and the cluster that they play on.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use sim::run::Settings;
use sim::{Profile, Report};
use types::{Instant, StoreId};

use super::node::Node;
use super::residents::Residents;

/// How long [`Cluster::on`] waits for a program, by the simulation's clock.
const PROGRAM_BOUND: Duration = Duration::from_secs(300);

/// What a cluster looks like, and its seed.
#[derive(Clone, Debug)]
#[must_use = "a scenario does nothing until it is run"]
pub struct Scenario {
    settings: Settings,
    split_keys: Vec<Bytes>,
    timeout: Duration,
}

impl Scenario {
    /// Three stores and one region, from a seed.
    pub fn new(seed: u64) -> Self {
        let settings = Settings { stores: 3, regions: 1, ..Settings::new(seed, Profile::Calm) };
        Self { settings, split_keys: Vec::new(), timeout: Duration::from_secs(10) }
    }

    /// How many stores the cluster has, 1 to 9.
    pub fn stores(mut self, stores: usize) -> Self {
        self.settings.stores = stores;
        self
    }

    /// Where the key space is cut into regions: ascending, without the empty key.
    pub fn split_keys<K: Into<Bytes>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.split_keys = keys.into_iter().map(Into::into).collect();
        self.settings.regions = self.split_keys.len() + 1;
        self
    }

    /// How long an operation of a store may take, retries included. Ten seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Plays a scenario. Behind it everything is healed, and the simulator's own checkers judge the stores.
    ///
    /// # Errors
    /// What `play` says, what it panicked with, or what was wrong with the stores.
    pub fn run(&self, play: impl FnOnce(&mut Cluster<'_, '_>) -> Result<(), String>) -> Result<Report, Box<Failure>> {
        let residents = Residents::new(self.settings.seed, self.timeout);
        let guests = Box::new(residents.clone());
        sim::scenario(&self.settings, self.split_keys.clone(), guests, |cluster| {
            play(&mut Cluster { cluster, residents })
        })
        .map_err(|failure| {
            let sim::Failure { what, at, trace, .. } = *failure;
            Box::new(Failure { seed: self.settings.seed, what, at, trace })
        })
    }

    /// Plays a scenario with one seed after the other, until it fails.
    ///
    /// # Errors
    /// The first failure. Its seed plays it again.
    pub fn run_seeds(
        &self,
        seeds: Range<u64>,
        mut play: impl FnMut(&mut Cluster<'_, '_>) -> Result<(), String>,
    ) -> Result<(), Box<Failure>> {
        for seed in seeds {
            let mut scenario = self.clone();
            scenario.settings.seed = seed;
            scenario.run(&mut play)?;
        }
        Ok(())
    }
}

/// A scenario failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that plays it again.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
    /// When, by the simulation's clock.
    pub at: Instant,
    /// What happened before it, for a reader.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.since(Instant::ORIGIN).as_secs_f64();
        write!(f, "seed {}, after {seconds:.3} simulated seconds: {}", self.seed, self.what)
    }
}

impl std::error::Error for Failure {}

/// A running cluster. Time passes in it only while one of these functions runs.
///
/// Every function fails when something happened to the stores that must never happen; scenarios pass that on by `?`.
pub struct Cluster<'a, 'b> {
    cluster: &'a mut sim::Cluster<'b>,
    residents: Residents,
}

impl Cluster<'_, '_> {
    /// The ids of its stores.
    pub fn stores(&self) -> Vec<StoreId> {
        self.cluster.stores()
    }

    /// The stores that have not lost their disks for good: a damaged store refuses to start, and one that was emptied and
    /// started again is refused by the others (D14). Faults take a minority at most.
    pub fn living(&self) -> Vec<StoreId> {
        self.cluster.living()
    }

    /// The simulation's own time, which no store sees.
    pub fn now(&self) -> Instant {
        self.cluster.now()
    }

    /// Starts a program in every store's process: in those that run now, and in each that begins later.
    pub fn everywhere<F: Future<Output = ()> + 'static>(&self, program: impl Fn(Node) -> F + 'static) {
        self.residents.add_program(program);
    }

    /// Runs a program at a store, and lets time pass until it is done. Waits for the store to be up first.
    ///
    /// # Errors
    /// When the program failed, its process ended under it, or it took more than five simulated minutes.
    pub fn on<T, E, F>(&mut self, store: StoreId, program: impl FnOnce(Node) -> F) -> Result<T, String>
    where
        T: 'static,
        E: fmt::Display + 'static,
        F: Future<Output = Result<T, E>> + 'static,
    {
        let residents = self.residents.clone();
        self.cluster.run_until("the store runs", PROGRAM_BOUND, || residents.node(store).is_some())?;
        let Some(node) = self.residents.node(store) else { return Err(format!("store {store} does not run")) };
        let outcome = Rc::new(RefCell::new(None));
        // Dropped with the program, when its process ends.
        let alive = Rc::new(());
        let (slot, watched, running) = (Rc::clone(&outcome), Rc::downgrade(&alive), program(node.clone()));
        node.spawn(async move {
            let _alive = alive;
            let result = running.await;
            *slot.borrow_mut() = Some(result);
        });
        drop(node);
        let is_over = || watched.strong_count() == 0;
        self.cluster.run_until("the program is done", PROGRAM_BOUND, is_over)?;
        let outcome = outcome.borrow_mut().take();
        match outcome {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!("the process of store {store} ended before the program was done")),
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// See [`Cluster`].
    pub fn run_for(&mut self, duration: Duration) -> Result<(), String> {
        self.cluster.run_for(duration)
    }

    /// Lets time pass until something is so, which programs bring about.
    ///
    /// # Errors
    /// When it is not so within `bound` of simulated time.
    pub fn run_until(&mut self, what: &str, bound: Duration, is_so: impl FnMut() -> bool) -> Result<(), String> {
        self.cluster.run_until(what, bound, is_so)
    }

    /// From now on regions split, change their members, and come and go whenever the cluster is
    /// [disturbed](Self::disturb), as often as the seed says.
    pub fn let_regions_move(&mut self) {
        self.cluster.let_regions_move();
    }

    /// Lets `steps` events happen while the faults of a profile strike. Ten thousand events are about a simulated minute
    /// of three stores.
    ///
    /// # Errors
    /// See [`Cluster`].
    pub fn disturb(&mut self, profile: Profile, steps: u64) -> Result<(), String> {
        self.cluster.disturb(profile, steps)
    }

    /// Mends everything that can be mended, and starts the stores that are down.
    pub fn heal(&mut self) {
        self.cluster.heal();
    }

    /// Lets time pass until every region serves.
    ///
    /// # Errors
    /// When one does not within two simulated minutes.
    pub fn serve(&mut self) -> Result<(), String> {
        self.cluster.serve()
    }

    /// Ends a store's process without warning; with its machine, what was not synced may be lost. It is started again
    /// within a few simulated seconds.
    ///
    /// # Errors
    /// See [`Cluster`].
    ///
    /// # Panics
    /// When there is no such store.
    pub fn kill(&mut self, store: StoreId, machine: bool) -> Result<(), String> {
        self.cluster.kill(store, machine)
    }

    /// Lets a store's process stand still for a while.
    ///
    /// # Errors
    /// See [`Cluster`].
    ///
    /// # Panics
    /// When there is no such store.
    pub fn pause(&mut self, store: StoreId, lasts: Duration) -> Result<(), String> {
        self.cluster.pause(store, lasts)
    }

    /// Cuts a store off from everyone for a while.
    ///
    /// # Errors
    /// See [`Cluster`].
    ///
    /// # Panics
    /// When there is no such store.
    pub fn cut_off(&mut self, store: StoreId, lasts: Duration) -> Result<(), String> {
        self.cluster.cut_off(store, lasts)
    }
}
