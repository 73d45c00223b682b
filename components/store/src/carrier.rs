//! Where snapshots leave the store.

use region::RegionMessage;
use snapshot::Delivery;
use types::{Responder, StoreId};

/// Told `Some` when a snapshot arrived, `None` when it did not.
pub type DeliveryResponder = Responder<Option<()>>;

/// Carries snapshots to other stores, beside the [`Outbox`](crate::Outbox) that carries messages: on a stream of their own,
/// with flow control.
pub trait SnapshotCarrier: Send + Sync + 'static {
    /// Takes a snapshot to its receiver. Must not block: it is driven elsewhere, and ends by [`Shipment::end`].
    fn carry(&self, shipment: Shipment);
}

/// A snapshot on its way out: the head that the receiver's store judges, and what drives the data behind it.
pub struct Shipment {
    /// The receiver's store.
    pub to: StoreId,
    /// Raft's message. The receiver's peer gets it once the data is there and verified.
    pub message: RegionMessage,
    /// The data.
    pub delivery: Delivery,
    /// Told whether it arrived.
    pub(crate) outcome: DeliveryResponder,
}

impl Shipment {
    /// Takes it apart: message, data, and whom to tell whether it was delivered. Dropping the responder says that it was not.
    pub fn into_parts(self) -> (RegionMessage, Delivery, DeliveryResponder) {
        (self.message, self.delivery, self.outcome)
    }

    /// Tells how it ended.
    pub fn end(self, delivered: bool) {
        self.outcome.respond(delivered.then_some(()));
    }
}

/// The carrier of a store without neighbours: nothing arrives.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCarrier;

impl SnapshotCarrier for NoCarrier {
    fn carry(&self, shipment: Shipment) {
        shipment.end(false);
    }
}
