//! Which heartbeat stream belongs to which store, so that orders find their way.

use std::collections::BTreeMap;
use std::sync::Arc;

use coordinator::OrderSink;
use parking_lot::Mutex;
use placement::RegionOrder;
use proto::pdpb::RegionHeartbeatResponse;
use tokio::sync::mpsc;
use types::StoreId;

use super::convert;

/// Most orders that wait for one store to read them.
pub const ORDERS_CAPACITY: usize = 1024;

/// Why an order was not sent. It is lost: whoever gave it gives a new one once the region reports again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No stream of the store is open.
    #[error("store {store} has no heartbeat stream: wait for its next region heartbeat")]
    NotConnected {
        /// The store.
        store: StoreId,
    },
    /// The store does not read its orders.
    #[error("store {store} has {ORDERS_CAPACITY} orders waiting: wait until it reads them")]
    Full {
        /// The store.
        store: StoreId,
    },
}

/// The open heartbeat streams by store; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct OrderStreams(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    last_number: u64,
    streams: BTreeMap<StoreId, OpenStream>,
}

#[derive(Clone, Debug)]
struct OpenStream {
    number: u64,
    orders: mpsc::Sender<RegionHeartbeatResponse>,
}

impl OrderStreams {
    /// Sends an order to a store, on its newest stream. Never waits. The header is filled in on the way.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn send(&self, store: StoreId, order: RegionHeartbeatResponse) -> Result<(), OrderError> {
        let orders = self.0.lock().streams.get(&store).map(|stream| stream.orders.clone());
        let orders = orders.ok_or(OrderError::NotConnected { store })?;
        orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => OrderError::Full { store },
            mpsc::error::TrySendError::Closed(_) => OrderError::NotConnected { store },
        })
    }

    /// The stores that have a stream.
    pub fn stores(&self) -> Vec<StoreId> {
        self.0.lock().streams.keys().copied().collect()
    }

    /// A place for a new stream, which belongs to no store yet.
    pub(super) fn open(&self) -> (Binding, mpsc::Receiver<RegionHeartbeatResponse>) {
        let (orders, receiver) = mpsc::channel(ORDERS_CAPACITY);
        let mut open = self.0.lock();
        open.last_number += 1;
        let stream = OpenStream { number: open.last_number, orders };
        (Binding { streams: self.clone(), stream, store: None }, receiver)
    }
}

impl OrderSink for OrderStreams {
    /// To the store of the region's leader. Where that is not connected or does not read, the order is lost: it is given
    /// again when the region reports.
    fn order(&self, order: RegionOrder) {
        let store = order.leader.store_id;
        let _ = self.send(store, convert::region_order(order));
    }
}

/// A stream's place among the open ones, given up when it is dropped.
#[derive(Debug)]
pub(super) struct Binding {
    streams: OrderStreams,
    stream: OpenStream,
    store: Option<StoreId>,
}

impl Binding {
    /// The stream belongs to a store: it brought a report of one of its leaders. An older stream of the store, whose end
    /// nobody noticed, gets no more orders.
    pub(super) fn bind(&mut self, store: StoreId) {
        if self.store != Some(store) {
            self.unbind();
            self.store = Some(store);
        }
        let mut open = self.streams.0.lock();
        let is_bound = open.streams.get(&store).is_some_and(|bound| bound.number == self.stream.number);
        if !is_bound {
            open.streams.insert(store, self.stream.clone());
        }
    }

    fn unbind(&mut self) {
        let Some(store) = self.store.take() else { return };
        let mut open = self.streams.0.lock();
        if open.streams.get(&store).is_some_and(|bound| bound.number == self.stream.number) {
            open.streams.remove(&store);
        }
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        self.unbind();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn order(region_id: u64) -> RegionHeartbeatResponse {
        RegionHeartbeatResponse { region_id, ..Default::default() }
    }

    fn next(orders: &mut mpsc::Receiver<RegionHeartbeatResponse>) -> Option<u64> {
        orders.try_recv().ok().map(|order| order.region_id)
    }

    #[test]
    fn orders_go_to_the_newest_stream_of_their_store() {
        let (streams, store) = (OrderStreams::default(), StoreId(1));
        assert_eq!(streams.send(store, order(1)), Err(OrderError::NotConnected { store }));
        let (mut older, mut to_older) = streams.open();
        let (mut newer, mut to_newer) = streams.open();
        older.bind(store);
        newer.bind(store);
        streams.send(store, order(2)).unwrap();
        assert_eq!((next(&mut to_older), next(&mut to_newer)), (None, Some(2)));
        drop(older);
        streams.send(store, order(3)).unwrap();
        assert_eq!(next(&mut to_newer), Some(3), "the older one's end takes nothing from the newer one");
        drop(newer);
        assert_eq!(streams.send(store, order(4)), Err(OrderError::NotConnected { store }));
        assert_eq!(streams.stores(), []);
    }

    #[test]
    fn a_stream_belongs_to_one_store_at_a_time() {
        let streams = OrderStreams::default();
        let (mut binding, _orders) = streams.open();
        binding.bind(StoreId(1));
        binding.bind(StoreId(2));
        assert_eq!(streams.stores(), [StoreId(2)]);
    }

    #[test]
    fn a_store_that_does_not_read_is_given_no_more() {
        let (streams, store) = (OrderStreams::default(), StoreId(1));
        let (mut binding, mut orders) = streams.open();
        binding.bind(store);
        let sent = (0..).take_while(|_| streams.send(store, order(7)).is_ok()).count();
        assert_eq!(sent, ORDERS_CAPACITY);
        assert_eq!(streams.send(store, order(7)), Err(OrderError::Full { store }));
        assert_eq!(next(&mut orders), Some(7));
        assert_eq!(streams.send(store, order(7)), Ok(()));
    }
}
