//! R1 and R2: what replication costs over the same work by hand.

use super::turns::{figures, raw, replicated};
use crate::harness::load::Load;
use crate::harness::options::Options;
use crate::harness::report::{Goal, Report};
use crate::harness::rounds::{Spread, take_turns};
use crate::harness::sample::Sample;

const VALUE_BYTES: usize = 256;

/// The first goal that each load is held to.
const LOADS: [(usize, usize, f64); 4] = [(64, 16, 0.7), (256, 16, 0.7), (256, 1000, 0.5), (1024, 1000, 0.5)];

/// Measures both on every load.
pub fn measure(options: &Options, report: &mut Report) -> Result<(), String> {
    let wanted = |writers, regions| options.wants_part(&format!("R1-{writers}-{regions}"));
    for (writers, regions, goal) in LOADS.into_iter().filter(|(writers, regions, _)| wanted(*writers, *regions)) {
        let load = Load { writers, regions, value_bytes: VALUE_BYTES, rate: None };
        println!(" {writers} writers on {regions} regions, {VALUE_BYTES} B values");
        let contenders = &mut [replicated("replicated", load, options), raw(load, options)];
        let samples = take_turns(options, contenders)?;
        let (ours, raw) = (&samples[0], &samples[1]);
        let on = format!("{writers} writers, {regions} regions");
        report.add(
            "R1",
            format!("replicated ÷ raw writes/s, {on}"),
            ratio(ours, raw, Sample::rate),
            Goal::AtLeast(goal),
        );
        report.add("", format!("replicated writes/s, {on}"), Spread::of(figures(ours, Sample::rate)), Goal::None);
        report.add("", format!("raw writes/s, {on}"), Spread::of(figures(raw, Sample::rate)), Goal::None);
        let p99 = Spread::of(figures(ours, |sample| sample.latency_ms(99.0)));
        report.add("", format!("replicated p99 in ms, {on}"), p99, Goal::None);
        let cpu = ratio(ours, raw, Sample::cpu_per_write);
        report.add("R2", format!("CPU per write, replicated ÷ raw, {on}"), cpu, Goal::AtMost(1.5));
    }
    Ok(())
}

fn ratio(ours: &[Sample], raw: &[Sample], figure: fn(&Sample) -> f64) -> Spread {
    Spread::of_ratio(ours, raw, figure)
}
