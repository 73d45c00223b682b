//! Where everything that happens is written down, in the order in which it takes effect.

use std::sync::Arc;

use parking_lot::Mutex;
use types::{Instant, StoreId};

use crate::observation::{Event, Observation};
use crate::trace::{Kind, Trace};

struct Inner {
    now: Instant,
    trace: Trace,
    requests: u64,
    observations: Vec<Observation>,
}

/// The one place that nodes, engines and the network write to. Clones are the same place.
///
/// The lock is never contended: one thread runs the whole cluster. It is there because engines and outboxes must be
/// shareable by their traits.
#[derive(Clone)]
pub(crate) struct Recorder(Arc<Mutex<Inner>>);

impl Recorder {
    pub(crate) fn new(aloud: bool) -> Self {
        let inner = Inner { now: Instant::ORIGIN, trace: Trace::new(aloud), requests: 0, observations: Vec::new() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Moves the simulation's clock on.
    pub(crate) fn set_now(&self, now: Instant) {
        self.0.lock().now = now;
    }

    /// Takes down what the checkers are to see.
    pub(crate) fn observe(&self, store: StoreId, event: Event) {
        let mut inner = self.0.lock();
        let at = inner.now;
        inner.observations.push(Observation { at, store, event });
    }

    /// A number that no other request has.
    pub(crate) fn number_request(&self) -> u64 {
        let mut inner = self.0.lock();
        inner.requests += 1;
        inner.requests
    }

    /// What nobody has seen yet.
    pub(crate) fn take(&self, into: &mut Vec<Observation>) {
        into.append(&mut self.0.lock().observations);
    }

    /// Takes a note for the trace.
    pub(crate) fn note(&self, node: u64, kind: Kind, numbers: &[u64]) {
        let mut inner = self.0.lock();
        let at = inner.now;
        inner.trace.note(at, node, kind, numbers);
    }

    /// Takes a note with text for the trace.
    pub(crate) fn tell(&self, node: u64, name: &'static str, text: String) {
        let mut inner = self.0.lock();
        let at = inner.now;
        inner.trace.tell(at, node, Kind { name, numbers: "" }, text);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.0.lock().trace.digest()
    }

    pub(crate) fn read(&self) -> String {
        self.0.lock().trace.read()
    }
}
