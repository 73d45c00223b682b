//! The configuration of a store's process and of a coordinator's: one TOML file, overridden by the environment, then by flags.
//!
//! `etc/raftyard.toml` shows every key with its default; a test holds the two equal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use engine_rocks::{LogEngineConfig, StateEngineConfig};
use serde::{Deserialize, Serialize};
use store::{SplitConfig, StoreConfig};

use crate::config_keys;

/// What environment variables that set configuration keys begin with: `RAFTYARD__<SECTION>__<KEY>`, in capitals, with
/// underscores for dashes.
pub const ENVIRONMENT_PREFIX: &str = "RAFTYARD__";

/// Most snapshots in flight in one direction; the transport's own bound lies above it.
const MAX_SNAPSHOTS: usize = 96;

/// Everything that may be configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Addresses and where the data lies.
    pub server: ServerConfig,
    /// The log of what happens.
    pub log: LogConfig,
    /// The coordinator's own settings; a store does not read them.
    pub coordinator: CoordinatorConfig,
    /// Raft and the pollers.
    pub raftstore: RaftstoreConfig,
    /// The log engine.
    pub log_engine: LogEngineConfig,
    /// The state engine.
    pub state_engine: StateEngineConfig,
}

/// Addresses and where the data lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServerConfig {
    /// Where to listen for clients and stores: `host:port`.
    pub addr: String,
    /// Where others reach this process, when that is not `addr`: `host:port`; empty for `addr`.
    pub advertise_addr: String,
    /// Where to listen for status requests over HTTP: `host:port`.
    pub status_addr: String,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The coordinator's addresses: `host:port` each.
    pub pd_endpoints: Vec<String>,
    /// What the store is to placement, such as `zone = "a"`.
    pub labels: BTreeMap<String, String>,
    /// Threads that serve gRPC.
    pub grpc_threads: usize,
    /// Largest message that is taken, in bytes. Requests are checked against smaller bounds of their own.
    pub max_message_bytes: usize,
    /// Most snapshots that go to other stores at a time, those that are being built included.
    pub concurrent_send_snap_limit: usize,
    /// Most snapshots that come from other stores at a time, until they are installed.
    pub concurrent_recv_snap_limit: usize,
    /// Most bytes of snapshots that go out in a second, and that come in; 0 for no bound.
    pub snap_io_max_bytes_per_sec: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            addr: "127.0.0.1:20160".to_owned(),
            advertise_addr: String::new(),
            status_addr: "127.0.0.1:20180".to_owned(),
            data_dir: PathBuf::from("data/raftyard"),
            pd_endpoints: vec!["127.0.0.1:2379".to_owned()],
            labels: BTreeMap::new(),
            grpc_threads: 2,
            max_message_bytes: 64 << 20,
            concurrent_send_snap_limit: 32,
            concurrent_recv_snap_limit: 32,
            snap_io_max_bytes_per_sec: 100 << 20,
        }
    }
}

impl ServerConfig {
    fn validate_snapshots(&self) -> Result<(), ConfigError> {
        let limits = [
            ("concurrent-send-snap-limit", self.concurrent_send_snap_limit),
            ("concurrent-recv-snap-limit", self.concurrent_recv_snap_limit),
        ];
        let wrong = limits.into_iter().find(|(_, limit)| !(1..=MAX_SNAPSHOTS).contains(limit));
        wrong.map_or(Ok(()), |(key, limit)| {
            let problem = format!("is {limit}, must be 1 to {MAX_SNAPSHOTS}");
            Err(ConfigError::Value { key: format!("server.{key}"), problem })
        })
    }

    /// Where others reach this process.
    pub fn advertised(&self) -> &str {
        if self.advertise_addr.is_empty() { &self.addr } else { &self.advertise_addr }
    }
}

/// The log of what happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct LogConfig {
    /// What is logged: `trace`, `debug`, `info`, `warn`, `error` or `critical`, and what is graver.
    pub level: String,
    /// `text` (the unified log format) or `json`.
    pub format: String,
    /// The file to append to; empty for standard error.
    pub file: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: "text".to_owned(), file: String::new() }
    }
}

/// The coordinator's own settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct CoordinatorConfig {
    /// Where to listen for clients and stores: `host:port`.
    pub addr: String,
    /// Where others reach the coordinator, when that is not `addr`: `host:port`; empty for `addr`.
    pub advertise_addr: String,
    /// Where to listen for status requests over HTTP: `host:port`.
    pub status_addr: String,
    /// The data directory.
    pub data_dir: PathBuf,
    /// Replicas of each region.
    pub replicas: u32,
    /// Stores that must have joined before a fresh cluster's regions are laid out; 0 for as many as there are replicas.
    pub initial_stores: u32,
    /// Regions that a fresh cluster begins with, cut evenly over the first two bytes of the keys. Not used when
    /// `split-keys` is given.
    pub initial_regions: u32,
    /// Where a fresh cluster's regions are cut: ascending keys as text.
    pub split_keys: Vec<String>,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            addr: "127.0.0.1:2379".to_owned(),
            advertise_addr: String::new(),
            status_addr: "127.0.0.1:2381".to_owned(),
            data_dir: PathBuf::from("data/coordinator"),
            replicas: 3,
            initial_stores: 0,
            initial_regions: 16,
            split_keys: Vec::new(),
        }
    }
}

impl CoordinatorConfig {
    /// Where others reach the coordinator.
    pub fn advertised(&self) -> &str {
        if self.advertise_addr.is_empty() { &self.addr } else { &self.advertise_addr }
    }

    /// The settings as the coordinator takes them, for a cluster that would get the id `fresh`.
    pub fn coordinator_config(&self, fresh: types::ClusterId) -> coordinator::CoordinatorConfig {
        let replicas = self.replicas as usize;
        let split_keys = if self.split_keys.is_empty() {
            coordinator::even_split_keys(self.initial_regions as usize)
        } else {
            self.split_keys.iter().map(|key| bytes::Bytes::copy_from_slice(key.as_bytes())).collect()
        };
        let expected_stores = if self.initial_stores == 0 { replicas } else { self.initial_stores as usize };
        coordinator::CoordinatorConfig {
            replicas,
            split_keys,
            expected_stores,
            ..coordinator::CoordinatorConfig::new(fresh)
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        check_address("coordinator.addr", &self.addr)?;
        check_address("coordinator.advertise-addr", self.advertised())?;
        check_address("coordinator.status-addr", &self.status_addr)?;
        let most = coordinator::config::MAX_INITIAL_REGIONS as u32;
        if !(1..=most).contains(&self.initial_regions) {
            let problem = format!("is {}, must be 1 to {most}", self.initial_regions);
            return Err(ConfigError::Value { key: "coordinator.initial-regions".to_owned(), problem });
        }
        let checked = self.coordinator_config(types::ClusterId(1)).validate();
        checked.map_err(|error| ConfigError::Value { key: "coordinator".to_owned(), problem: error.to_string() })
    }
}

/// Raft and the pollers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct RaftstoreConfig {
    /// How long a raft tick is.
    pub tick_ms: u64,
    /// Ticks without a leader's word before a follower may campaign; it waits up to twice as long.
    pub election_ticks: u32,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: u32,
    /// Threads that step regions and write the log.
    pub raft_pollers: usize,
    /// Threads that execute committed entries.
    pub apply_pollers: usize,
    /// Whether the log is written by a thread of its own.
    pub log_writer_thread: bool,
    /// Most regions in one round.
    pub regions_per_round: usize,
    /// Most messages that wait for one region.
    pub mailbox_capacity: usize,
    /// Largest raft entry, in bytes; a request that needs a larger one is refused.
    pub max_entry_bytes: u64,
    /// Most bytes of entries that each region keeps in memory.
    pub entry_cache_bytes: u64,
    /// Most bytes of log that a region keeps for a member that is behind; beyond it the member gets a snapshot.
    pub max_log_bytes: u64,
    /// Entries behind the slowest member at which a region's log is compacted.
    pub compact_entries: u64,
    /// Ticks without progress after which a change of members is taken back, because a member that it adds does not catch up.
    pub newcomer_ticks: u32,
    /// Ticks without a leader's word after which a peer asks whether it still is a member.
    pub stale_ticks: u32,
    /// Bytes of log behind the flush watermark at which a flush is forced.
    pub max_unflushed_log_bytes: u64,
    /// Age of what is not flushed at which a flush is forced.
    pub max_unflushed_age_ms: u64,
    /// How long a stopping store tries to hand its leaders over.
    pub stop_timeout_ms: u64,
    /// How often the regions that the store leads are looked over for splits.
    pub split_region_check_tick_interval_ms: u64,
    /// About how many bytes the parts have that a large region is cut into.
    pub region_split_size: u64,
    /// Bytes at which a region is cut.
    pub region_max_size: u64,
    /// About how many keys the parts have that a region of many keys is cut into.
    pub region_split_keys: u64,
    /// Keys at which a region is cut.
    pub region_max_keys: u64,
    /// Bytes written to a region after which it is measured again.
    pub region_split_check_diff: u64,
    /// Most keys at which a region is cut at once.
    pub batch_split_limit: usize,
    /// Requests per second at which a region is busy.
    pub split_qps_threshold: u64,
    /// Bytes read and written per second at which a region is busy.
    pub split_byte_threshold: u64,
    /// How many times one after the other a region must be found busy before it is cut.
    pub split_detect_times: u32,
    /// How often each region that is led here is reported to the placement driver, beside when it changes.
    pub pd_heartbeat_interval_ms: u64,
    /// How often the store is reported to the placement driver.
    pub pd_store_heartbeat_interval_ms: u64,
    /// How long a member must have been silent to be reported as down.
    pub max_peer_down_ms: u64,
    /// How often the replicas of one more region are compared; 0 for never.
    pub consistency_check_interval_ms: u64,
}

impl Default for RaftstoreConfig {
    fn default() -> Self {
        let store = StoreConfig::default();
        let split = store.split;
        Self {
            tick_ms: millis(store.tick),
            election_ticks: store.region.election_ticks,
            heartbeat_ticks: store.region.heartbeat_ticks,
            raft_pollers: store.raft_pollers,
            apply_pollers: store.apply_pollers,
            log_writer_thread: store.log_writer_thread,
            regions_per_round: store.regions_per_round,
            mailbox_capacity: store.mailbox_capacity,
            max_entry_bytes: store.region.max_entry_bytes,
            entry_cache_bytes: store.region.entry_cache_bytes,
            max_log_bytes: store.region.max_log_bytes,
            compact_entries: store.region.compact_entries,
            newcomer_ticks: store.region.newcomer_ticks,
            stale_ticks: store.region.stale_ticks,
            max_unflushed_log_bytes: store.max_unflushed_log_bytes,
            max_unflushed_age_ms: millis(store.max_unflushed_age),
            stop_timeout_ms: millis(store.stop_timeout),
            split_region_check_tick_interval_ms: millis(split.check_interval),
            region_split_size: split.region_bytes,
            region_max_size: split.max_region_bytes,
            region_split_keys: split.region_keys,
            region_max_keys: split.max_region_keys,
            region_split_check_diff: split.check_diff_bytes,
            batch_split_limit: split.keys_per_split,
            split_qps_threshold: split.busy_requests_per_second,
            split_byte_threshold: split.busy_bytes_per_second,
            split_detect_times: split.busy_checks,
            pd_heartbeat_interval_ms: 60_000,
            pd_store_heartbeat_interval_ms: 10_000,
            max_peer_down_ms: 600_000,
            consistency_check_interval_ms: 0,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl RaftstoreConfig {
    /// The settings as the store takes them, with chance drawn from `seed`.
    pub fn store_config(&self, seed: u64) -> StoreConfig {
        let mut config = StoreConfig {
            tick: Duration::from_millis(self.tick_ms),
            raft_pollers: self.raft_pollers,
            apply_pollers: self.apply_pollers,
            log_writer_thread: self.log_writer_thread,
            regions_per_round: self.regions_per_round,
            mailbox_capacity: self.mailbox_capacity,
            max_unflushed_log_bytes: self.max_unflushed_log_bytes,
            max_unflushed_age: Duration::from_millis(self.max_unflushed_age_ms),
            stop_timeout: Duration::from_millis(self.stop_timeout_ms),
            split: self.split_config(),
            ..StoreConfig::default()
        };
        let region = &mut config.region;
        region.election_ticks = self.election_ticks;
        region.heartbeat_ticks = self.heartbeat_ticks;
        region.max_entry_bytes = self.max_entry_bytes;
        region.entry_cache_bytes = self.entry_cache_bytes;
        region.max_log_bytes = self.max_log_bytes;
        region.compact_entries = self.compact_entries;
        region.newcomer_ticks = self.newcomer_ticks;
        region.stale_ticks = self.stale_ticks;
        region.seed = types::seed::Seed(seed);
        config
    }

    fn split_config(&self) -> SplitConfig {
        SplitConfig {
            check_interval: Duration::from_millis(self.split_region_check_tick_interval_ms),
            region_bytes: self.region_split_size,
            max_region_bytes: self.region_max_size,
            region_keys: self.region_split_keys,
            max_region_keys: self.region_max_keys,
            check_diff_bytes: self.region_split_check_diff,
            keys_per_split: self.batch_split_limit,
            busy_requests_per_second: self.split_qps_threshold,
            busy_bytes_per_second: self.split_byte_threshold,
            busy_checks: self.split_detect_times,
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let section = "raftstore";
        let least = |key: &str, value: u64, least: u64| {
            (value >= least).then_some(()).ok_or_else(|| ConfigError::Value {
                key: format!("{section}.{key}"),
                problem: format!("is {value}, must be at least {least}"),
            })
        };
        least("tick-ms", self.tick_ms, 1)?;
        least("heartbeat-ticks", self.heartbeat_ticks.into(), 1)?;
        least("election-ticks", self.election_ticks.into(), u64::from(self.heartbeat_ticks) * 2)?;
        least("raft-pollers", self.raft_pollers as u64, 1)?;
        least("apply-pollers", self.apply_pollers as u64, 1)?;
        least("regions-per-round", self.regions_per_round as u64, 1)?;
        least("mailbox-capacity", self.mailbox_capacity as u64, 16)?;
        least("max-entry-bytes", self.max_entry_bytes, 1 << 10)?;
        least("max-log-bytes", self.max_log_bytes, self.max_entry_bytes)?;
        least("compact-entries", self.compact_entries, 1)?;
        // Below that a member that only changes its leader would look lost.
        least("newcomer-ticks", self.newcomer_ticks.into(), u64::from(self.election_ticks) * 2)?;
        least("stale-ticks", self.stale_ticks.into(), u64::from(self.election_ticks) * 2)?;
        least("split-region-check-tick-interval-ms", self.split_region_check_tick_interval_ms, 1)?;
        least("region-split-size", self.region_split_size, 1 << 10)?;
        least("region-split-keys", self.region_split_keys, 16)?;
        least("region-split-check-diff", self.region_split_check_diff, 1)?;
        // Zero switches the reason off. What is cut into parts must be larger than they are, or it is cut for ever.
        if self.region_max_size > 0 {
            least("region-max-size", self.region_max_size, self.region_split_size.saturating_add(1))?;
        }
        if self.region_max_keys > 0 {
            least("region-max-keys", self.region_max_keys, self.region_split_keys.saturating_add(1))?;
        }
        least("batch-split-limit", self.batch_split_limit as u64, 1)?;
        let most = types::limits::MAX_SPLIT_REGIONS;
        if self.batch_split_limit > most {
            let problem = format!("is {}, must be at most {most}", self.batch_split_limit);
            return Err(ConfigError::Value { key: format!("{section}.batch-split-limit"), problem });
        }
        least("split-detect-times", self.split_detect_times.into(), 1)?;
        least("pd-heartbeat-interval-ms", self.pd_heartbeat_interval_ms, 10)?;
        least("pd-store-heartbeat-interval-ms", self.pd_store_heartbeat_interval_ms, 10)?;
        least("max-peer-down-ms", self.max_peer_down_ms, self.tick_ms * u64::from(self.election_ticks))
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {}: {source}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: toml::de::Error,
    },
    /// A key that does not exist.
    #[error("configuration key {key:?} does not exist{}", suggest(.suggestion))]
    UnknownKey {
        /// The key, with its section.
        key: String,
        /// The key that was probably meant.
        suggestion: Option<String>,
    },
    /// A value of the wrong kind, or out of bounds.
    #[error("configuration key {key:?} {problem}")]
    Value {
        /// The key, with its section.
        key: String,
        /// What is wrong with its value.
        problem: String,
    },
    /// An engine's setting is out of bounds.
    #[error("configuration: {0}")]
    Engine(#[from] engine_rocks::ConfigError),
}

fn suggest(suggestion: &Option<String>) -> String {
    suggestion
        .as_ref()
        .map_or_else(|| "; see --print-sample-config".to_owned(), |key| format!("; did you mean {key:?}?"))
}

impl Config {
    /// Reads the file, if there is one, and what the environment overrides.
    ///
    /// # Errors
    /// See [`ConfigError`]. The result is not validated: flags may still change it.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table = match file {
            Some(path) => read_table(path)?,
            None => toml::Table::new(),
        };
        let known = sample_table();
        for (name, value) in environment {
            if let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX) {
                config_keys::set(&mut table, &known, path, &value)?;
            }
        }
        config_keys::check(&table, &known)?;
        table.try_into().map_err(|error: toml::de::Error| ConfigError::Value {
            key: error.to_string().lines().next().unwrap_or_default().to_owned(),
            problem: error.message().to_owned(),
        })
    }

    /// The settings as a store takes them, with chance drawn from `seed`.
    pub fn store_config(&self, seed: u64) -> StoreConfig {
        let mut config = self.raftstore.store_config(seed);
        let (server, snapshots) = (&self.server, &mut config.snapshots);
        snapshots.limits.outgoing = server.concurrent_send_snap_limit;
        snapshots.limits.incoming = server.concurrent_recv_snap_limit;
        snapshots.bytes_per_second = server.snap_io_max_bytes_per_sec;
        config
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first one that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.log_engine.validate()?;
        self.state_engine.validate()?;
        for (key, value) in [("addr", &self.server.addr), ("status-addr", &self.server.status_addr)] {
            check_address(&format!("server.{key}"), value)?;
        }
        check_address("server.advertise-addr", self.server.advertised())?;
        for endpoint in &self.server.pd_endpoints {
            check_address("server.pd-endpoints", endpoint)?;
        }
        self.server.validate_snapshots()?;
        self.coordinator.validate()?;
        self.raftstore.validate()
    }
}

fn check_address(key: &str, value: &str) -> Result<(), ConfigError> {
    let fine = value
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok());
    let problem = || format!("is {value:?}, must be host:port without a scheme");
    fine.then_some(()).ok_or_else(|| ConfigError::Value { key: key.to_owned(), problem: problem() })
}

fn read_table(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|source| ConfigError::Syntax { path: path.to_owned(), source })
}

/// Every key with its default.
fn sample_table() -> toml::Table {
    toml::Table::try_from(Config::default()).expect("the defaults are plain tables and values")
}

/// The text of `etc/raftyard.toml`: every key with its default and what it means.
pub const SAMPLE: &str = include_str!("../../../etc/raftyard.toml");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some(file.path()), environment)
    }

    #[test]
    fn the_sample_holds_every_default() {
        let config = load(SAMPLE, &[]).unwrap();
        assert_eq!(config, Config::default());
        config.validate().unwrap();
        let shown: toml::Table = SAMPLE.parse().unwrap();
        for (section, keys) in &sample_table() {
            for key in keys.as_table().unwrap().keys() {
                assert!(shown[section].as_table().unwrap().contains_key(key), "{section}.{key} is not in the sample");
            }
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_a_suggestion() {
        let error = load("[raftstore]\nelection-tick = 3", &[]).unwrap_err().to_string();
        assert!(error.contains("raftstore.election-tick") && error.contains("raftstore.election-ticks"), "{error}");
        let error = load("[sever]\naddr = \"a:1\"", &[]).unwrap_err().to_string();
        assert!(error.contains("\"server\""), "{error}");
        let error = load("", &[("RAFTYARD__SERVER__ADRR", "a:1")]).unwrap_err().to_string();
        assert!(error.contains("server.addr"), "{error}");
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let file = "[server]\naddr = \"a:1\"\n[raftstore]\ntick-ms = 7";
        let environment = [
            ("RAFTYARD__SERVER__ADDR", "b:2"),
            ("RAFTYARD__RAFTSTORE__LOG_WRITER_THREAD", "true"),
            ("RAFTYARD__SERVER__PD_ENDPOINTS", "[\"x:1\", \"y:2\"]"),
            ("UNRELATED", "1"),
        ];
        let config = load(file, &environment).unwrap();
        assert_eq!((config.server.addr.as_str(), config.raftstore.tick_ms), ("b:2", 7));
        assert!(config.raftstore.log_writer_thread);
        assert_eq!(config.server.pd_endpoints, ["x:1", "y:2"]);
    }

    #[test]
    fn wrong_values_are_named() {
        for (text, named) in [
            ("[raftstore]\ntick-ms = 0", "raftstore.tick-ms"),
            ("[server]\naddr = \"http://a:1\"", "server.addr"),
            ("[server]\nstatus-addr = \"nowhere\"", "server.status-addr"),
            ("[state-engine]\nblock-bytes = 1", "block-bytes"),
            ("[raftstore]\nregion-split-size = 1_000_000\nregion-max-size = 1_000_000", "raftstore.region-max-size"),
            ("[raftstore]\nregion-max-keys = 100", "raftstore.region-max-keys"),
            ("[raftstore]\nbatch-split-limit = 1000", "raftstore.batch-split-limit"),
        ] {
            let error = load(text, &[]).unwrap().validate().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(load("[server]\ngrpc-threads = \"many\"", &[]).is_err());
    }
}
