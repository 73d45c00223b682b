//! A store that a program has embedded: its first start, its restarts, and what upkeep does in between.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use raftyard::{Config, KeyRange, LocalNetwork, ScanOptions, Store};
use store::StoreConfig;
use tempfile::TempDir;
use types::StoreId;

use crate::child::{at_every_point, child_part, done, live, points, report};
use crate::disk;

/// How often a child dies at a point that is passed again and again.
const MOST_TIMES: usize = 3;
/// Most writes of a child; long before the last, upkeep has passed all of its points.
const WRITES: u64 = 20_000;

/// Opens a store that flushes, compacts and deletes all the time.
fn open(directory: &Path) -> Store {
    let mut config = StoreConfig {
        tick: Duration::from_millis(5),
        upkeep_interval: Duration::from_millis(5),
        max_unflushed_age: Duration::from_millis(10),
        ..StoreConfig::default()
    };
    config.region.compact_entries = 8;
    let config =
        Config::new(StoreId(1), directory, Arc::new(LocalNetwork::new())).first_start(true).store_config(config);
    Store::open(config.split_keys(["g", "p"])).unwrap()
}

fn key(number: u64) -> String {
    let region = ["a", "h", "q"][(number % 3) as usize];
    format!("{region}{number:06}")
}

fn value(number: u64) -> String {
    number.to_string().repeat(20)
}

/// What a child does: writes from a number on, and says what was acknowledged.
fn write(directory: &Path, numbers: &str) -> ! {
    let (from, count): (u64, u64) = serde_json::from_str(&format!("[{numbers}]")).unwrap();
    let store = open(directory);
    for number in from..from + count {
        store.put(key(number), value(number)).wait().unwrap();
        report(&format!("wrote {number}"));
    }
    done();
}

/// Opens the store in peace: everything from zero up to `end` must be there, and at most one write more, the one that
/// was not acknowledged any more. Returns how many there are.
fn check(directory: &Path, end: u64) -> u64 {
    let store = open(directory);
    let pairs =
        store.scan(KeyRange::all(), ScanOptions { limit: usize::MAX, ..ScanOptions::default() }).wait().unwrap();
    drop(store);
    let count = pairs.len() as u64;
    assert!((end..=end + 1).contains(&count), "{end} writes were acknowledged, {count} are there");
    let mut wanted: Vec<_> = (0..count).map(|number| (key(number).into(), value(number).into())).collect();
    wanted.sort();
    assert!(pairs == wanted, "there is something else than was written: {pairs:?}");
    count
}

#[test]
fn a_first_start_goes_on_wherever_it_died() {
    let test = "embedded::a_first_start_goes_on_wherever_it_died";
    if let Some((directory, numbers)) = child_part() {
        write(&directory, &numbers);
    }
    let points = points(&["format", "log", "state", "bootstrap", "open"]);
    at_every_point(&points, MOST_TIMES, |point, nth| {
        let directory = TempDir::new().unwrap();
        let first = live(test, directory.path(), "0,3", Some((point, nth)));
        if !first.was_cut_short {
            return false;
        }
        assert!(first.said.is_empty(), "{point} is passed before the store serves: {:?}", first.said);
        let before = disk::ident(directory.path());
        let is_made = point == "bootstrap-log-written" || point.starts_with("open-");
        assert_eq!(before.is_some(), is_made, "whether the store is made at {point}");

        let second = live(test, directory.path(), "0,3", None);
        assert_eq!(second.said.len(), 3);
        let made = disk::ident(directory.path());
        assert!(made.is_some() && before.is_none_or(|before| made == Some(before)), "{before:?} became {made:?}");
        check(directory.path(), 3);
        true
    });
}

#[test]
fn a_store_loses_nothing_wherever_it_dies() {
    let test = "embedded::a_store_loses_nothing_wherever_it_dies";
    if let Some((directory, numbers)) = child_part() {
        write(&directory, &numbers);
    }
    // One life after the other in the same directory, so that each begins with what a death at another point has left.
    let directory = TempDir::new().unwrap();
    let mut written = 0;
    live(test, directory.path(), "0,300", None);
    let made = disk::ident(directory.path());
    written = check(directory.path(), written + 300);
    let points = points(&["log", "state", "open", "upkeep"]);
    at_every_point(&points, MOST_TIMES, |point, nth| {
        let count = if point.starts_with("upkeep") { WRITES } else { 30 };
        let life = live(test, directory.path(), &format!("{written},{count}"), Some((point, nth)));
        assert_eq!(disk::ident(directory.path()), made);
        written = check(directory.path(), written + life.said_of("wrote").count() as u64);
        life.was_cut_short
    });
    println!("{written} writes");
}
