//! What one turn of a contender brought.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::cpu::CpuTime;

/// What the engines of a contender's replicas did, summed.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineUse {
    /// Fsyncs of the log engines.
    pub syncs: u64,
    /// Bytes that went into write-ahead logs.
    pub log_bytes: u64,
    /// Bytes that the state engines' flushes wrote.
    pub flushed_bytes: u64,
}

impl EngineUse {
    /// What happened after `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            syncs: self.syncs - earlier.syncs,
            log_bytes: self.log_bytes - earlier.log_bytes,
            flushed_bytes: self.flushed_bytes - earlier.flushed_bytes,
        }
    }
}

/// One measured turn.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Acknowledged writes.
    pub writes: u64,
    /// Writes that were refused or whose outcome nobody knows; they are not among `writes`.
    pub failures: u64,
    /// How long it was measured.
    pub time: Duration,
    /// Latencies of acknowledged writes, in microseconds.
    pub latency: Histogram<u64>,
    /// CPU time of the process.
    pub cpu: CpuTime,
    /// What the engines did.
    pub engines: EngineUse,
}

/// Stores of every contender.
pub const REPLICAS: usize = 3;

impl Sample {
    /// Acknowledged writes per second.
    pub fn rate(&self) -> f64 {
        self.writes as f64 / self.time.as_secs_f64()
    }

    /// CPU time for each write, in microseconds.
    pub fn cpu_per_write(&self) -> f64 {
        self.cpu.total.as_secs_f64() * 1e6 / self.writes as f64
    }

    /// Fsyncs for each thousand writes, for each store.
    pub fn syncs_per_thousand(&self) -> f64 {
        self.engines.syncs as f64 * 1e3 / self.writes as f64 / REPLICAS as f64
    }

    /// A percentile of the latency, in milliseconds.
    pub fn latency_ms(&self, percentile: f64) -> f64 {
        self.latency.value_at_percentile(percentile) as f64 / 1e3
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.0} writes/s, p50 {:.2} ms, p99 {:.2} ms, max {:.0} ms",
            self.rate(),
            self.latency_ms(50.0),
            self.latency_ms(99.0),
            self.latency.max() as f64 / 1e3
        )?;
        if self.engines.syncs > 0 {
            write!(f, ", {:.1} fsyncs per 1,000 writes and store", self.syncs_per_thousand())?;
        }
        if self.failures > 0 {
            write!(f, ", {} FAILED", self.failures)?;
        }
        write!(f, "; {:.0} µs of CPU per write", self.cpu_per_write())?;
        let mut groups: Vec<_> = self.cpu.groups.iter().collect();
        groups.sort_by_key(|(_, time)| std::cmp::Reverse(**time));
        for (at, (group, time)) in groups.into_iter().take(6).enumerate() {
            let micros = time.as_secs_f64() * 1e6 / self.writes as f64;
            write!(f, "{}{group} {micros:.1}", if at == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}
