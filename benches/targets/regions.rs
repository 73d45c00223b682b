//! R4 and R6: what more active regions cost.

use super::turns::{figures, replicated};
use crate::harness::load::Load;
use crate::harness::options::Options;
use crate::harness::report::{Goal, Report};
use crate::harness::rounds::{Spread, take_turns};
use crate::harness::sample::Sample;

const VALUE_BYTES: usize = 256;

/// R4: fsyncs of a store with 64 writers, and how they grow with regions.
pub fn fsyncs(options: &Options, report: &mut Report) -> Result<(), String> {
    let samples = on_regions(options, 64, &[1, 16, 1000])?;
    let syncs = |samples: &[Sample]| Spread::of(figures(samples, Sample::syncs_per_thousand));
    let what = "fsyncs per 1,000 writes and store, 64 writers";
    report.add("R4", format!("{what}, 16 regions"), syncs(&samples[1]), Goal::AtMost(50.0));
    report.add("", format!("{what}, 1 region"), syncs(&samples[0]), Goal::None);
    report.add("", format!("{what}, 1,000 regions"), syncs(&samples[2]), Goal::None);
    let growth = Spread::of_ratio(&samples[2], &samples[0], Sample::syncs_per_thousand);
    report.add("R4", "fsyncs with 1,000 regions ÷ 1 region", growth, Goal::AtMost(1.5));
    Ok(())
}

/// R6: writes per second with more regions, the same writers throughout.
pub fn throughput(options: &Options, report: &mut Report) -> Result<(), String> {
    let mut goals = vec![(1, 1.0), (10, 1.0), (1000, 0.8)];
    if options.large {
        goals.push((10_000, 0.5));
    }
    let regions: Vec<usize> = goals.iter().map(|(regions, _)| *regions).collect();
    let samples = on_regions(options, 256, &regions)?;
    for ((regions, goal), samples_of) in goals.iter().zip(&samples).skip(1) {
        let ratio = Spread::of_ratio(samples_of, &samples[0], Sample::rate);
        let what = format!("writes/s with {regions} regions ÷ 1 region, 256 writers");
        report.add("R6", what, ratio, Goal::AtLeast(*goal));
    }
    if !options.large {
        report.skipped("R6", "writes/s with 10,000 regions ÷ 1 region", "takes minutes; ask with --large");
    }
    Ok(())
}

fn on_regions(options: &Options, writers: usize, regions: &[usize]) -> Result<Vec<Vec<Sample>>, String> {
    let contender = |regions: &usize| {
        let load = Load { writers, regions: *regions, value_bytes: VALUE_BYTES, rate: None };
        replicated(format!("{regions} regions"), load, options)
    };
    let mut contenders: Vec<_> = regions.iter().map(contender).collect();
    take_turns(options, &mut contenders)
}
