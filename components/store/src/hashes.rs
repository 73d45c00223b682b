//! Regions that are to be hashed, so that their replicas can be compared.

use crossbeam_channel::{Receiver, Sender, unbounded};
use engine::HashTask;
use types::Generation;

/// A region to hash, and the `RawNode` that asks.
pub(crate) struct HashOrder {
    pub(crate) generation: Generation,
    pub(crate) task: HashTask,
}

/// The queue of regions to hash; bounded by the number of regions, since each `RawNode` asks for one at a time.
pub(crate) struct Hashes {
    orders: Sender<HashOrder>,
    queue: Receiver<HashOrder>,
}

impl Default for Hashes {
    fn default() -> Self {
        let (orders, queue) = unbounded();
        Self { orders, queue }
    }
}

impl Hashes {
    pub(crate) fn order(&self, order: HashOrder) {
        self.orders.send(order).expect("the queue's other end lives as long as this one");
    }

    pub(crate) fn queue(&self) -> &Receiver<HashOrder> {
        &self.queue
    }
}
