//! Clean-up on one thread while another one appends to the same region, as a store's upkeep and its poller do.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::open_log;
use engine::conformance::sample::{append, entries};
use engine::{Durability, LogBatch, LogEngine, LogOp};
use runtime::spawn::{Spawner, ThreadSpawner};
use types::{LogIndex, PeerId, RegionId};

const APPENDS: u64 = 50_000;
/// How many entries stay behind the newest one.
const KEPT: u64 = 3;

#[test]
fn clean_up_runs_beside_appends() {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(open_log(directory.path()));
    let appended = Arc::new(AtomicU64::new(0));
    let (cleaned, seen) = (Arc::clone(&log), Arc::clone(&appended));
    let clean = move || {
        let mut last = 0;
        while last < APPENDS {
            last = seen.load(Ordering::Acquire);
            let end = LogIndex((last + 1).saturating_sub(KEPT));
            let delete = LogOp::DeleteTo { region: RegionId(1), peer: PeerId(2), end };
            cleaned.write(LogBatch { ops: vec![delete] }, Durability::Buffered).unwrap();
        }
    };
    let cleaner = ThreadSpawner.spawn("clean-up", Box::new(clean)).unwrap();
    for index in 1..=APPENDS {
        // An append that finds an older record than its own last one panics: it would leave a gap.
        let batch = LogBatch { ops: vec![append(1, 2, entries(index, index + 1, 5))] };
        log.write(batch, Durability::Buffered).unwrap();
        appended.store(index, Ordering::Release);
    }
    assert!(cleaner.join(), "the thread that cleans up panicked");
    let bounds = Some((LogIndex(APPENDS - KEPT + 1), LogIndex(APPENDS)));
    assert_eq!(log.region(RegionId(1)).unwrap().unwrap().bounds, bounds);
    drop(log);
    assert_eq!(open_log(directory.path()).region(RegionId(1)).unwrap().unwrap().bounds, bounds, "reopened");
}
