//! Snapshots for members that the log cannot help any more: ordered, built, sent.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use region::{BuildSnapshot, CancelSnapshot, Input, SendSnapshot};
use snapshot::{BuiltSnapshot, CancelReason, Delivery, Direction, RateLimiter, SnapshotNumbers, Transfer};
use types::{Generation, PeerId, RegionId, Responder, StoreId};

use super::{Discards, SnapshotConfig};
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

struct Outbound {
    generation: Generation,
    store: StoreId,
    flight: Flight,
}

impl Outbound {
    fn waits_for(&self, order: &BuildSnapshot) -> bool {
        self.generation == order.generation && matches!(self.flight, Flight::Ordered)
    }
}

/// Snapshots on their way out: one for each member at a time.
pub(crate) struct Outgoing {
    pub(crate) config: SnapshotConfig,
    pub(crate) numbers: SnapshotNumbers,
    limiter: RateLimiter,
    flights: Mutex<BTreeMap<(RegionId, PeerId), Outbound>>,
    orders: Sender<BuildSnapshot>,
    queue: Receiver<BuildSnapshot>,
    discards: Discards,
}

impl Outgoing {
    pub(crate) fn new(
        config: SnapshotConfig,
        numbers: SnapshotNumbers,
        limiter: RateLimiter,
        discards: Discards,
    ) -> Self {
        let (orders, queue) = unbounded();
        Self { config, numbers, limiter, flights: Mutex::default(), orders, queue, discards }
    }

    pub(crate) fn queue(&self) -> &Receiver<BuildSnapshot> {
        &self.queue
    }

    /// A leader wants a snapshot built.
    pub(crate) fn order(&self, order: BuildSnapshot) {
        let entry = Outbound { generation: order.generation, store: order.to.store_id, flight: Flight::Ordered };
        let replaced = self.flights.lock().insert((order.region, order.to.id), entry);
        self.discards.discard(replaced);
        self.orders.send(order).expect("the queue's other end lives as long as this one");
    }

    /// Whether an order still stands.
    pub(crate) fn is_wanted(&self, order: &BuildSnapshot) -> bool {
        self.flights.lock().get(&(order.region, order.to.id)).is_some_and(|entry| entry.waits_for(order))
    }

    /// An order is done, or could not be: forgets it, or keeps what was built until it may leave. False when it is not
    /// wanted any more.
    pub(crate) fn built(&self, order: &BuildSnapshot, built: Option<(Arc<BuiltSnapshot>, Transfer)>) -> bool {
        let mut flights = self.flights.lock();
        let Entry::Occupied(mut found) = flights.entry((order.region, order.to.id)) else { return false };
        // Another order may stand in its place by now, and is served by itself.
        if !found.get().waits_for(order) {
            return false;
        }
        match built {
            Some((snapshot, transfer)) => found.get_mut().flight = Flight::Built(snapshot, transfer),
            None => drop(found.remove()),
        }
        true
    }

    /// A snapshot is no use any more.
    pub(crate) fn cancel(&self, shared: &Shared, cancel: CancelSnapshot) {
        let removed = self.flights.lock().remove(&(cancel.region, cancel.to));
        let Some(Outbound { store, flight, .. }) = removed else { return };
        let to_it = |transfer: &snapshot::TransferStatus| {
            transfer.direction == Direction::Outgoing
                && transfer.region == cancel.region
                && transfer.peer_store == store
        };
        shared.snapshots.transfers.cancel(to_it, CancelReason::Requested);
        // Behind the word of it: its end counts as cancelled.
        self.discards.discard(flight);
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
            let ours = |entry: &Outbound| entry.generation == generation && matches!(entry.flight, Flight::Sent);
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
