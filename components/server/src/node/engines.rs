//! Opening the engines of a process.

use std::path::Path;
use std::sync::Arc;

use engine_rocks::{EngineGauges, RocksLogEngine, RocksStateEngine};
use slog::Logger;
use snapshot::Directory;
use store::{Engines, StoreError};

use crate::config::Config;

/// The engines of a store, with what only RocksDB can tell of them.
pub struct OpenEngines {
    /// For the store.
    pub engines: Engines,
    log: Arc<RocksLogEngine>,
    state: Arc<RocksStateEngine>,
}

impl OpenEngines {
    /// Opens the engines in the folders `log`, `state` and `snapshots` of a data directory, and makes them where there are none.
    ///
    /// # Errors
    /// `Locked` when another process has them open; the engines' own otherwise.
    pub fn open(data_dir: &Path, config: &Config, logger: &Logger) -> Result<Self, StoreError> {
        let log = Arc::new(RocksLogEngine::open(&data_dir.join("log"), &config.log_engine, logger.clone())?);
        fail_point!("engines-log-opened");
        let state = Arc::new(RocksStateEngine::open(&data_dir.join("state"), &config.state_engine, logger.clone())?);
        let files = Arc::new(Directory::open(&data_dir.join("snapshots"))?);
        Ok(Self { engines: Engines { log: log.clone(), state: state.clone(), files }, log, state })
    }

    /// What RocksDB tells of the log engine and of the state engine just now.
    pub fn gauges(&self) -> [(&'static str, EngineGauges); 2] {
        [("log", self.log.gauges()), ("state", self.state.gauges())]
    }
}
