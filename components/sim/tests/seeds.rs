//! A few seeds of every profile.

#![allow(clippy::unwrap_used)]

use sim::{Profile, Settings, run};

fn runs(profile: Profile) {
    for seed in 0..4 {
        let settings = Settings { regions: 6, steps: 10_000, ..Settings::new(seed, profile) };
        if let Err(failure) = run(&settings) {
            let tail: Vec<&str> = failure.trace.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            panic!("{}\nseed {seed} {profile}: {}", tail.join("\n"), failure.what);
        }
    }
}

#[test]
fn calm_seas() {
    runs(Profile::Calm);
}

#[test]
fn networks_that_fail() {
    runs(Profile::Network);
}

#[test]
fn crashes() {
    runs(Profile::Crash);
}

#[test]
fn disks_that_fail() {
    runs(Profile::Disk);
}

#[test]
fn clocks_that_go_wrong() {
    runs(Profile::Clock);
}

#[test]
fn everything_at_once() {
    runs(Profile::Everything);
}
