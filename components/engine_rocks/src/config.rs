//! What may be tuned about the engines. Everything else is fixed in `log/options.rs` and `state/options.rs`, each with
//! its reason. `etc/raftyard.toml` explains every key to operators.

use serde::{Deserialize, Serialize};

/// A setting that the engines cannot run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[{section}] {key} = {value}: must be from {least} to {most}")]
pub struct ConfigError {
    /// The section of the configuration file.
    pub section: &'static str,
    /// The key.
    pub key: &'static str,
    /// What it was set to.
    pub value: u64,
    /// The smallest value that is taken.
    pub least: u64,
    /// The largest value that is taken.
    pub most: u64,
}

/// Settings of the log engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct LogEngineConfig {
    /// Size of a memtable, in bytes. Entries that are compacted away before their memtable is flushed never reach a
    /// file; a restart replays up to [`MEMTABLES`] times as many bytes.
    pub memtable_bytes: u64,
    /// Size of the block cache, in bytes. The log is read at restarts and for followers that fell behind the entry
    /// cache; it needs little.
    pub block_cache_bytes: u64,
    /// Threads for flushes and compactions. All engines of a process share one set of threads, as large as the
    /// largest of their settings.
    pub background_jobs: u32,
}

/// Settings of the state engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct StateEngineConfig {
    /// Size of a memtable of each column family, in bytes. Small ones stay in the processor's caches: with sorted
    /// batches, 16 MiB took a tenth off the CPU of a write.
    pub memtable_bytes: u64,
    /// Size of the block cache that all column families share, in bytes.
    pub block_cache_bytes: u64,
    /// Size of a block before compression, in bytes. Smaller ones read less for a point lookup and compress worse.
    pub block_bytes: u64,
    /// Compression of the levels between the first two, which stay uncompressed, and the last.
    pub compression: Compression,
    /// Compression of the last level, which holds most of the data.
    pub bottommost_compression: Compression,
    /// Threads for flushes and compactions; see [`LogEngineConfig::background_jobs`].
    pub background_jobs: u32,
}

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast.
    Lz4,
    /// Small.
    Zstd,
}

/// Most memtables of one column family, the one being written included; a write waits while all are full.
pub const MEMTABLES: i32 = 4;

const MIB: u64 = 1 << 20;

impl Default for LogEngineConfig {
    fn default() -> Self {
        Self { memtable_bytes: 64 * MIB, block_cache_bytes: 16 * MIB, background_jobs: 2 }
    }
}

impl Default for StateEngineConfig {
    fn default() -> Self {
        Self {
            memtable_bytes: 16 * MIB,
            block_cache_bytes: 64 * MIB,
            block_bytes: 16 << 10,
            compression: Compression::Lz4,
            bottommost_compression: Compression::Zstd,
            background_jobs: 2,
        }
    }
}

impl LogEngineConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first one that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let section = Section("log-engine");
        section.within("memtable-bytes", self.memtable_bytes, MEMTABLE_BYTES)?;
        section.within("block-cache-bytes", self.block_cache_bytes, BLOCK_CACHE_BYTES)?;
        section.within("background-jobs", self.background_jobs.into(), BACKGROUND_JOBS)
    }
}

impl StateEngineConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first one that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let section = Section("state-engine");
        section.within("memtable-bytes", self.memtable_bytes, MEMTABLE_BYTES)?;
        section.within("block-cache-bytes", self.block_cache_bytes, BLOCK_CACHE_BYTES)?;
        section.within("block-bytes", self.block_bytes, BLOCK_BYTES)?;
        section.within("background-jobs", self.background_jobs.into(), BACKGROUND_JOBS)
    }
}

const MEMTABLE_BYTES: (u64, u64) = (MIB, 4096 * MIB);
const BLOCK_CACHE_BYTES: (u64, u64) = (MIB, 1 << 44);
const BLOCK_BYTES: (u64, u64) = (1 << 10, 4 * MIB);
const BACKGROUND_JOBS: (u64, u64) = (2, 256);

struct Section(&'static str);

impl Section {
    fn within(&self, key: &'static str, value: u64, (least, most): (u64, u64)) -> Result<(), ConfigError> {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(ConfigError { section: self.0, key, value, least, most })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The part of the configuration file that this crate owns.
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Sections {
        log_engine: toml::Table,
        state_engine: toml::Table,
    }

    #[test]
    fn the_template_shows_every_key_with_its_default() {
        let text = include_str!("../../../etc/raftyard.toml");
        let sections: Sections = toml::from_str(text).unwrap();
        assert_eq!(sections.log_engine, toml::Table::try_from(LogEngineConfig::default()).unwrap());
        assert_eq!(sections.state_engine, toml::Table::try_from(StateEngineConfig::default()).unwrap());
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<LogEngineConfig>("memtable-byte = 5").is_err());
        assert!(toml::from_str::<StateEngineConfig>("compression = \"snappy\"").is_err());
        let config: StateEngineConfig = toml::from_str("compression = \"none\"").unwrap();
        assert_eq!(config, StateEngineConfig { compression: Compression::None, ..StateEngineConfig::default() });
    }

    #[test]
    fn values_out_of_bounds_are_named() {
        assert_eq!(LogEngineConfig::default().validate(), Ok(()));
        assert_eq!(StateEngineConfig::default().validate(), Ok(()));
        let refused = LogEngineConfig { background_jobs: 1, ..LogEngineConfig::default() }.validate().unwrap_err();
        assert_eq!(refused.to_string(), "[log-engine] background-jobs = 1: must be from 2 to 256");
        let refused =
            StateEngineConfig { block_bytes: 5 << 20, ..StateEngineConfig::default() }.validate().unwrap_err();
        assert_eq!((refused.section, refused.key), ("state-engine", "block-bytes"));
    }
}
