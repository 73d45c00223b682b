//! The same seed does the same: twice in one process, in two processes, and in two builds of the same code, this test's
//! own and the binary's.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use sim::{Profile, Settings, run};

const STEPS: u64 = 30_000;

fn settings(seed: u64, profile: Profile) -> Settings {
    Settings { steps: STEPS, regions: 8, ..Settings::new(seed, profile) }
}

/// The trace of a run by the binary.
fn trace_of_binary(seed: u64, profile: Profile) -> u64 {
    let settings = settings(seed, profile);
    let output = Command::new(env!("CARGO_BIN_EXE_raftyard-sim"))
        .args(["--seed", &seed.to_string(), "--profile", profile.name(), "--steps", &settings.steps.to_string()])
        .args(["--stores", &settings.stores.to_string(), "--regions", &settings.regions.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    u64::from_str_radix(text.trim().rsplit_once("trace ").unwrap().1, 16).unwrap()
}

fn the_same_thrice(profile: Profile) {
    let runs = [1, 2].map(|seed| {
        let first = run(&settings(seed, profile)).unwrap();
        assert_eq!(run(&settings(seed, profile)).unwrap(), first, "{profile} {seed} in one process");
        assert_eq!(trace_of_binary(seed, profile), first.hash, "{profile} {seed} in another build's process");
        first
    });
    assert_ne!(runs[0].hash, runs[1].hash, "{profile}: two seeds, one trace");
    assert!(runs[0].operations + runs[1].operations > 100, "{profile}: almost nothing was done: {runs:?}");
}

#[test]
fn calm() {
    the_same_thrice(Profile::Calm);
}

#[test]
fn network() {
    the_same_thrice(Profile::Network);
}

#[test]
fn crash() {
    the_same_thrice(Profile::Crash);
}

#[test]
fn disk() {
    the_same_thrice(Profile::Disk);
}

#[test]
fn clock() {
    the_same_thrice(Profile::Clock);
}

#[test]
fn everything() {
    the_same_thrice(Profile::Everything);
}
