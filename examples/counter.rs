//! A counter service on an embedded store, with a bug, and the simulator that finds it.
//!
//! A visit is counted by reading the counter and swapping it for one more. The careless service takes an answer that did
//! not come for a swap that did not happen, and tries again. Nearly always it is right. When a leader dies after it has
//! replicated the swap and before it has answered, or the service itself dies there, the visit is counted twice.
//!
//! `cargo run --example counter` finds a seed in which it happens, and shows that the careful service, which writes
//! beside the count which visit was the last, passes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use raftyard::testing::{Failure, Node, Profile, Scenario};
use raftyard::{Error, StoreId};

/// How long a service waits before it tries again, and a visitor before he comes again.
const PAUSE: Duration = Duration::from_millis(50);

/// How a service counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    /// Tries again when it does not know whether a visit was counted.
    Careless,
    /// Looks whether the visit was counted before it tries again.
    Careful,
}

/// What the store holds under `visits`: how many were counted, and which was the last one.
fn encode(count: u64, last: &str) -> Bytes {
    format!("{count} {last}").into()
}

fn decode(value: Option<&Bytes>) -> (u64, String) {
    let text = value.map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default();
    match text.split_once(' ') {
        Some((count, last)) => (count.parse().unwrap_or(0), last.to_owned()),
        None => (0, String::new()),
    }
}

/// Each store's process counts under a key of its own, so that nobody else moves the counter between two looks.
fn counter_of(node: &Node) -> String {
    format!("visits/{}", node.id())
}

impl Service {
    /// Counts one visit, whatever it takes.
    async fn count(self, node: &Node, visit: &str) -> Result<(), Error> {
        let (store, key) = (node.store(), counter_of(node));
        loop {
            let Ok(before) = store.get(key.clone()).await else {
                node.sleep(PAUSE).await;
                continue;
            };
            let (count, last) = decode(before.as_ref());
            if self == Self::Careful && last == visit {
                return Ok(());
            }
            match store.compare_and_swap(key.clone(), before, Some(encode(count + 1, visit))).await {
                Ok(swap) if swap.swapped => return Ok(()),
                // Not counted, or nobody knows. The careless service takes the one for the other.
                Ok(_) | Err(Error::Undetermined(_) | Error::TimedOut { .. }) => node.sleep(PAUSE).await,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The visits at one store: whoever visits comes again until he has been counted, also when the process dies meanwhile.
#[derive(Clone, Default)]
struct Visitors(Rc<Cell<u64>>);

impl Visitors {
    /// How many visits are counted for sure.
    fn done(&self) -> u64 {
        self.0.get()
    }

    /// Visits one after the other, for as long as the process lives.
    async fn visit(self, node: Node, service: Service) {
        while service.count(&node, &format!("visit-{}", self.done())).await.is_ok() {
            self.0.set(self.done() + 1);
            node.sleep(PAUSE).await;
        }
    }
}

/// Counts visits at every store while the cluster is disturbed, then compares.
fn play(service: Service, seeds: Range<u64>) -> Result<(), Box<Failure>> {
    Scenario::new(0).stores(3).run_seeds(seeds, |cluster| {
        let visitors: BTreeMap<StoreId, Visitors> =
            cluster.stores().into_iter().map(|store| (store, Visitors::default())).collect();
        let at_stores = visitors.clone();
        cluster.everywhere(move |node| at_stores[&node.id()].clone().visit(node, service));
        cluster.disturb(Profile::Everything, 20_000)?;
        cluster.heal();
        cluster.serve()?;
        let reader = cluster.living()[0];
        for (store, visitors) in visitors {
            let done = visitors.done();
            let key = format!("visits/{store}");
            let value = cluster.on(reader, |node| async move { node.store().get(key).await })?;
            let (counted, _) = decode(value.as_ref());
            // One more may be under way, and others may have come while we looked.
            if !(done..=visitors.done() + 1).contains(&counted) {
                return Err(format!("store {store} has counted {counted} visits of {done}"));
            }
        }
        Ok(())
    })
}

fn main() -> ExitCode {
    let seeds = 0..200;
    match play(Service::Careless, seeds.clone()) {
        Ok(()) => {
            println!("the careless service passed seeds {seeds:?}: the simulator has missed its bug");
            return ExitCode::FAILURE;
        }
        Err(failure) => println!("careless service: {failure}"),
    }
    match play(Service::Careful, 0..50) {
        Ok(()) => println!("careful service: seeds 0..50 passed"),
        Err(failure) => {
            println!("careful service: {failure}\n{}", failure.trace);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bug_is_found_and_nothing_else() {
        let failure = play(Service::Careless, 0..100).expect_err("the careless service counts a visit twice");
        assert!(failure.what.contains("has counted"), "{failure}");
        play(Service::Careful, failure.seed..failure.seed + 10).expect("the careful service counts each visit once");
    }
}
