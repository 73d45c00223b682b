//! Who lives in which process, and how they are made to go on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use embed::{Attached, Store, Timers};
use futures::executor::LocalPool;
use futures::future::LocalBoxFuture;
use observe::Registry;
use sim::{Guests, Host};
use types::seed::{Rng, Seed};
use types::{Instant, StoreId};

use super::network::WireNetwork;
use super::node::Node;

/// What is started in every process when it begins.
type Program = Box<dyn Fn(Node) -> LocalBoxFuture<'static, ()>>;

/// Everyone who lives in a process. Clones are the same.
#[derive(Clone)]
pub(super) struct Residents(Rc<RefCell<Inner>>);

struct Inner {
    seed: Seed,
    timeout: Duration,
    /// Counts processes, for their streams of chance.
    processes: u64,
    programs: Vec<Program>,
    homes: BTreeMap<StoreId, Home>,
}

struct Home {
    node: Node,
    pool: LocalPool,
    timers: Timers,
    network: WireNetwork,
}

impl Residents {
    pub(super) fn new(seed: u64, timeout: Duration) -> Self {
        let inner = Inner { seed: Seed(seed), timeout, processes: 0, programs: Vec::new(), homes: BTreeMap::new() };
        Self(Rc::new(RefCell::new(inner)))
    }

    /// Starts a program in every process that runs, and in each that will.
    pub(super) fn add_program<F>(&self, program: impl Fn(Node) -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let program: Program = Box::new(move |node| Box::pin(program(node)));
        let mut inner = self.0.borrow_mut();
        for home in inner.homes.values() {
            home.start(&program);
        }
        inner.programs.push(program);
    }

    /// The process of a store, if it runs.
    pub(super) fn node(&self, store: StoreId) -> Option<Node> {
        self.0.borrow().homes.get(&store).map(|home| home.node.clone())
    }

    fn remove(&self, store: StoreId) -> Option<Home> {
        self.0.borrow_mut().homes.remove(&store)
    }
}

impl Home {
    fn start(&self, program: &Program) {
        self.node.spawn(program(self.node.clone()));
    }
}

impl Guests for Residents {
    fn moved_in(&mut self, host: Host) {
        // Gone again in the same breath: there is nothing to live in.
        let Some(store) = host.store().upgrade() else { return };
        let mut inner = self.0.borrow_mut();
        inner.processes += 1;
        let chance = Rng::new(inner.seed.hash(&[host.id().0, inner.processes]));
        let (pool, timers) = (LocalPool::new(), Timers::new(host.clock()));
        let network = WireNetwork::new(host.clone());
        let store = Store::attach(Attached {
            store,
            network: Arc::new(network.clone()),
            timers: timers.clone(),
            timeout: inner.timeout,
            metrics: Registry::new(),
        });
        let node = Node::new(host.id(), store, timers.clone(), host.clock(), pool.spawner(), chance);
        let home = Home { node, pool, timers, network };
        for program in &inner.programs {
            home.start(program);
        }
        inner.homes.insert(host.id(), home);
    }

    fn moved_out(&mut self, store: StoreId) {
        // Dropped outside of the borrow: what programs do when they are dropped is their affair.
        let home = self.remove(store);
        if let Some(home) = &home {
            home.network.close();
        }
        drop(home);
    }

    fn run(&mut self, store: StoreId) -> Option<Instant> {
        // Taken out while its programs run, so that they are not in the way of anybody.
        let mut home = self.remove(store)?;
        home.timers.beat();
        home.pool.run_until_stalled();
        let next = home.timers.next();
        self.0.borrow_mut().homes.insert(store, home);
        next
    }
}
