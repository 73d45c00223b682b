//! The engines of a replica, opened in a directory of their own.

use std::path::Path;
use std::sync::Arc;

use engine_rocks::{LogEngineConfig, RocksLogEngine, RocksStateEngine, StateEngineConfig};
use snapshot::Directory;
use store::Engines;

use crate::harness::sample::EngineUse;

/// Opens both engines as a store would.
///
/// # Errors
/// The engines'.
pub fn open(directory: &Path) -> Result<Engines, String> {
    let logger = observe::discard_logger;
    let log = RocksLogEngine::open(&directory.join("log"), &LogEngineConfig::default(), logger());
    let state = RocksStateEngine::open(&directory.join("state"), &StateEngineConfig::default(), logger());
    let in_words = |error: engine::EngineError| error.to_string();
    let files = Directory::open(&directory.join("snapshots")).map_err(|error| error.to_string())?;
    Ok(Engines {
        log: Arc::new(log.map_err(in_words)?),
        state: Arc::new(state.map_err(in_words)?),
        files: Arc::new(files),
    })
}

/// What engines have done since they were opened, summed.
pub fn engine_use<'a>(engines: impl Iterator<Item = &'a Engines>) -> EngineUse {
    engines.fold(EngineUse::default(), |sum, engines| {
        let (log, state) = (engines.log.statistics(), engines.state.statistics());
        EngineUse {
            syncs: sum.syncs + log.syncs,
            log_bytes: sum.log_bytes + log.bytes_written,
            flushed_bytes: sum.flushed_bytes + state.flushed_bytes,
        }
    })
}
