//! What a workload did, for those who want to know whether it was enough.

use std::fmt;

use types::KeyRange;

/// What clients did and heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Writes that were acknowledged, swaps that found something else among them.
    pub acknowledged_writes: u64,
    /// Writes whose outcome is unknown, or was when their client gave up.
    pub unknown_writes: u64,
    /// Writes that were refused for good.
    pub refused_writes: u64,
    /// Swaps that took effect.
    pub swaps: u64,
    /// Reads of a key that were answered.
    pub reads: u64,
    /// Reads that failed.
    pub failed_reads: u64,
    /// Scans of a region that were answered.
    pub scans: u64,
    /// Timestamps that were handed out.
    pub timestamps: u64,
    /// Ids that were handed out.
    pub ids: u64,
    /// Batches that were left out, since their keys were no longer in one region.
    pub skipped_batches: u64,
    /// Attempts that were refused and made again.
    pub retries: u64,
    /// Waits that ended without an answer.
    pub timeouts: u64,
    /// Answers that came after that.
    pub late_answers: u64,
    /// Registers that were full, checked, and replaced.
    pub retired_registers: u64,
    /// Registers of which nobody knows whether they were legal.
    pub undecided_registers: u64,
}

impl Tally {
    /// Requests that were served.
    pub const fn served(&self) -> u64 {
        self.acknowledged_writes + self.reads + self.scans
    }
}

/// The outcome of a check that found nothing wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What clients did and heard.
    pub tally: Tally,
    /// Calls that clients made.
    pub calls: u64,
    /// Operations that were checked at the end.
    pub operations: usize,
    /// Registers that were checked at the end.
    pub registers: usize,
    /// Snapshots of several registers that were checked at the end.
    pub snapshots: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { acknowledged_writes, unknown_writes, refused_writes, reads, scans, .. } = self.tally;
        let Tally { retries, timeouts, retired_registers, undecided_registers, .. } = self.tally;
        write!(f, "{acknowledged_writes} writes acknowledged, {unknown_writes} of unknown outcome, ")?;
        write!(f, "{refused_writes} refused; {reads} reads and {scans} scans answered; ")?;
        write!(
            f,
            "{} calls, {retries} retries, {timeouts} timeouts; checked {} operations ",
            self.calls, self.operations
        )?;
        write!(f, "of {} registers and {} snapshots, ", self.registers, self.snapshots)?;
        write!(f, "{retired_registers} registers before; {undecided_registers} undecided")
    }
}

/// Which regions served a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeReport {
    /// Those that took a write and gave it back.
    pub served: Vec<KeyRange>,
    /// Those that did not so far, each with what the last attempt met.
    pub silent: Vec<(KeyRange, String)>,
}
