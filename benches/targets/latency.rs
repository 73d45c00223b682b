//! R5: how far the slowest writes are from the middle, at half of what the stores can do.

use std::cell::Cell;

use super::turns::{figures, replicated};
use crate::harness::load::Load;
use crate::harness::options::Options;
use crate::harness::report::{Goal, Report};
use crate::harness::rounds::{Contender, Spread, take_turns};

const PEAK: Load = Load { writers: 256, regions: 16, value_bytes: 256, rate: None };

/// Each round measures its own peak first. Half of it then comes at a steady rate, whether or not the stores keep up.
pub fn measure(options: &Options, report: &mut Report) -> Result<(), String> {
    let peak = Cell::new(0.0);
    let mut at_peak = replicated("peak", PEAK, options);
    let at_peak = Contender::new("peak", || {
        let sample = (at_peak.turn)()?;
        peak.set(sample.rate());
        Ok(sample)
    });
    let at_half = Contender::new("half", || {
        // Many more writers than are ever busy: a request begins when it is due.
        let load = Load { writers: 4096, rate: Some(peak.get() / 2.0), ..PEAK };
        (replicated("half", load, options).turn)()
    });
    let samples = take_turns(options, &mut [at_peak, at_half])?;
    let half = &samples[1];
    let tail = Spread::of(figures(half, |sample| sample.latency_ms(99.0) / sample.latency_ms(50.0)));
    report.add("R5", "p99 ÷ p50 at half of peak load, 16 regions", tail, Goal::AtMost(4.0));
    report.add("", "p99 in ms there", Spread::of(figures(half, |sample| sample.latency_ms(99.0))), Goal::None);
    Ok(())
}
