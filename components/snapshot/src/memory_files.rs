//! The folder of snapshots on a disk in memory.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use engine::EngineError;
use engine::memory::{MemDisk, MemFolder};

use crate::files::{FilesError, Listed, Result, SnapshotFiles};

/// A folder of a [`MemDisk`], for tests and the simulator; dead after the disk's next crash.
pub struct MemoryFiles(MemFolder);

impl MemoryFiles {
    /// Where the folder lies on its disk.
    pub const FOLDER: &'static str = "snapshots";

    /// Opens the folder on a disk. Nothing needs to be made.
    pub fn open(disk: &MemDisk) -> Self {
        Self(disk.open_folder(Path::new(Self::FOLDER)))
    }
}

fn error(name: &str, operation: &'static str) -> impl FnOnce(EngineError) -> FilesError {
    let name = name.to_owned();
    move |error| match error {
        EngineError::DiskFull { cause, .. } => FilesError::DiskFull { name, operation, cause },
        other => FilesError::Io { name, operation, cause: other.to_string() },
    }
}

impl SnapshotFiles for MemoryFiles {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn list(&self) -> Result<Vec<Listed>> {
        let files = self.0.list().map_err(error(".", "list"))?;
        Ok(files.into_iter().map(|(name, bytes)| Listed { name, bytes }).collect())
    }

    fn append(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.append(name, offset, bytes).map_err(error(name, "write"))
    }

    fn read(&self, name: &str, offset: u64, max: usize) -> Result<Bytes> {
        let read = self.0.read(name, offset, max).map_err(error(name, "read"))?;
        read.ok_or_else(|| FilesError::Missing { name: name.to_owned() })
    }

    fn size(&self, name: &str) -> Result<u64> {
        let size = self.0.size(name).map_err(error(name, "read"))?;
        size.ok_or_else(|| FilesError::Missing { name: name.to_owned() })
    }

    fn sync(&self, name: &str) -> Result<()> {
        self.0.sync(name).map_err(error(name, "sync"))
    }

    fn sync_names(&self) -> Result<()> {
        self.0.sync_names().map_err(error(".", "sync"))
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        self.0.link(from, to).map_err(error(to, "link"))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.0.rename(from, to).map_err(error(from, "rename"))
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.0.remove(name).map(drop).map_err(error(name, "remove"))
    }
}
