//! What is in a data directory when no process has it open.

use std::path::Path;

use engine::{LogEngine, StoreIdent, meta};
use engine_rocks::{LogEngineConfig, RocksLogEngine, RocksStateEngine, StateEngineConfig};
use slog::{Discard, Logger, o};

/// Whose the directory is, if the bootstrap of its store is complete.
///
/// # Panics
/// When the engines contradict each other, or a region's log does not reach its state (D8).
pub fn ident(directory: &Path) -> Option<StoreIdent> {
    // The check must not make what a process did not get to.
    if !directory.join("log/CURRENT").exists() {
        return None;
    }
    let logger = Logger::root(Discard, o!());
    let log = RocksLogEngine::open(&directory.join("log"), &LogEngineConfig::default(), logger.clone()).unwrap();
    let ident = log.ident().unwrap()?;
    let state = RocksStateEngine::open(&directory.join("state"), &StateEngineConfig::default(), logger).unwrap();
    assert_eq!(meta::read_ident(&state).unwrap(), Some(ident), "the state engine's copy");
    let states = meta::read_regions(&state).unwrap();
    let logs = log.regions().unwrap();
    assert_eq!(states.len(), logs.len(), "every region is in both engines");
    for (state, log) in states.iter().zip(logs) {
        assert_eq!(state.descriptor.id, log.region);
        let (applied, truncated) = (state.apply_state.applied, state.apply_state.truncated);
        let (first, last) = log.bounds.map_or((truncated.next(), truncated), |bounds| bounds);
        assert!(first <= truncated.next() && last >= applied, "{state:?} does not follow from a log {first} to {last}");
    }
    Some(ident)
}
