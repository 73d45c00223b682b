//! The simulated clients and the checks of what they saw, against a pretended cluster that can be told to err.

#![allow(missing_docs, clippy::unwrap_used)]

mod fake;

use std::time::Duration;

use bytes::Bytes;
use fake::{Bug, Fake, WORK};
use sim::check::Violation;
use sim::workload::{Report, Workload, WorkloadConfig};
use types::RegionId;

fn config() -> WorkloadConfig {
    let split_keys = ["d", "h", "hm", "t"].map(Bytes::from).into();
    WorkloadConfig { split_keys, registers_per_region: 8, ..WorkloadConfig::default() }
}

fn run(bug: Option<Bug>, seed: u64) -> (Result<Report, Violation>, u64) {
    let config = config();
    let mut fake = Fake::new(&config.split_keys, bug, seed);
    let mut workload = Workload::new(config, seed);
    (fake.run(&mut workload), fake.trace)
}

#[test]
fn a_cluster_without_bugs_passes_and_everything_happens() {
    let mut total = sim::workload::Tally::default();
    for seed in 0..30 {
        let report = run(None, seed).0.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        assert_eq!(report.tally.undecided_registers, 0, "seed {seed}");
        assert!(report.tally.served() > 2000, "seed {seed}: {report}");
        total.unknown_writes += report.tally.unknown_writes;
        total.refused_writes += report.tally.refused_writes;
        total.late_answers += report.tally.late_answers;
        total.retries += report.tally.retries;
        total.swaps += report.tally.swaps;
        total.timestamps += report.tally.timestamps;
        total.ids += report.tally.ids;
        println!("seed {seed}: {report}");
    }
    println!("{total:?}");
    assert!(total.unknown_writes > 500 && total.late_answers > 100 && total.retries > 1000, "{total:?}");
    assert!(total.swaps > 1000 && total.timestamps > 1000 && total.ids > 1000, "{total:?}");
}

#[test]
fn every_bug_is_found() {
    let mut missed = Vec::new();
    for (bug, checkers) in Bug::ALL {
        let found = (0..10).find_map(|seed| Some((seed, run(Some(bug), seed).0.err()?)));
        match found {
            Some((seed, violation)) => {
                println!("{bug:?}: seed {seed}: {violation}\n");
                assert!(checkers.contains(&violation.checker), "{bug:?}, seed {seed}, by another: {violation}");
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found in 10 seeds: {missed:?}");
}

#[test]
fn the_same_seed_gives_the_same_calls() {
    let (first, trace) = run(None, 5);
    assert_eq!((first, trace), run(None, 5));
    assert_ne!(trace, run(None, 6).1);
}

#[test]
fn a_long_run_forgets_what_it_has_checked() {
    let config = WorkloadConfig { operations_per_register: 60, ..config() };
    let registers = 5 * config.registers_per_region as usize;
    let mut fake = Fake::new(&config.split_keys, None, 1);
    let mut workload = Workload::new(config, 1);
    workload.start(fake.now, &mut fake);
    fake.pass(WORK, &mut workload);
    let remembered: usize = workload.history().live().map(|(_, register)| register.operations.len()).sum();
    let tally = workload.tally();
    assert!(tally.retired_registers > 30, "{tally:?}");
    // Scans still add to a register that is full, until somebody else wants to use it.
    assert!(remembered < 300 * registers && (remembered as u64) < tally.served() / 2, "{remembered}: {tally:?}");
    assert_eq!(workload.violation(), None);
}

#[test]
fn a_lost_write_of_a_retired_register_is_found() {
    let config = WorkloadConfig { operations_per_register: 60, ..config() };
    let mut fake = Fake::new(&config.split_keys, Some(Bug::LostWrite), 1);
    let mut workload = Workload::new(config, 1);
    workload.start(fake.now, &mut fake);
    fake.pass(WORK, &mut workload);
    assert_eq!(workload.violation().unwrap().checker, "linearizability");
}

#[test]
fn a_region_that_does_not_serve_is_told() {
    let config = config();
    let regions = ["", "d", "h", "hm", "t"].map(Bytes::from);
    let ranges: Vec<_> =
        regions.windows(2).map(|pair| types::KeyRange::new(pair[0].clone(), pair[1].clone())).collect();
    let mut fake = Fake::new(&config.split_keys, None, 1);
    let mut workload = Workload::new(config, 1);
    fake.heal();
    fake.silent = vec![RegionId(2)];
    workload.probe(fake.now, &ranges, &mut fake);
    fake.pass(Duration::from_secs(60), &mut workload);
    assert!(!workload.is_idle());
    let report = workload.probe_report();
    assert_eq!(report.served, [&ranges[..1], &ranges[2..]].concat());
    assert_eq!(report.silent, [(ranges[1].clone(), "no answer in time".to_owned())]);

    fake.silent.clear();
    fake.until_idle(&mut workload);
    assert!(workload.probe_report().silent.is_empty());
    workload.check().unwrap();
}

/// Where a fifth of all writes are of unknown outcome and dozens of clients meet at few registers, every register is still
/// decided.
#[test]
fn much_that_is_unknown_leaves_nothing_undecided() {
    let timeout = Duration::from_millis(6);
    let config = WorkloadConfig { clients: 48, timeout, rest: Duration::from_millis(1), ..config() };
    let mut fake = Fake::new(&config.split_keys, None, 1);
    let mut workload = Workload::new(config, 1);
    workload.start(fake.now, &mut fake);
    fake.pass(WORK / 2, &mut workload);
    workload.stop();
    fake.until_idle(&mut workload);
    let report = workload.check().unwrap();
    let tally = report.tally;
    assert!(tally.unknown_writes * 5 > tally.acknowledged_writes, "{report}");
    assert_eq!(tally.undecided_registers, 0, "{report}");
}
