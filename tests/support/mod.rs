//! What the tests of the whole system stand on: clusters of real processes, and waiting without sleeping.
//!
//! Every test runs in [`run`], one at a time, since each of them wants the whole machine. It starts a [`Cluster`]: a
//! coordinator and stores, each a process of the `raftyard` binary on loopback ports of its own. Verdicts come from
//! what clients are answered, and from conditions that are waited for with a deadline that only a broken build meets.
//!
//! Reading order: [`cluster`], [`process`], then the helpers.

#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod cluster;
pub mod http;
pub mod ports;
pub mod process;
pub mod wait;

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use cluster::{Cluster, ClusterShape};

/// Longest that one test may take; one that hangs fails with its processes' logs.
const TEST_BOUND: Duration = Duration::from_secs(300);

/// Runs a test alone, within [`TEST_BOUND`], on a runtime of its own.
pub fn run(test: impl Future<Output = ()>) {
    run_within(TEST_BOUND, test);
}

/// Runs a test alone, within a bound that only one that hangs meets, on a runtime of its own.
pub fn run_within(bound: Duration, test: impl Future<Output = ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed leaves nothing behind that the next could trip over.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        // Dropped while unwinding, so that a cluster inside shows its logs.
        let mut test = pin!(test);
        if tokio::time::timeout(bound, test.as_mut()).await.is_err() {
            panic!("the test did not end within {bound:?}");
        }
    });
}
