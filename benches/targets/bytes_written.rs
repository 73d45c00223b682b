//! R3: bytes written to disk for each byte that users write, on each replica, before compaction.
//!
//! From RocksDB's own statistics; the kernel's count of a process miscounts files that are overwritten. What has not
//! been flushed when the turn ends is flushed, so that every byte is counted once in the log and once in the state.

use std::cell::RefCell;
use std::sync::Arc;

use super::turns::directory;
use crate::harness::load::{self, Load};
use crate::harness::options::Options;
use crate::harness::report::{Goal, Report};
use crate::harness::rounds::{Contender, Spread, take_turns};
use crate::harness::sample::REPLICAS;
use crate::sides::cluster::Cluster;
use crate::sides::{Side, key};

const LOAD: Load = Load { writers: 64, regions: 16, value_bytes: 1024, rate: None };

/// Measures our stores alone: the figure is a ratio by itself.
pub fn measure(options: &Options, report: &mut Report) -> Result<(), String> {
    let (of_log, of_state) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let turn = || {
        let directory = directory(options)?;
        let cluster = Cluster::open(directory.path(), LOAD.regions)?;
        cluster.flush()?;
        let before = cluster.engine_use();
        let side: Arc<dyn Side> = cluster.clone();
        let sample = load::run(&side, LOAD, options)?;
        cluster.flush()?;
        let bytes = cluster.engine_use().since(before);
        // Warm-up and the last writes were written as well, and are in the state engines of all replicas.
        let pair = key(0, 0).len() + LOAD.value_bytes;
        let user_bytes = (cluster.keys_written()? * pair as u64 * REPLICAS as u64) as f64;
        of_log.borrow_mut().push(bytes.log_bytes as f64 / user_bytes);
        of_state.borrow_mut().push(bytes.flushed_bytes as f64 / user_bytes);
        Ok(sample)
    };
    take_turns(options, &mut [Contender::new("replicated", turn)])?;
    let (of_log, of_state) = (of_log.into_inner(), of_state.into_inner());
    let both = of_log.iter().zip(&of_state).map(|(log, state)| log + state);
    report.add("R3", "bytes written ÷ user bytes, 1 KiB values", Spread::of(both), Goal::AtMost(2.3));
    report.add("", "of that the log", Spread::of(of_log), Goal::None);
    report.add("", "of that the state engine's flushes", Spread::of(of_state), Goal::None);
    Ok(())
}
