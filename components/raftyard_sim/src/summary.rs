//! What all runs together were.

use std::fmt;
use std::time::Duration;

use sim::Report;

/// Sums over runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    /// Runs that ended well.
    pub(crate) passed: u64,
    /// Runs that did not.
    pub(crate) failures: u64,
    steps: u64,
    operations: u64,
    /// Registers of which nobody knows whether they were legal.
    undecided: u64,
    simulated: Duration,
    /// How long it took.
    pub(crate) real: Duration,
    /// The trace of the newest run, for comparing two.
    last_hash: u64,
}

impl Summary {
    /// Counts a run that ended well.
    pub(crate) fn add(&mut self, report: &Report) {
        self.passed += 1;
        self.steps += report.steps;
        self.operations += report.operations;
        self.undecided += report.undecided_registers;
        self.simulated += report.simulated;
        self.last_hash = report.hash;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let real = self.real.as_secs_f64().max(1e-9);
        let simulated = self.simulated.as_secs_f64();
        write!(
            f,
            "{} runs, {} failed; {:.2} simulated hours, {} operations, {} events in {real:.1} s: {:.0} simulated seconds, \
             {:.0} operations and {:.0} events per second",
            self.passed + self.failures,
            self.failures,
            simulated / 3600.0,
            self.operations,
            self.steps,
            simulated / real,
            self.operations as f64 / real,
            self.steps as f64 / real,
        )?;
        if self.undecided > 0 {
            write!(f, "; {} registers UNDECIDED", self.undecided)?;
        }
        if self.passed == 1 && self.failures == 0 { write!(f, "; trace {:016x}", self.last_hash) } else { Ok(()) }
    }
}
