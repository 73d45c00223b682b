//! A store's process, as the programs in it see it.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use embed::{Store, Timers};
use futures::executor::LocalSpawner;
use futures::task::LocalSpawnExt;
use runtime::clock::Clock;
use types::seed::Rng;
use types::{Instant, StoreId};

/// A store's process. Programs that run in it share it by cloning; when the process ends they are dropped wherever they
/// wait. Whoever keeps a clone of it beyond that keeps a dead store.
#[derive(Clone)]
pub struct Node(Rc<Inner>);

struct Inner {
    id: StoreId,
    store: Store,
    timers: Timers,
    clock: std::sync::Arc<dyn Clock>,
    spawner: LocalSpawner,
    chance: RefCell<Rng>,
}

impl Node {
    pub(super) fn new(
        id: StoreId,
        store: Store,
        timers: Timers,
        clock: std::sync::Arc<dyn Clock>,
        spawner: LocalSpawner,
        chance: Rng,
    ) -> Self {
        Self(Rc::new(Inner { id, store, timers, clock, spawner, chance: RefCell::new(chance) }))
    }

    /// The store's id.
    pub fn id(&self) -> StoreId {
        self.0.id
    }

    /// The store. Its operations are awaited; [`Operation::wait`](crate::Operation::wait) would block the simulation for
    /// ever.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// What the process's own clock shows. It drifts and jumps, and begins anywhere.
    pub fn now(&self) -> Instant {
        self.0.clock.now()
    }

    /// Waits by the process's own clock.
    pub async fn sleep(&self, duration: Duration) {
        self.0.timers.sleep(duration).await;
    }

    /// A number from the seed.
    pub fn random(&self) -> u64 {
        self.0.chance.borrow_mut().next_u64()
    }

    /// Starts another program in the same process.
    pub fn spawn(&self, program: impl Future<Output = ()> + 'static) {
        self.0.spawner.spawn_local(program).expect("the process is there while something runs in it");
    }
}
