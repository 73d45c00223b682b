//! `raftyard::testing`: whole clusters from one seed, for those who build on the store.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use raftyard::testing::{Cluster, Node, Profile, Scenario};
use raftyard::{ColumnFamily, Error, KeyRange, ScanOptions, StoreId, WriteBatch};

const ONE: StoreId = StoreId(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Every operation of the facade, through whichever store, with a leader somewhere else most of the time.
async fn use_everything(node: Node) -> Result<(), Error> {
    let store = node.store();
    store.put("a", "1").await?;
    store.batch(WriteBatch::new().put(ColumnFamily::Default, "b", "2").delete(ColumnFamily::Default, "a")).await?;
    assert_eq!(store.get("a").await?, None);
    let swap = store.compare_and_swap("b", Some("2".into()), Some("3".into())).await?;
    assert!(swap.swapped);
    store.put("z", "26").await?;
    let pairs = store.scan(KeyRange::all(), ScanOptions::default()).await?;
    assert_eq!(pairs, [("b".into(), "3".into()), ("z".into(), "26".into())]);
    store.delete_range(ColumnFamily::Default, KeyRange::all()).await?;
    assert!(store.scan(KeyRange::all(), ScanOptions::default()).await?.is_empty());
    node.sleep(Duration::from_millis(5)).await;
    Ok(())
}

#[test]
fn every_operation_works_at_every_store() {
    let play = |cluster: &mut Cluster<'_, '_>| {
        for store in cluster.stores() {
            cluster.on(store, use_everything)?;
        }
        Ok(())
    };
    Scenario::new(1).split_keys(["m"]).run(play).unwrap();
    Scenario::new(2).stores(1).run(play).unwrap();
    Scenario::new(3).stores(5).split_keys(["g", "p", "w"]).run(play).unwrap();
}

/// Programs that write at all stores while everything goes wrong. Returns what happened as a number, and what was drawn.
fn turmoil(seed: u64) -> (u64, u64) {
    let drawn = Rc::new(Cell::new(0));
    let report = Scenario::new(seed).split_keys(["m"]).timeout(Duration::from_secs(2)).run(|cluster| {
        let drawn = Rc::clone(&drawn);
        cluster.everywhere(move |node| {
            let drawn = Rc::clone(&drawn);
            async move {
                loop {
                    let number = node.random();
                    drawn.set(drawn.get() ^ number);
                    // It fails often; that is what the faults are for.
                    let _ = node.store().put(format!("{number:x}"), "value").await;
                    node.sleep(Duration::from_millis(number % 50)).await;
                }
            }
        });
        cluster.disturb(Profile::Everything, 10_000)
    });
    (report.unwrap().hash, drawn.get())
}

#[test]
fn the_same_seed_does_the_same() {
    assert_eq!(turmoil(4), turmoil(4));
    assert_ne!(turmoil(4), turmoil(5));
}

#[test]
fn acknowledged_writes_survive_what_is_done_by_hand() {
    let report = Scenario::new(6).run(|cluster| {
        cluster.on(ONE, |node| async move { node.store().put("k", "v").await })?;
        cluster.kill(StoreId(2), true)?;
        cluster.pause(StoreId(3), Duration::from_secs(3))?;
        cluster.run_for(Duration::from_secs(1))?;
        cluster.cut_off(ONE, Duration::from_secs(5))?;
        cluster.run_for(Duration::from_secs(10))?;
        cluster.serve()?;
        let value = cluster.on(StoreId(3), |node| async move { node.store().get("k").await })?;
        if value.as_deref() == Some(&b"v"[..]) { Ok(()) } else { Err(format!("k is {value:?}")) }
    });
    report.unwrap();
}

#[test]
fn a_program_ends_with_its_process_and_begins_with_the_next() {
    let begun = Rc::new(Cell::new(0));
    let count = Rc::clone(&begun);
    let report = Scenario::new(7).run(move |cluster| {
        cluster.everywhere(move |node| {
            count.set(count.get() + 1);
            async move { node.sleep(100 * MINUTE).await }
        });
        cluster.run_for(Duration::from_secs(5))?;
        assert_eq!(begun.get(), 3);
        let interrupted = Rc::new(Cell::new(false));
        let seen = Rc::clone(&interrupted);
        let guard = Drops(Rc::clone(&interrupted));
        cluster.everywhere(move |node| {
            let guard = (node.id() == ONE).then(|| guard.clone());
            async move {
                node.sleep(100 * MINUTE).await;
                drop(guard);
            }
        });
        cluster.kill(ONE, false)?;
        assert!(seen.get(), "the program was dropped when its process died");
        cluster.run_until("the store is back", MINUTE, || begun.get() == 4)
    });
    report.unwrap();
}

#[derive(Clone)]
struct Drops(Rc<Cell<bool>>);

impl Drop for Drops {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

#[test]
fn what_fails_comes_back_as_a_failure_with_its_seed() {
    let failure = Scenario::new(8).run(|_| Err("as it should".to_owned())).unwrap_err();
    assert_eq!((failure.seed, &failure.what[..]), (8, "as it should"));
    let failure = Scenario::new(9).run(|_| panic!("a panic of the scenario")).unwrap_err();
    assert!(failure.to_string().contains("seed 9") && failure.what.contains("a panic of the scenario"), "{failure}");
    let failure = Scenario::new(0).run_seeds(20..30, |cluster| {
        let value = cluster.on(ONE, |node| async move { Ok::<_, Error>(node.random()) })?;
        if value % 3 == 0 { Err("three".to_owned()) } else { Ok(()) }
    });
    assert!((20..30).contains(&failure.unwrap_err().seed));
}

#[test]
fn a_program_that_never_ends_is_given_up() {
    let sleep = |node: Node| async move {
        node.sleep(100 * MINUTE).await;
        Ok::<_, Error>(())
    };
    let failure = Scenario::new(10).run(|cluster| cluster.on(ONE, sleep)).unwrap_err();
    assert!(failure.what.contains("the program is done"), "{failure}");
}
