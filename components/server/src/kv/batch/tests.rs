#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use bytes::Bytes;
use engine::StoreIdent;
use engine::memory::MemDisk;
use futures::stream;
use observe::{Registry, ServerMetrics, StoreMetrics};
use proto::kvrpcpb::{Context as RegionContext, RawGetRequest, RawPutRequest};
use region::{RegionMessage, Role};
use runtime::clock::ManualClock;
use store::layout::static_regions;
use store::{Engines, Outbox, RegionView, Stepper, Store, StoreConfig, StoreError, StoreObserver, Surroundings};
use types::{ClusterId, InstanceId, RegionDescriptor, StoreId};

use super::*;
use crate::kv::{KvConfig, TikvService};
use crate::moves::{SplitReports, Splits};

struct Nobody;

impl Outbox for Nobody {
    fn send(&self, _: RegionMessage) -> bool {
        false
    }

    fn flush(&self) {}
}

impl StoreObserver for Nobody {
    fn region_changed(&self, _: &RegionView) {}

    fn store_failed(&self, error: &StoreError) {
        panic!("{error}");
    }
}

impl SplitReports for Nobody {
    fn made(&self, _: Vec<RegionDescriptor>) {}
}

/// A store of one region that does something only when it is told to, so that a test sees what is under way.
fn store() -> (Stepper, RegionContext) {
    let disk = MemDisk::default();
    let engines = Engines::in_memory(&disk).unwrap();
    let regions = static_regions(&[StoreId(1)], &[]).unwrap();
    let ident = StoreIdent { cluster: ClusterId(7), store: StoreId(1), instance: InstanceId(1) };
    store::bootstrap(&engines, ident, &regions).unwrap();
    let around = Surroundings {
        outbox: Arc::new(Nobody),
        carrier: Arc::new(store::NoCarrier),
        observer: Arc::new(Nobody),
        clock: Arc::new(ManualClock::new()),
        metrics: Arc::new(StoreMetrics::new(&Registry::new(), StoreId(1))),
        logger: observe::discard_logger(),
    };
    let mut stepper = Store::open(StoreConfig::default(), engines, around).unwrap().into_stepper().unwrap();
    while stepper.handle().regions()[0].role != Role::Leader {
        stepper.tick();
        stepper.run_until_idle();
    }
    let region_epoch = Some(regions[0].epoch.into());
    (stepper, RegionContext { region_id: regions[0].id.0, region_epoch, ..Default::default() })
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Messages = stream::BoxStream<'static, Result<BatchCommandsRequest, Status>>;

struct Test {
    stepper: Stepper,
    metrics: Arc<ServerMetrics>,
    wakes: Arc<Wakes>,
    stream: Option<BatchStream<Messages>>,
}

impl Test {
    /// A stream with this bound, over which messages of so many puts each come at once, and then nothing more.
    fn new(bound: usize, messages: &[u64]) -> Self {
        let (stepper, context) = store();
        let mut next_id = 0;
        let messages: Vec<_> = messages
            .iter()
            .map(|puts| {
                let ids = next_id..next_id + puts;
                next_id += puts;
                Ok(message(ids, |id| put(&context, id)))
            })
            .collect();
        let messages = stream::iter(messages).chain(stream::pending()).boxed();
        Self::of(stepper, bound, messages)
    }

    fn of(stepper: Stepper, bound: usize, messages: Messages) -> Self {
        let metrics = Arc::new(ServerMetrics::new(&Registry::new(), StoreId(1)));
        let config = KvConfig { max_requests_per_stream: bound, ..KvConfig::default() };
        let (store, logger) = (stepper.handle(), observe::discard_logger());
        let splits = Splits::new(store.clone(), Arc::new(Nobody), logger.clone());
        let service = TikvService::new(store, splits, config, Arc::clone(&metrics), logger);
        let stream = Some(service.open_stream(messages));
        Self { stepper, metrics, wakes: Arc::default(), stream }
    }

    /// The ids of the next message; `None` while there is none.
    fn poll(&mut self) -> Option<Vec<u64>> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        match self.stream.as_mut().unwrap().poll_next_unpin(&mut Context::from_waker(&waker)) {
            Poll::Ready(message) => Some(message.unwrap().unwrap().request_ids),
            Poll::Pending => None,
        }
    }

    fn under_way(&self) -> i64 {
        self.metrics.in_flight[RequestType::RawPut].get()
    }

    fn wakes(&self) -> usize {
        self.wakes.0.swap(0, Ordering::SeqCst)
    }
}

fn message(ids: std::ops::Range<u64>, command: impl Fn(u64) -> Command) -> BatchCommandsRequest {
    let requests = ids.clone().map(|id| Request { cmd: Some(command(id)) }).collect();
    BatchCommandsRequest { requests, request_ids: ids.collect(), client_send_time_ns: 0 }
}

fn put(context: &RegionContext, id: u64) -> Command {
    let key = Bytes::from(id.to_string());
    Command::RawPut(RawPutRequest { context: Some(context.clone()), key, ..Default::default() })
}

#[test]
fn requests_beyond_the_bound_are_not_begun() {
    let mut test = Test::new(3, &[5, 2]);
    assert_eq!(test.poll(), None);
    assert_eq!(test.under_way(), 3);
    assert_eq!(test.poll(), None);
    assert_eq!(test.under_way(), 3);
    test.stepper.run_until_idle();
    assert_eq!(test.poll(), Some(vec![0, 1, 2]));
    assert_eq!(test.poll(), None);
    assert_eq!(test.under_way(), 3, "answers that were sent made room");
    test.stepper.run_until_idle();
    assert_eq!(test.poll(), Some(vec![3, 4, 5]));
    assert_eq!(test.poll(), None);
    test.stepper.run_until_idle();
    assert_eq!(test.poll(), Some(vec![6]));
    assert_eq!(test.under_way(), 0);
}

#[test]
fn what_one_round_answers_wakes_the_stream_once_and_leaves_in_one_message() {
    let mut test = Test::new(1000, &[100]);
    assert_eq!(test.poll(), None);
    assert_eq!(test.wakes(), 0);
    test.stepper.run_until_idle();
    assert_eq!(test.wakes(), 1);
    assert_eq!(test.poll().unwrap().len(), 100);
    assert_eq!(test.poll(), None);
    assert_eq!(test.wakes(), 0);
}

#[test]
fn a_broken_stream_lets_its_requests_go() {
    let mut test = Test::new(1000, &[10]);
    assert_eq!(test.poll(), None);
    assert_eq!((test.under_way(), test.metrics.batch_streams.get()), (10, 1));
    test.stream = None;
    test.stepper.run_until_idle();
    assert_eq!((test.under_way(), test.metrics.batch_streams.get()), (0, 0));
}

#[test]
fn reads_are_done_by_the_stream_and_not_by_the_store() {
    let (stepper, context) = store();
    let get = |id: u64| {
        let key = Bytes::from(id.to_string());
        Command::RawGet(RawGetRequest { context: Some(context.clone()), key, ..Default::default() })
    };
    let messages = stream::iter([Ok(message(0..10, get))]).chain(stream::pending()).boxed();
    let mut test = Test::of(stepper, 1000, messages);
    assert_eq!(test.poll(), None);
    test.stepper.run_until_idle();
    assert_eq!(test.metrics.in_flight[RequestType::RawGet].get(), 10, "the store gave snapshots only");
    assert_eq!(test.poll().unwrap().len(), 10);
    assert_eq!(test.metrics.in_flight[RequestType::RawGet].get(), 0);
}
