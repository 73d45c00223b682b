//! What an embedded store is opened with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_rocks::{LogEngineConfig, StateEngineConfig};
use slog::Logger;
use store::StoreConfig;
use types::{ClusterId, StoreId};

use crate::network::Network;

/// The configuration of one member of a static cluster. All members must agree on cluster, members and split keys.
#[derive(Clone)]
pub struct Config {
    pub(crate) cluster: ClusterId,
    pub(crate) store: StoreId,
    pub(crate) members: Vec<StoreId>,
    pub(crate) split_keys: Vec<Bytes>,
    pub(crate) data_dir: PathBuf,
    pub(crate) first_start: bool,
    pub(crate) timeout: Duration,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) store_config: StoreConfig,
    pub(crate) log_engine: LogEngineConfig,
    pub(crate) state_engine: StateEngineConfig,
    pub(crate) logger: Logger,
}

impl Config {
    /// Member `store` of a cluster of one region and one member, in `data_dir`.
    pub fn new(store: StoreId, data_dir: impl Into<PathBuf>, network: Arc<dyn Network>) -> Self {
        Self {
            cluster: ClusterId(1),
            store,
            members: vec![store],
            split_keys: Vec::new(),
            data_dir: data_dir.into(),
            first_start: false,
            timeout: Duration::from_secs(10),
            network,
            store_config: StoreConfig::default(),
            log_engine: LogEngineConfig::default(),
            state_engine: StateEngineConfig::default(),
            logger: observe::discard_logger(),
        }
    }

    /// The cluster's id; members of different clusters refuse each other. 1 by default.
    #[must_use]
    pub fn cluster(mut self, cluster: ClusterId) -> Self {
        self.cluster = cluster;
        self
    }

    /// All members, this one among them.
    #[must_use]
    pub fn members(mut self, members: impl IntoIterator<Item = StoreId>) -> Self {
        self.members = members.into_iter().collect();
        self
    }

    /// Where the key space is cut into regions: ascending, without the empty key.
    #[must_use]
    pub fn split_keys<K: Into<Bytes>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.split_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Whether the whole cluster starts for the first time. Only then is an empty data directory given a fresh store:
    /// a member that lost its disk must not vote again under its old ids (D14). A store that is there already is opened
    /// whatever this says.
    #[must_use]
    pub fn first_start(mut self, first: bool) -> Self {
        self.first_start = first;
        self
    }

    /// How long an operation may take, retries included. Ten seconds by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The store's own settings.
    #[must_use]
    pub fn store_config(mut self, config: StoreConfig) -> Self {
        self.store_config = config;
        self
    }

    /// The engines' settings.
    #[must_use]
    pub fn engines(mut self, log: LogEngineConfig, state: StateEngineConfig) -> Self {
        (self.log_engine, self.state_engine) = (log, state);
        self
    }

    /// Where the store logs; nowhere by default.
    #[must_use]
    pub fn logger(mut self, logger: Logger) -> Self {
        self.logger = logger;
        self
    }
}
