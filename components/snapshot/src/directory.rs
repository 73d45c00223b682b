//! The folder of snapshots in a real directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::files::{FilesError, Listed, Result, SnapshotFiles};

/// A directory beside the engines' own, on the same file system as the state engine's, so that files can be linked
/// into it.
pub struct Directory(PathBuf);

impl Directory {
    /// Opens the directory, which is made when it is missing.
    pub fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).map_err(failed(".", "make the directory"))?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed(".", "make the directory"))?;
        }
        Ok(Self(path.to_owned()))
    }

    /// Opens an existing file for writing, and checks that it ends at `offset`.
    fn open_end(&self, name: &str, offset: u64) -> io::Result<File> {
        let path = self.path(name);
        if offset == 0 {
            // Never written over in place: an engine may hold a link to what has this name.
            remove(&path)?;
            return OpenOptions::new().write(true).create_new(true).open(path);
        }
        let mut file = OpenOptions::new().write(true).open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        if end != offset {
            return Err(io::Error::other(format!("it ends at {end}, not at {offset}")));
        }
        Ok(file)
    }
}

fn failed(name: &str, operation: &'static str) -> impl FnOnce(io::Error) -> FilesError {
    let name = name.to_owned();
    move |error| {
        let cause = error.to_string();
        match error.kind() {
            ErrorKind::NotFound => FilesError::Missing { name },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                FilesError::DiskFull { name, operation, cause }
            }
            _ => FilesError::Io { name, operation, cause },
        }
    }
}

/// Removes whatever is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn listed(entry: &fs::DirEntry) -> io::Result<Listed> {
    let found = entry.metadata()?;
    let bytes = if found.is_dir() { 0 } else { found.len() };
    Ok(Listed { name: entry.file_name().to_string_lossy().into_owned(), bytes })
}

impl SnapshotFiles for Directory {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn list(&self) -> Result<Vec<Listed>> {
        let entries = fs::read_dir(&self.0).map_err(failed(".", "list"))?;
        let entries = entries.map(|entry| listed(&entry?)).collect::<io::Result<Vec<_>>>();
        let mut entries = entries.map_err(failed(".", "list"))?;
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }

    fn append(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let written = self.open_end(name, offset).and_then(|mut file| file.write_all(bytes));
        written.map_err(failed(name, "write"))
    }

    fn read(&self, name: &str, offset: u64, max: usize) -> Result<Bytes> {
        let file = File::open(self.path(name)).map_err(failed(name, "read"))?;
        let mut bytes = vec![0; max];
        let mut filled = 0;
        while filled < max {
            match file.read_at(&mut bytes[filled..], offset + filled as u64).map_err(failed(name, "read"))? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }

    fn size(&self, name: &str) -> Result<u64> {
        fs::metadata(self.path(name)).map(|found| found.len()).map_err(failed(name, "read"))
    }

    fn sync(&self, name: &str) -> Result<()> {
        File::open(self.path(name)).and_then(|file| file.sync_all()).map_err(failed(name, "sync"))
    }

    fn sync_names(&self) -> Result<()> {
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(failed(".", "sync"))
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        fs::hard_link(self.path(from), self.path(to)).map_err(failed(to, "link"))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        fs::rename(self.path(from), self.path(to)).map_err(failed(from, "rename"))
    }

    fn remove(&self, name: &str) -> Result<()> {
        remove(&self.path(name)).map_err(failed(name, "remove"))
    }

    fn free_bytes(&self) -> u64 {
        fs2::available_space(&self.0).unwrap_or(u64::MAX)
    }
}
