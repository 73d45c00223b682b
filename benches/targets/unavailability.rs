//! R11: how long a region's writes go unanswered while something happens to it.
//!
//! Two keys of the region are written as fast as they are answered, and the longest time without an answer counts, with
//! nothing happening beside it: that is what scheduling and the disk do by themselves.

use std::time::{Duration, Instant};

use bytes::Bytes;
use store::StoreConfig;

use super::turns::directory;
use crate::harness::options::Options;
use crate::harness::report::{Goal, Report};
use crate::harness::rounds::Spread;
use crate::harness::wait;
use crate::sides::probed::Probed;

/// How long a region is probed before something happens, and after it.
const BEFORE: Duration = Duration::from_millis(300);
const AFTER: Duration = Duration::from_millis(500);
/// A killed leader's region is without one for an election timeout at least.
const AFTER_KILL: Duration = Duration::from_millis(2500);
/// How often each happens in a round.
const TIMES: usize = 10;
const KILLS: usize = 3;

/// The keys that are probed lie around this one, at which the region is split.
fn middle(time: usize) -> (Bytes, Bytes, Bytes) {
    let key = |side: char| Bytes::from(format!("key{time:04}{side}"));
    (key('a'), key('m'), key('z'))
}

/// Measures each of them in turns.
pub fn measure(options: &Options, report: &mut Report) -> Result<(), String> {
    let mut gaps: [Vec<f64>; 4] = Default::default();
    for round in 1..=options.rounds {
        let directory = directory(options)?;
        let mut probed = Probed::open(directory.path().to_owned(), Vec::new())?;
        let [nothing, moved, split, killed] = &mut gaps;
        for time in 0..TIMES {
            nothing.push(gap(&mut probed, time, AFTER, |_, _| Ok(()))?);
            moved.push(gap(&mut probed, time, AFTER, |probed, key| probed.move_leader(key))?);
            split.push(gap(&mut probed, time, AFTER, |probed, key| probed.split(key))?);
        }
        for time in 0..KILLS {
            let mut victim = 0;
            let kill = |probed: &mut Probed, key: &[u8]| {
                victim = probed.leader(key)?.0;
                probed.kill(victim);
                Ok(())
            };
            killed.push(gap(&mut probed, time, AFTER_KILL, kill)?);
            probed.start(victim)?;
            probed.wait_for_leaders()?;
        }
        let of_round = |all: &[f64], count: usize| Spread::of(all[all.len() - count..].iter().copied());
        println!(
            "  round {round}: longest gaps in ms: nothing {:.1}, moved {:.1}, split {:.1}, killed {:.1}",
            of_round(nothing, TIMES),
            of_round(moved, TIMES),
            of_round(split, TIMES),
            of_round(killed, KILLS)
        );
    }
    let config = StoreConfig::default();
    let election_ms = config.tick.as_secs_f64() * 1e3 * f64::from(config.region.election_ticks);
    let [nothing, moved, split, killed] = gaps;
    report.add("R11", "longest gap between writes in ms, nothing happens", Spread::of(nothing), Goal::None);
    report.add("", "worst of all, leader killed", worst(&killed), Goal::AtMost(2.0 * election_ms));
    report.add("", "median, leader killed", Spread::of(killed), Goal::None);
    report.add("", "worst of all, leader moved", worst(&moved), Goal::AtMost(20.0));
    report.add("", "median, leader moved", Spread::of(moved), Goal::None);
    report.add("", "worst of all, region split", worst(&split), Goal::AtMost(10.0));
    report.add("", "median, region split", Spread::of(split), Goal::None);
    Ok(())
}

/// The 99th percentile of so few is the largest of them.
fn worst(gaps: &[f64]) -> Spread {
    Spread::of([gaps.iter().copied().fold(0.0, f64::max)])
}

/// Probes two keys of a region while something happens to it; the longer of their longest gaps, in milliseconds.
fn gap(
    probed: &mut Probed,
    time: usize,
    after: Duration,
    happens: impl FnOnce(&mut Probed, &[u8]) -> Result<(), String>,
) -> Result<f64, String> {
    let (left, key, right) = middle(time);
    probed.leader(&key)?;
    let probes = [probed.probe(left)?, probed.probe(right)?];
    wait::pause(BEFORE);
    let since = Instant::now();
    happens(probed, &key)?;
    wait::pause(after);
    let mut longest = Duration::ZERO;
    for probe in probes {
        longest = longest.max(probe.longest_gap(since)?);
    }
    Ok(longest.as_secs_f64() * 1e3)
}
