//! Programs that live in the stores' processes: the layers that others build on an embedded store.
//!
//! A guest begins when its store is open, does something whenever its process does, and ends with the process, without
//! warning. It reaches guests of other stores by [`Host::carry`], over the same wires and through the same faults as
//! everything else.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use runtime::clock::Clock;
use store::WeakStoreHandle;
use types::{Instant, StoreId};

use crate::cell::{Life, Outgoing};
use crate::node::Running;

/// A store's process as its guests see it. Clones are the same process.
#[derive(Clone)]
pub struct Host {
    store: WeakStoreHandle,
    life: Life,
}

impl Host {
    pub(crate) fn of(running: &Running) -> Self {
        Self { store: running.stepper.handle().downgrade(), life: running.life.clone() }
    }

    /// The store's id.
    pub fn id(&self) -> StoreId {
        self.life.cell.store
    }

    /// The store. Its engines stay open for as long as somebody holds what this upgrades to: guests hold it no longer
    /// than their process lives.
    pub fn store(&self) -> &WeakStoreHandle {
        &self.store
    }

    /// The process's own clock, which drifts and jumps.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.life.cell.clock.clone())
    }

    /// Has something done in the process of another store, or of this one. It travels over the network, and may be
    /// lost without a word. What a dead process sends goes nowhere.
    pub fn carry(&self, to: StoreId, errand: impl FnOnce(&Host) + Send + 'static) {
        self.life.give(Outgoing::Errand(to, Errand(Arc::new(Mutex::new(Some(Box::new(errand)))))));
    }
}

type Task = Box<dyn FnOnce(&Host) + Send>;

/// Something to be done in another process, once.
#[derive(Clone)]
pub(crate) struct Errand(Arc<Mutex<Option<Task>>>);

impl Errand {
    pub(crate) fn run(self, host: &Host) {
        let errand = self.0.lock().take();
        if let Some(errand) = errand {
            errand(host);
        }
    }
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Errand")
    }
}

/// The guests of all stores of a cluster.
pub trait Guests {
    /// A store is open in a new process.
    fn moved_in(&mut self, host: Host);

    /// A store's process is gone, or about to go. Whatever of its store is held must be let go of.
    fn moved_out(&mut self, store: StoreId);

    /// Lets a store's guests go on, if they can. Returns the next moment, by the process's own clock, at which they want
    /// to be called again whatever happens.
    fn run(&mut self, store: StoreId) -> Option<Instant>;
}

/// Nothing lives beside the stores.
pub(crate) struct NoGuests;

impl Guests for NoGuests {
    fn moved_in(&mut self, _: Host) {}

    fn moved_out(&mut self, _: StoreId) {}

    fn run(&mut self, _: StoreId) -> Option<Instant> {
        None
    }
}
