//! Stores that split their regions by themselves, stepped on one thread.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use engine::memory::CrashPoint;
use parking_lot::Mutex;
use region::Role;
use store::{RegionIds, SplitConfig, SplitIds, SplitIdsAnswer, StoreConfig};
use support::{Answer, Cluster, SECOND};
use types::request::Unanswered;
use types::{
    ColumnFamily, CommandOutput, KeyRange, RegionDescriptor, RegionId, RequestError, RequestHeader, Responder,
    WriteResult,
};

/// Ids that all stores of a cluster share.
#[derive(Clone)]
struct Ids(Arc<AtomicU64>);

impl SplitIds for Ids {
    fn ask(&self, region: &RegionDescriptor, count: usize, responder: Responder<Option<SplitIdsAnswer>>) {
        let next = || self.0.fetch_add(1, Ordering::Relaxed);
        let ids = (0..count)
            .map(|_| RegionIds { region: next().into(), peers: region.peers.iter().map(|_| next().into()).collect() });
        responder.respond(Some(ids.collect()));
    }
}

/// Keeps who asks waiting, or sends everyone away.
#[derive(Default)]
struct NoIds {
    keeps: bool,
    kept: Mutex<Vec<Responder<Option<SplitIdsAnswer>>>>,
    asked: AtomicU64,
}

impl SplitIds for NoIds {
    fn ask(&self, _: &RegionDescriptor, _: usize, responder: Responder<Option<SplitIdsAnswer>>) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.keeps {
            self.kept.lock().push(responder);
        }
    }
}

fn config(split: SplitConfig) -> StoreConfig {
    StoreConfig { split, ..StoreConfig::default() }
}

/// Regions of at most 15 kB, cut into parts of 10.
fn by_size() -> SplitConfig {
    SplitConfig::default().never().with_region_bytes(10_000)
}

/// Regions of at most 150 keys, cut into parts of 100.
fn by_keys() -> SplitConfig {
    SplitConfig::default().never().with_region_keys(100)
}

/// Regions with at most 100 requests per second, twice in a row.
fn by_load() -> SplitConfig {
    SplitConfig { busy_requests_per_second: 100, busy_checks: 2, ..SplitConfig::default().never() }
}

fn cluster(split: SplitConfig) -> Cluster {
    let mut cluster = Cluster::with_config(3, 1, config(split));
    attach(&cluster, Arc::new(Ids(Arc::new(AtomicU64::new(5_000)))));
    cluster.elect_all();
    cluster
}

fn attach(cluster: &Cluster, ids: Arc<dyn SplitIds>) {
    (0..cluster.nodes.len()).for_each(|at| cluster.handle(at).attach_split_ids(Arc::clone(&ids)));
}

fn check(cluster: &mut Cluster) {
    for node in &mut cluster.nodes {
        node.stepper.as_mut().unwrap().run_split_check();
    }
    cluster.settle();
}

/// The store that leads the region of a key, and the region.
fn leader(cluster: &mut Cluster, key: &str) -> (usize, Arc<RegionDescriptor>) {
    let find = |cluster: &Cluster| {
        (0..cluster.nodes.len()).find_map(|at| {
            let view = cluster.handle(at).region_at(key.as_bytes())?;
            (view.role == Role::Leader).then_some((at, view.descriptor))
        })
    };
    cluster.tick_until("a leader", |cluster| find(cluster).is_some());
    find(cluster).unwrap()
}

fn header(region: &RegionDescriptor) -> RequestHeader {
    RequestHeader { region_id: region.id, epoch: region.epoch, ..RequestHeader::default() }
}

fn put(cluster: &mut Cluster, key: &str, bytes: usize) {
    let (at, region) = leader(cluster, key);
    let (answer, slot) = answer();
    let command = apply::build::batch(vec![apply::build::put(ColumnFamily::Default, key.to_owned(), vec![7; bytes])]);
    cluster.handle(at).write(header(&region), command, slot);
    cluster.settle();
    let answer: Option<WriteResult> = answer.lock().unwrap().take();
    assert_eq!(answer, Some(Ok(CommandOutput::Written)), "{key}");
}

fn answer<T: Unanswered + Send + 'static>() -> (Answer<T>, Responder<T>) {
    let answer: Answer<T> = Answer::default();
    let slot = Arc::clone(&answer);
    (answer, Responder::new(move |given| *slot.lock().unwrap() = Some(given)))
}

fn ranges(cluster: &Cluster, at: usize) -> Vec<KeyRange> {
    cluster.handle(at).regions().into_iter().map(|view| view.descriptor.range.clone()).collect()
}

/// All stores agree on regions that follow each other without a gap.
fn whole(cluster: &mut Cluster, regions: usize) {
    cluster.tick_until("all stores to split", |cluster| {
        (1..3).all(|at| ranges(cluster, at) == ranges(cluster, 0)) && ranges(cluster, 0).len() == regions
    });
    let ranges = ranges(cluster, 0);
    assert!(ranges[0].start.is_empty() && ranges.last().unwrap().end.is_empty());
    assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start), "{ranges:?}");
    assert!(cluster.failures.lock().unwrap().is_empty());
}

fn count(cluster: &mut Cluster) -> usize {
    let (at, _) = leader(cluster, "");
    ranges(cluster, at).len()
}

#[test]
fn a_region_that_grows_is_cut_into_parts_of_the_wanted_size() {
    let mut cluster = cluster(by_size());
    check(&mut cluster);
    for at in 0..50 {
        put(&mut cluster, &format!("key{at:03}"), 1_000);
    }
    assert_eq!(count(&mut cluster), 1, "nobody looks by itself");
    check(&mut cluster);
    whole(&mut cluster, 5);
    for range in ranges(&cluster, 0) {
        let bytes = cluster.handle(0).engines().state.approximate_bytes(&range).unwrap();
        assert!((5_000..15_000).contains(&bytes), "{range} has {bytes} bytes");
    }
    for _ in 0..3 {
        check(&mut cluster);
    }
    whole(&mut cluster, 5);
    let (at, region) = leader(&mut cluster, "key000");
    let size = cluster.handle(at).region_size(region.id).unwrap();
    assert!((5..15).contains(&size.keys) && size.bytes > 5_000, "{size:?} is what is reported");
}

#[test]
fn a_region_of_many_small_keys_is_cut_by_their_number() {
    let mut cluster = cluster(by_keys());
    check(&mut cluster);
    for at in 0..149 {
        put(&mut cluster, &format!("key{at:03}"), 1);
    }
    check(&mut cluster);
    assert_eq!(count(&mut cluster), 1, "it may have half as many again");
    for at in 149..310 {
        put(&mut cluster, &format!("key{at:03}"), 1);
    }
    check(&mut cluster);
    whole(&mut cluster, 3);
}

#[test]
fn a_split_has_a_bounded_number_of_keys_and_goes_on_with_the_next_look() {
    let mut cluster = cluster(SplitConfig { keys_per_split: 2, ..by_size() });
    for at in 0..60 {
        put(&mut cluster, &format!("key{at:03}"), 1_000);
    }
    check(&mut cluster);
    assert_eq!(count(&mut cluster), 3, "two keys at once");
    check(&mut cluster);
    assert_eq!(count(&mut cluster), 5);
    check(&mut cluster);
    whole(&mut cluster, 6);
}

/// Makes requests for a second: as many as are asked for, for keys by their number.
fn load(cluster: &mut Cluster, requests: u64, key: impl Fn(u64) -> u64, reads: bool) {
    for request in 0..requests {
        let name = format!("key{:03}", key(request));
        if reads {
            let (at, region) = leader(cluster, &name);
            let range = KeyRange { end: format!("{name}\0").into(), start: name.into() };
            cluster.handle(at).note_read(region.id, &range, 1, 10);
        } else {
            put(cluster, &name, 10);
        }
    }
    cluster.clock.advance(SECOND);
    check(cluster);
}

#[test]
fn a_busy_region_is_cut_where_its_load_is() {
    for reads in [false, true] {
        let mut cluster = cluster(by_load());
        check(&mut cluster);
        load(&mut cluster, 300, |at| 500 + at % 100, reads);
        assert_eq!(count(&mut cluster), 1, "busy once may be chance");
        load(&mut cluster, 300, |at| 500 + at % 100, reads);
        whole(&mut cluster, 2);
        let key = ranges(&cluster, 0)[1].start.clone();
        assert!(key > "key525" && key < "key575", "{key:?}");
    }
}

#[test]
fn a_hot_key_is_not_cut_off_and_a_quiet_region_stays() {
    let mut hot = cluster(by_load());
    check(&mut hot);
    for _ in 0..5 {
        load(&mut hot, 300, |_| 500, true);
    }
    assert_eq!(count(&mut hot), 1);
    let mut quiet = cluster(by_load());
    check(&mut quiet);
    for second in 0..5 {
        // Busy now and then, but never twice in a row.
        load(&mut quiet, if second % 2 == 0 { 300 } else { 90 }, |at| 500 + at % 100, true);
    }
    assert_eq!(count(&mut quiet), 1);
}

#[test]
fn without_ids_a_region_waits_and_is_split_later() {
    let mut cluster = Cluster::with_config(3, 1, config(by_size()));
    cluster.elect_all();
    for at in 0..30 {
        put(&mut cluster, &format!("key{at:03}"), 1_000);
    }
    check(&mut cluster);
    assert_eq!(count(&mut cluster), 1, "nobody hands out ids");
    let none = Arc::new(NoIds::default());
    attach(&cluster, none.clone());
    put(&mut cluster, "key030", 1_000);
    for asked in 1..=3 {
        check(&mut cluster);
        assert_eq!(none.asked.load(Ordering::Relaxed), asked, "asked once with each look");
    }
    let silent = Arc::new(NoIds { keeps: true, ..NoIds::default() });
    attach(&cluster, silent.clone());
    for at in 31..34 {
        check(&mut cluster);
        put(&mut cluster, &format!("key{at:03}"), 1_000);
    }
    check(&mut cluster);
    assert_eq!(silent.asked.load(Ordering::Relaxed), 1, "one split at once");
    attach(&cluster, Arc::new(Ids(Arc::new(AtomicU64::new(5_000)))));
    check(&mut cluster);
    assert_eq!(count(&mut cluster), 1, "the answer may still come");
    cluster.clock.advance(Duration::from_secs(60));
    check(&mut cluster);
    whole(&mut cluster, 3);
    // The ids that come in the end are for a region that is gone.
    let kept = silent.kept.lock().pop().unwrap();
    kept.respond(Some(vec![
        RegionIds {
            region: RegionId(9_000),
            peers: vec![9_001.into(), 9_002.into(), 9_003.into()]
        };
        2
    ]));
    cluster.settle();
    whole(&mut cluster, 3);
}

#[test]
fn keys_are_split_at_by_hand() {
    let mut cluster = cluster(SplitConfig::default().never());
    put(&mut cluster, "key500", 10);
    let (at, region) = leader(&mut cluster, "");
    let split = |cluster: &mut Cluster, at: usize, region: &RegionDescriptor, keys: &[&'static str]| {
        let (result, slot) = answer();
        let keys = keys.iter().map(|key| Bytes::from(*key)).collect();
        cluster.handle(at).split_at(region.id, region.epoch, keys, slot);
        cluster.settle();
        let result: Option<Result<Vec<RegionDescriptor>, RequestError>> = result.lock().unwrap().take();
        result.unwrap()
    };
    let regions = split(&mut cluster, at, &region, &["m", "c", "m", ""]).unwrap();
    let starts: Vec<_> = regions.iter().map(|region| region.range.start.clone()).collect();
    assert_eq!(starts, ["", "c", "m"]);
    whole(&mut cluster, 3);
    let stale = split(&mut cluster, at, &region, &["d"]);
    assert!(matches!(stale, Err(RequestError::EpochNotMatch { .. })), "{stale:?}");
    let (at, region) = leader(&mut cluster, "d");
    assert_eq!(split(&mut cluster, at, &region, &["c", "m"]).unwrap(), [(*region).clone()], "cut there already");
    let elsewhere = split(&mut cluster, at, &region, &["d", "x"]);
    assert!(matches!(elsewhere, Err(RequestError::KeyNotInRegion { .. })), "{elsewhere:?}");
    let follower = split(&mut cluster, (at + 1) % 3, &region, &["d"]);
    assert!(matches!(follower, Err(RequestError::NotLeader { .. })), "{follower:?}");
    whole(&mut cluster, 3);
}

#[test]
fn what_was_split_survives_a_crash_of_all() {
    let mut cluster = cluster(by_size());
    for at in 0..40 {
        put(&mut cluster, &format!("key{at:03}"), 1_000);
    }
    check(&mut cluster);
    whole(&mut cluster, 4);
    for at in 0..3 {
        cluster.kill(at);
        cluster.nodes[at].disk.crash_at(CrashPoint { log_writes: 0, torn_tail: false, state_batches: 0 });
    }
    (0..3).for_each(|at| cluster.open(at).unwrap());
    whole(&mut cluster, 4);
    for at in 0..40 {
        put(&mut cluster, &format!("key{at:03}"), 10);
    }
}
