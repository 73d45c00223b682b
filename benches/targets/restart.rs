//! R12: from the start of three stores that were killed at once to a leader in every region.

use std::time::Instant;

use super::turns::directory;
use crate::harness::options::Options;
use crate::harness::report::{Goal, Report};
use crate::harness::rounds::Spread;
use crate::harness::sample::REPLICAS;
use crate::sides::first_key;
use crate::sides::probed::Probed;

/// Measures 1,000 regions, and 10,000 where what takes long is wanted.
pub fn measure(options: &Options, report: &mut Report) -> Result<(), String> {
    let mut sizes = vec![1000];
    if options.large {
        sizes.push(10_000);
    }
    for regions in sizes {
        let (mut opened, mut served) = (Vec::new(), Vec::new());
        for round in 1..=options.rounds {
            let directory = directory(options)?;
            let keys = (1..regions).map(first_key).collect();
            let mut probed = Probed::open(directory.path().to_owned(), keys)?;
            (0..REPLICAS).for_each(|at| probed.kill(at));
            let begin = Instant::now();
            (0..REPLICAS).try_for_each(|at| probed.start(at))?;
            opened.push(begin.elapsed().as_secs_f64());
            probed.wait_for_leaders()?;
            served.push(begin.elapsed().as_secs_f64());
            println!(
                "  round {round} {regions} regions: open {:.2} s, led {:.2} s",
                opened[round - 1],
                served[round - 1]
            );
        }
        let what = format!("restart of three stores to a leader in each of {regions} regions, s");
        report.add("R12", what, Spread::of(served), Goal::AtMost(5.0));
        report.add("", "of that until the stores are open", Spread::of(opened), Goal::None);
    }
    Ok(())
}
