//! A folder of ordinary files on a disk in memory.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::disk::Process;
use super::fault::FaultPoint;
use crate::Result;

/// A folder of a [`MemDisk`](super::MemDisk), opened by the process that runs on it; dead after the disk's next crash.
///
/// As on a real disk, what is written is durable once the file is synced, and what files are called once the folder's
/// names are. A crash takes back the rest: all of it, or, with a torn tail, half of what was written and no name.
#[derive(Clone)]
pub struct MemFolder {
    process: Process,
    folder: PathBuf,
}

impl MemFolder {
    pub(super) fn open(process: Process, folder: &Path) -> Self {
        Self { process, folder: folder.to_owned() }
    }

    /// Where a file of the folder lies, for the engines on the same disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Names and sizes of all files, in the order of the names.
    pub fn list(&self) -> Result<Vec<(String, u64)>> {
        self.process.check(FaultPoint::FileWrite)?;
        let files = self.process.shared.files.lock().list(&self.folder);
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(files.iter().filter_map(|(path, size)| Some((name(path)?, *size))).collect())
    }

    /// Writes at the end of a file, which must be at `offset`; at zero, a file is made in place of any that is there.
    pub fn append(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        self.process.reach(FaultPoint::FileWrite)?;
        let shared = &self.process.shared;
        shared.files.lock().append(&self.path(name), offset, bytes, &shared.space)
    }

    /// Up to `max` bytes from an offset on; fewer at the file's end, and `None` when there is no such file.
    pub fn read(&self, name: &str, offset: u64, max: usize) -> Result<Option<Bytes>> {
        self.process.check(FaultPoint::FileWrite)?;
        Ok(self.process.shared.files.lock().read_at(&self.path(name), offset, max))
    }

    /// A file's size; `None` when there is no such file.
    pub fn size(&self, name: &str) -> Result<Option<u64>> {
        self.process.check(FaultPoint::FileWrite)?;
        Ok(self.process.shared.files.lock().size(&self.path(name)))
    }

    /// Makes a file's bytes durable, not its name.
    pub fn sync(&self, name: &str) -> Result<()> {
        self.process.reach(FaultPoint::FileSync)?;
        self.process.shared.files.lock().sync(&self.path(name))
    }

    /// Makes all names durable, and with them removals.
    pub fn sync_names(&self) -> Result<()> {
        self.process.reach(FaultPoint::FileSync)?;
        let shared = &self.process.shared;
        shared.files.lock().sync_names(&self.folder, &shared.space);
        Ok(())
    }

    /// Gives a file a second name, which nobody may have.
    pub fn link(&self, from: &str, to: &str) -> Result<()> {
        self.process.check(FaultPoint::FileWrite)?;
        self.process.shared.files.lock().link(&self.path(from), &self.path(to))
    }

    /// Gives a file another name, in place of any file that had it.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.process.check(FaultPoint::FileWrite)?;
        let shared = &self.process.shared;
        shared.files.lock().rename(&self.path(from), &self.path(to), &shared.space)
    }

    /// Removes a file. Returns whether it was there.
    pub fn remove(&self, name: &str) -> Result<bool> {
        self.process.check(FaultPoint::FileWrite)?;
        let shared = &self.process.shared;
        Ok(shared.files.lock().unlink(&self.path(name), &shared.space))
    }
}
