//! Snapshots for members that the log cannot help any more: ordered, built, sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use region::{BuildSnapshot, CancelSnapshot, Input, SendSnapshot};
use snapshot::{BuiltSnapshot, CancelReason, Delivery, Direction, RateLimiter, SnapshotNumbers, Transfer};
use types::{Generation, PeerId, RegionId, Responder, StoreId};

use super::SnapshotConfig;
use crate::carrier::Shipment;
use crate::shared::Shared;

/// Where a snapshot for a member stands.
pub(crate) enum Flight {
    /// It waits for the builder, or is being built.
    Ordered,
    /// It is built.
    Built(Arc<BuiltSnapshot>, Transfer),
    /// It is on its way.
    Sent,
}

struct Entry {
    generation: Generation,
    store: StoreId,
    flight: Flight,
}

/// Snapshots on their way out: one for each member at a time.
pub(crate) struct Outgoing {
    pub(crate) config: SnapshotConfig,
    pub(crate) numbers: SnapshotNumbers,
    limiter: RateLimiter,
    flights: Mutex<BTreeMap<(RegionId, PeerId), Entry>>,
    orders: Sender<BuildSnapshot>,
    queue: Receiver<BuildSnapshot>,
}

impl Outgoing {
    pub(crate) fn new(config: SnapshotConfig, numbers: SnapshotNumbers, limiter: RateLimiter) -> Self {
        let (orders, queue) = unbounded();
        Self { config, numbers, limiter, flights: Mutex::default(), orders, queue }
    }

    pub(crate) fn queue(&self) -> &Receiver<BuildSnapshot> {
        &self.queue
    }

    /// A leader wants a snapshot built.
    pub(crate) fn order(&self, order: BuildSnapshot) {
        let entry = Entry { generation: order.generation, store: order.to.store_id, flight: Flight::Ordered };
        let replaced = self.flights.lock().insert((order.region, order.to.id), entry);
        drop(replaced);
        self.orders.send(order).expect("the queue's other end lives as long as this one");
    }

    /// Whether an order still stands.
    pub(crate) fn is_wanted(&self, order: &BuildSnapshot) -> bool {
        let flights = self.flights.lock();
        let stands = |entry: &Entry| entry.generation == order.generation && matches!(entry.flight, Flight::Ordered);
        flights.get(&(order.region, order.to.id)).is_some_and(stands)
    }

    /// An order is done, or could not be: forgets it, or keeps what was built until it may leave. False when it is not
    /// wanted any more.
    pub(crate) fn built(&self, order: &BuildSnapshot, built: Option<(Arc<BuiltSnapshot>, Transfer)>) -> bool {
        if !self.is_wanted(order) {
            return false;
        }
        let mut flights = self.flights.lock();
        let key = (order.region, order.to.id);
        match (built, flights.get_mut(&key)) {
            (Some((snapshot, transfer)), Some(entry)) => entry.flight = Flight::Built(snapshot, transfer),
            (None, _) => {
                flights.remove(&key);
            }
            (Some(_), None) => return false,
        }
        true
    }

    /// A snapshot is no use any more.
    pub(crate) fn cancel(&self, shared: &Shared, cancel: CancelSnapshot) {
        let removed = self.flights.lock().remove(&(cancel.region, cancel.to));
        let Some(Entry { store, .. }) = removed else { return };
        let to_it = |transfer: &snapshot::TransferStatus| {
            transfer.direction == Direction::Outgoing
                && transfer.region == cancel.region
                && transfer.peer_store == store
        };
        shared.snapshots.transfers.cancel(to_it, CancelReason::Requested);
    }

    /// Hands a snapshot that was built to the carrier.
    pub(crate) fn send(&self, shared: &Arc<Shared>, send: SendSnapshot) {
        let SendSnapshot { generation, message, .. } = send;
        let (region, to) = (message.region, message.to);
        let mut flights = self.flights.lock();
        let built = flights.get_mut(&(region, to.id)).filter(|entry| entry.generation == generation);
        let built = built.map(|entry| std::mem::replace(&mut entry.flight, Flight::Sent));
        drop(flights);
        let told = Arc::downgrade(shared);
        let outcome = Responder::new(move |delivered: Option<()>| {
            let Some(shared) = told.upgrade() else { return };
            let mut flights = shared.snapshots.outgoing.flights.lock();
            let ours = |entry: &Entry| entry.generation == generation && matches!(entry.flight, Flight::Sent);
            if flights.get(&(region, to.id)).is_some_and(ours) {
                flights.remove(&(region, to.id));
            }
            drop(flights);
            let input = Input::SnapshotSent { generation, to: to.id, delivered: delivered.is_some() };
            // A region that is gone needs no completion.
            let _ = shared.raft.force_send(region.0, input.into());
        });
        let Some(Flight::Built(snapshot, transfer)) = built else { return };
        let now = shared.around.clock.now();
        let delivery = Delivery::begin(snapshot, transfer, self.limiter.clone(), self.config.send, now);
        shared.around.carrier.carry(Shipment { to: to.store_id, message, delivery, outcome });
    }
}
