//! The `FORMAT` file of an engine's directory: whose directory it is and which version of our keys and records it
//! holds. It is read before RocksDB touches anything, so that an older build changes nothing in a newer directory.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use engine::{EngineError, Result};
use types::codec::{DecodeError, Reader, Writer};

use crate::error::Engine;

/// The newest version of the log engine's keys and records that this build reads, and the one that it writes.
pub const LOG_ENGINE_FORMAT: u8 = 1;

/// The newest version of the state engine's keys and records that this build reads, and the one that it writes.
pub const STATE_ENGINE_FORMAT: u8 = 1;

const FILE: &str = "FORMAT";

impl Engine {
    const fn format(self) -> u8 {
        match self {
            Self::Log => LOG_ENGINE_FORMAT,
            Self::State => STATE_ENGINE_FORMAT,
        }
    }

    const fn record(self) -> &'static str {
        match self {
            Self::Log => "log engine format",
            Self::State => "state engine format",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Log => 1,
            Self::State => 2,
        }
    }
}

/// Makes sure that the directory is of this engine and of a version that this build reads. A directory without a
/// database becomes one of this engine.
///
/// # Errors
/// `Record` for a newer version or another engine's directory; `Io` for a database that is not ours.
pub(crate) fn claim(engine: Engine, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(|error| engine.file_error("open", directory, error))?;
    let path = directory.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => check(engine, &bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            refuse_foreign(engine, directory)?;
            create(engine, directory).map_err(|error| engine.file_error("open", &path, error))
        }
        Err(error) => Err(engine.file_error("open", &path, error)),
    }
}

/// The file's bytes: `version: u8 | engine: u8 | crc32: u32`.
fn encode(engine: Engine) -> Vec<u8> {
    Writer::record(engine.format()).u8(engine.number()).seal(crc32fast::hash)
}

fn check(engine: Engine, bytes: &[u8]) -> Result<()> {
    let checked: std::result::Result<(), DecodeError> = (|| {
        let (_, mut reader) = Reader::open(engine.record(), engine.format(), bytes, crc32fast::hash)?;
        let number = reader.u8()?;
        if number != engine.number() {
            return Err(reader.impossible("engine", number.into()));
        }
        reader.finish()
    })();
    checked.map_err(|source| EngineError::Record { engine: engine.name(), source })
}

/// `CURRENT` is RocksDB's own; a database without our file was not made by us, or lost a file.
fn refuse_foreign(engine: Engine, directory: &Path) -> Result<()> {
    if !directory.join("CURRENT").exists() {
        return Ok(());
    }
    Err(EngineError::Io {
        engine: engine.name(),
        operation: "open",
        cause: format!(
            "{} holds a RocksDB database without a {FILE} file, which this program did not make: \
             choose another data directory",
            directory.display()
        ),
    })
}

/// Written aside and renamed: the file is there whole or not at all.
fn create(engine: Engine, directory: &Path) -> std::io::Result<()> {
    let aside = directory.join("FORMAT.new");
    let mut file = File::create(&aside)?;
    file.write_all(&encode(engine))?;
    file.sync_all()?;
    fail_point!("format-written");
    fs::rename(&aside, directory.join(FILE))?;
    fail_point!("format-renamed");
    sync_directory(directory)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn version_1_keeps_its_bytes() {
        assert_eq!(encode(Engine::Log), [1, 1, 0x2f, 0xc5, 0x13, 0x28]);
        assert_eq!(encode(Engine::State), [1, 2, 0xb6, 0xcc, 0x42, 0x92]);
    }

    #[test]
    fn a_directory_belongs_to_the_engine_that_claimed_it() {
        let directory = tempfile::tempdir().unwrap();
        claim(Engine::Log, directory.path()).unwrap();
        claim(Engine::Log, directory.path()).unwrap();
        let refused = claim(Engine::State, directory.path()).unwrap_err();
        assert!(
            matches!(
                refused,
                EngineError::Record { engine: "state", source: DecodeError::Value { field: "engine", value: 1, .. } }
            ),
            "{refused}"
        );
    }

    #[test]
    fn a_newer_format_is_refused_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let newer = Writer::record(LOG_ENGINE_FORMAT + 1).u8(Engine::Log.number()).seal(crc32fast::hash);
        fs::write(directory.path().join(FILE), newer).unwrap();
        let refused = claim(Engine::Log, directory.path()).unwrap_err();
        assert!(refused.to_string().contains("use a newer build"), "{refused}");
    }

    #[test]
    fn a_foreign_database_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("CURRENT"), "MANIFEST-000001\n").unwrap();
        let refused = claim(Engine::Log, directory.path()).unwrap_err();
        assert!(refused.to_string().contains("choose another data directory"), "{refused}");
        assert!(!directory.path().join(FILE).exists());
    }
}
