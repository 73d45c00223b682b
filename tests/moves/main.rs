//! Real stores that come, go, split their regions and lose their disks, while clients work on them. Whatever moves,
//!
//! - the history of what the clients saw is linearizable, and everything that was acknowledged is there;
//! - in the end every region has its three voters where they should be, and nobody else holds any of it;
//! - no process has panicked, and no replica differed from the others when they were compared, which they are all the time.
//!
//! `CHAOS_SEED` gives the seed of who is killed when, `CHAOS_MINUTES` lets rounds of ever new seeds follow each other.
//!
//! Reading order: this file, [`placement`], [`killer`], then the three tests: [`exchange`], [`growth`], [`wiped`].

#![allow(missing_docs, clippy::unwrap_used)]

mod bulk;
#[path = "../support/contents.rs"]
mod contents;
mod ending;
mod exchange;
mod growth;
#[path = "../support/history.rs"]
mod history;
mod killer;
#[path = "../support/ledger.rs"]
mod ledger;
#[path = "../support/load.rs"]
mod load;
mod placement;
#[path = "../support/mod.rs"]
mod support;
mod wiped;

use std::env;
use std::time::{Duration, Instant};

use runtime::clock::entropy_seed;
use support::{ClusterShape, run_within};

/// Only a test that hangs takes longer.
const BOUND: Duration = Duration::from_secs(480);

#[test]
fn three_stores_become_five_and_then_three_others() {
    let first = number("CHAOS_SEED").unwrap_or_else(|| entropy_seed() >> 32);
    let length = Duration::from_secs(number("CHAOS_MINUTES").unwrap_or(0) * 60);
    // With time at hand, all of the first three leave.
    let exchanges = if length.is_zero() { 1 } else { 2 };
    let begin = Instant::now();
    for seed in first.. {
        println!("CHAOS_SEED={seed}");
        run_within(BOUND, exchange::stores(seed, exchanges));
        if begin.elapsed() >= length {
            break;
        }
    }
}

#[test]
fn one_region_becomes_a_hundred() {
    run_within(BOUND, growth::of_one_region());
}

#[test]
fn a_wiped_store_is_replaced_and_comes_back_as_another() {
    run_within(BOUND, wiped::store());
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name} is {text:?}: {error}")))
}

/// A cluster that reports, compacts its logs, flushes and compares its replicas all the time.
fn restless() -> ClusterShape {
    ClusterShape::default()
        .setting("RAFTSTORE__PD_HEARTBEAT_INTERVAL_MS", 500)
        .setting("RAFTSTORE__PD_STORE_HEARTBEAT_INTERVAL_MS", 300)
        .setting("RAFTSTORE__CONSISTENCY_CHECK_INTERVAL_MS", 300)
        .setting("RAFTSTORE__COMPACT_ENTRIES", 64)
        .setting("RAFTSTORE__MAX_UNFLUSHED_AGE_MS", 2_000)
        .setting("STATE_ENGINE__MEMTABLE_BYTES", 4 << 20)
}
