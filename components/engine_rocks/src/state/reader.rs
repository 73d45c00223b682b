//! A look into a file before it is ingested.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use engine::{EngineError, FileReader, IngestFile, Result};
use rocksdb::{ColumnFamilyDescriptor, DB, DEFAULT_COLUMN_FAMILY_NAME, Options, ReadOptions};

use super::{options, read_error};
use crate::error::Engine;

/// What is put behind the name of a file that is looked into.
const DIRECTORY_SUFFIX: &str = ".check";

/// The keys of one file. The crate has no reader for a file outside of a database, so the file is linked into an
/// otherwise empty database beside it, which goes with this reader.
pub(super) struct RocksFileReader {
    /// Closed before the directory is removed.
    db: Option<DB>,
    directory: PathBuf,
    /// The key that was read last.
    last: Option<Bytes>,
}

impl RocksFileReader {
    pub(super) fn open(file: &IngestFile) -> Result<Self> {
        let mut directory = file.path.clone().into_os_string();
        directory.push(DIRECTORY_SUFFIX);
        let directory = PathBuf::from(directory);
        let failed = |error: io::Error| Engine::State.file_error("look into a file", &directory, error);
        remove(&directory).map_err(failed)?;
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_disable_auto_compactions(true);
        let family = ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, Options::default());
        let db = DB::open_cf_descriptors(&options, &directory, [family]).map_err(open_error)?;
        let link = directory.join("file");
        let reader = Self { db: Some(db), directory: directory.clone(), last: None };
        std::fs::hard_link(&file.path, &link).map_err(failed)?;
        reader.db().ingest_external_file_opts(&options::ingest(), vec![&link]).map_err(open_error)?;
        reader.refuse_deletions(file)?;
        Ok(reader)
    }

    fn db(&self) -> &DB {
        self.db.as_ref().expect("the database is closed by drop alone")
    }

    /// A deletion is no key that an iterator shows, and would reach beyond the file's range.
    fn refuse_deletions(&self, file: &IngestFile) -> Result<()> {
        let deletions: u64 = self.db().live_files().map_err(read_error)?.iter().map(|file| file.num_deletions).sum();
        if deletions == 0 {
            return Ok(());
        }
        let cause = format!("file {} for the ingest holds {deletions} deletions", file.path.display());
        Err(EngineError::Corruption { engine: Engine::State.name(), cause })
    }
}

impl FileReader for RocksFileReader {
    fn next_keys(&mut self, max_bytes: usize) -> Result<Vec<Bytes>> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut iter = self.db().raw_iterator_opt(options);
        match &self.last {
            None => iter.seek_to_first(),
            Some(last) => {
                iter.seek(last);
                iter.next();
            }
        }
        let (mut keys, mut bytes) = (Vec::new(), 0);
        while bytes < max_bytes.max(1) {
            let Some((key, value)) = iter.item() else { break };
            bytes += key.len() + value.len();
            keys.push(Bytes::copy_from_slice(key));
            iter.next();
        }
        iter.status().map_err(read_error)?;
        drop(iter);
        if let Some(last) = keys.last() {
            self.last = Some(last.clone());
        }
        Ok(keys)
    }
}

impl Drop for RocksFileReader {
    fn drop(&mut self) {
        self.db = None;
        // What cannot be removed now is a left-over, which the next start of the store removes.
        let _ = remove(&self.directory);
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_error(error: rocksdb::Error) -> EngineError {
    Engine::State.error("look into a file", error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use engine::Family;
    use rocksdb::SstFileWriter;
    use types::ColumnFamily;

    use super::*;

    fn open(path: PathBuf) -> Result<RocksFileReader> {
        RocksFileReader::open(&IngestFile { family: Family::User(ColumnFamily::Default), path })
    }

    #[test]
    fn a_file_with_deletions_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let options = Options::default();
        let mut writer = SstFileWriter::create(&options);
        writer.open(&path).unwrap();
        writer.put("a", "1").unwrap();
        writer.delete("b").unwrap();
        writer.finish().unwrap();
        assert!(matches!(open(path), Err(EngineError::Corruption { .. })));
    }

    #[test]
    fn what_is_no_table_is_refused_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [7; 1000]).unwrap();
        assert!(matches!(open(path.clone()), Err(EngineError::Corruption { .. })));
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [path]);
    }
}
