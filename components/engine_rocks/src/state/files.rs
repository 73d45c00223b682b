//! What touches whole files: ingest, deletion, sizes.

use std::sync::Arc;

use bytes::Bytes;
use engine::{Family, IngestFile, Result};
use parking_lot::Mutex;
use rocksdb::{DB, LiveFile, Range, ReadOptions, ReadTier, properties};
use types::{ColumnFamily, KeyRange};

use super::{family, options, read_error};
use crate::error::Engine;

/// Takes files over, one column family after the other, each durable before the next begins: RocksDB could take all at
/// once, the crate cannot. A crash in between is D10's to mend, which clears the range and begins again.
///
/// RocksDB flushes what lies in memtables of the files' keys first, and holds every write up until that is done. Where D10
/// has cleared the range right before, something does: then it is flushed here, while others write. Gives how many families
/// held writes up for a flush all the same: a flush may return a moment before RocksDB itself sees its end.
pub(super) fn ingest(db: &DB, files: &[IngestFile], flush: impl Fn() -> Result<()>) -> Result<usize> {
    let (mut is_flushed, mut held_up) = (false, 0);
    for of in Family::ALL {
        let paths: Vec<_> = files.iter().filter(|file| file.family == of).map(|file| &file.path).collect();
        if paths.is_empty() {
            continue;
        }
        let take = |options| db.ingest_external_file_cf_opts(family(db, of), &options, paths.clone());
        if take(options::ingest_without_flush()).is_ok() {
            continue;
        }
        // Once: nobody else writes to what is ingested (D6), and each flush is one more file of the first level.
        if !std::mem::replace(&mut is_flushed, true) {
            flush()?;
            if take(options::ingest_without_flush()).is_ok() {
                continue;
            }
        }
        take(options::ingest()).map_err(|error| Engine::State.error("ingest", error))?;
        held_up += 1;
    }
    Ok(held_up)
}

/// Drops the files that lie wholly in a range. RocksDB takes the end as included and knows no open end, so that it is
/// given the last key of any file that ends in the range; it leaves level 0 alone.
pub(super) fn delete_files_in_range(db: &DB, range: &KeyRange) -> Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let error = |error| Engine::State.error("delete files", error);
    let files = db.live_files().map_err(error)?;
    for of in ColumnFamily::ALL {
        let of_family = files.iter().filter(|file| file.column_family_name == of.name());
        let ends = of_family.filter_map(|file| file.end_key.as_deref()).filter(|key| range.contains(key));
        if let Some(end) = ends.max() {
            db.delete_file_in_range_cf(family(db, of.into()), &range.start[..], end).map_err(error)?;
        }
    }
    Ok(())
}

/// Compacts the files of a range down to their last level, and that as well. What is in memtables is flushed before, of
/// all column families at one cut, since the database flushes atomically (D2). The crate does not tell how it ended: where
/// it failed, the files are as they were, or the database takes no more writes and says so there.
pub(super) fn compact(db: &DB, range: &KeyRange) {
    if range.is_empty() {
        return;
    }
    for of in ColumnFamily::ALL {
        db.compact_range_cf_opt(family(db, of.into()), Some(&range.start[..]), range.end_bound(), &options::compact());
    }
}

/// About how many bytes a range takes in the files and memtables of a column family.
pub(super) fn approximate_bytes(db: &DB, of: Family, range: &KeyRange) -> Result<u64> {
    Ok(file_bytes(db, of, range) + memtable_amount(db, of, range)?.bytes)
}

fn file_bytes(db: &DB, of: Family, range: &KeyRange) -> u64 {
    // Keys that begin with sixteen bytes of FF would be left out: nobody has them, and this is an estimate.
    let end = range.end_bound().unwrap_or(&[0xFF; 16]);
    let sizes = db.get_approximate_sizes_cf(family(db, of), &[Range::new(&range.start, end)]);
    sizes.first().copied().unwrap_or(0)
}

/// About how many keys a range holds in the files and memtables of all user column families.
///
/// A file knows how many entries it has; of one that the range cuts, those count that its share of the bytes stands for.
/// A tombstone counts as less than nothing: it hides a key of an older file. One that covers a range counts as one.
pub(super) fn approximate_keys(db: &DB, list: &FileList, range: &KeyRange) -> Result<u64> {
    let files = list.get(db)?;
    let mut keys: u64 = 0;
    for of in ColumnFamily::ALL {
        let (mut put, mut hidden) = (0_u64, 0_u64);
        for file in files.iter().filter(|file| file.column_family_name == of.name()) {
            let (entries, deletions) = (file.num_entries, file.num_deletions);
            put += share(db, of.into(), file, range, entries.saturating_sub(deletions));
            hidden += share(db, of.into(), file, range, deletions);
        }
        keys += put.saturating_sub(hidden) + memtable_amount(db, of.into(), range)?.keys;
    }
    Ok(keys)
}

/// How many of a file's entries lie in a range, when they lie evenly between its keys.
fn share(db: &DB, of: Family, file: &LiveFile, range: &KeyRange, entries: u64) -> u64 {
    let (Some(first), Some(last)) = (&file.start_key, &file.end_key) else { return 0 };
    let own = KeyRange { start: Bytes::copy_from_slice(first), end: [&last[..], &[0]].concat().into() };
    if range.encloses(&own) {
        return entries;
    }
    let shared = own.intersect(range);
    if entries == 0 || shared.is_empty() {
        return 0;
    }
    // Other files of the same keys count in both estimates, and so cancel out, about.
    let (part, whole) = (file_bytes(db, of, &shared), file_bytes(db, of, &own).max(1));
    (u128::from(entries) * u128::from(part.min(whole)) / u128::from(whole)) as u64
}

/// The engine's files, listed anew when there are others: a store that measures many regions one after the other asks
/// RocksDB, which holds all writes up meanwhile, about once.
#[derive(Default)]
pub(super) struct FileList(Mutex<Option<Listed>>);

struct Listed {
    /// The versions of all column families, which grow with each flush, compaction and ingest.
    versions: u64,
    files: Arc<Vec<LiveFile>>,
}

impl FileList {
    fn get(&self, db: &DB) -> Result<Arc<Vec<LiveFile>>> {
        let version = |of: &ColumnFamily| {
            let version = db.property_int_value_cf(family(db, (*of).into()), properties::CURRENT_SUPER_VERSION_NUMBER);
            version.ok().flatten().unwrap_or(0)
        };
        let versions = ColumnFamily::ALL.iter().map(version).sum();
        if let Some(listed) = &*self.0.lock()
            && listed.versions == versions
        {
            return Ok(Arc::clone(&listed.files));
        }
        let files = Arc::new(db.live_files().map_err(|error| Engine::State.error("list files", error))?);
        *self.0.lock() = Some(Listed { versions, files: Arc::clone(&files) });
        Ok(files)
    }
}

/// What lies in a memtable.
struct MemtableAmount {
    keys: u64,
    bytes: u64,
}

/// The crate's estimate leaves memtables out. They are small: their keys in the range are counted one by one.
fn memtable_amount(db: &DB, of: Family, range: &KeyRange) -> Result<MemtableAmount> {
    let mut options = ReadOptions::default();
    options.set_read_tier(ReadTier::Memtable);
    options.set_iterate_lower_bound(&range.start[..]);
    if let Some(end) = range.end_bound() {
        options.set_iterate_upper_bound(end);
    }
    let mut iter = db.raw_iterator_cf_opt(family(db, of), options);
    let mut amount = MemtableAmount { keys: 0, bytes: 0 };
    iter.seek_to_first();
    while let Some((key, value)) = iter.item() {
        amount.keys += 1;
        amount.bytes += (key.len() + value.len()) as u64;
        iter.next();
    }
    iter.status().map_err(read_error)?;
    Ok(amount)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use engine::{SstWriter, StateBatch, StateEngine, StateRead};
    use slog::{Discard, Logger, o};

    use super::super::RocksStateEngine;
    use super::*;
    use crate::config::StateEngineConfig;

    /// One file for each user family, with the same key.
    fn files(engine: &RocksStateEngine, directory: &std::path::Path) -> Vec<IngestFile> {
        let write = |of: &ColumnFamily| {
            let file = IngestFile { family: (*of).into(), path: directory.join(format!("{of:?}")) };
            let mut writer: Box<dyn SstWriter> = engine.sst_writer(file.family, &file.path).unwrap();
            writer.put(b"key", b"ingested").unwrap();
            writer.finish().unwrap();
            file
        };
        ColumnFamily::ALL.iter().map(write).collect()
    }

    #[test]
    fn an_ingest_where_nothing_lay_flushes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let engine = RocksStateEngine::open(&path, &StateEngineConfig::default(), Logger::root(Discard, o!())).unwrap();
        let mut batch = StateBatch::default();
        batch.put(ColumnFamily::Default, "another key", "unflushed");
        engine.write(&batch).unwrap();
        let files = files(&engine, directory.path());
        assert_eq!(ingest(&engine.db, &files, || panic!("flushed")).unwrap(), 0);
        assert_eq!(engine.get(ColumnFamily::Default.into(), b"key").unwrap().as_deref(), Some(&b"ingested"[..]));
    }

    fn held_up(flushes: bool) -> usize {
        let directory = tempfile::tempdir().unwrap();
        let logger = Logger::root(Discard, o!());
        let path = directory.path().join("state");
        let engine = RocksStateEngine::open(&path, &StateEngineConfig::default(), logger).unwrap();
        let files = files(&engine, directory.path());
        let mut batch = StateBatch::default();
        for of in ColumnFamily::ALL {
            batch.put(of, "key", "older");
            batch.delete_range(of, KeyRange::all());
        }
        engine.write(&batch).unwrap();
        let held_up = ingest(&engine.db, &files, || if flushes { engine.flush() } else { Ok(()) }).unwrap();
        for of in ColumnFamily::ALL {
            assert_eq!(engine.get(of.into(), b"key").unwrap().as_deref(), Some(&b"ingested"[..]));
        }
        held_up
    }

    #[test]
    fn an_ingest_over_what_was_just_cleared_holds_no_write_up() {
        assert_eq!(held_up(true), 0);
    }

    /// RocksDB flushes all families at once.
    #[test]
    fn an_ingest_over_what_is_not_flushed_yet_holds_writes_up_once() {
        assert_eq!(held_up(false), 1);
    }
}
