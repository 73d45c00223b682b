//! RocksDB writes down which options it runs with: they are the ones that were asked for, in every column family.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{open_log, open_state};
use engine::{EngineError, Family};
use tempfile::TempDir;

/// The newest `OPTIONS-…` file: section, key, value.
fn options(directory: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let files = directory.read_dir().unwrap().map(|file| file.unwrap().path());
    let newest =
        files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("OPTIONS-")).max().unwrap();
    let text = std::fs::read_to_string(newest).unwrap();
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            sections.entry(section.clone()).or_default().insert(key.to_owned(), value.to_owned());
        }
    }
    sections
}

#[track_caller]
fn assert_options(section: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(section.get(*key).map(String::as_str), Some(*value), "{key}");
    }
}

#[test]
fn the_log_engine_runs_with_its_options() {
    let directory = TempDir::new().unwrap();
    let _log = open_log(directory.path());
    let options = options(directory.path());
    assert_options(
        &options["DBOptions"],
        &[
            ("wal_recovery_mode", "kTolerateCorruptedTailRecords"),
            ("recycle_log_file_num", "0"),
            ("track_and_verify_wals_in_manifest", "true"),
            ("manual_wal_flush", "false"),
            ("unordered_write", "false"),
            ("enable_pipelined_write", "false"),
            ("paranoid_checks", "true"),
            ("max_background_jobs", "2"),
        ],
    );
    assert_options(
        &options["CFOptions \"default\""],
        &[
            ("write_buffer_size", "1048576"),
            ("max_write_buffer_number", "4"),
            (
                "compression_per_level",
                "kNoCompression:kNoCompression:kLZ4Compression:kLZ4Compression:kLZ4Compression:kLZ4Compression:kLZ4Compression",
            ),
        ],
    );
}

#[test]
fn the_state_engine_runs_with_its_options_in_every_column_family() {
    let directory = TempDir::new().unwrap();
    let _state = open_state(directory.path());
    let options = options(directory.path());
    assert_options(
        &options["DBOptions"],
        &[("atomic_flush", "true"), ("unordered_write", "false"), ("paranoid_checks", "true")],
    );
    for family in Family::ALL {
        assert_options(
            &options[&format!("CFOptions \"{}\"", family.name())],
            &[
                ("write_buffer_size", "1048576"),
                ("max_write_buffer_number", "4"),
                ("bottommost_compression", "kZSTD"),
                (
                    "compression_per_level",
                    "kNoCompression:kNoCompression:kLZ4Compression:kLZ4Compression:kLZ4Compression:kLZ4Compression:kLZ4Compression",
                ),
            ],
        );
        assert_options(
            &options[&format!("TableOptions/BlockBasedTable \"{}\"", family.name())],
            &[("block_size", "16384"), ("cache_index_and_filter_blocks", "true"), ("filter_policy", "bloomfilter")],
        );
    }
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = TempDir::new().unwrap();
    let _log = open_log(directory.path());
    let refused = common::try_open_log(directory.path()).unwrap_err();
    assert!(matches!(&refused, EngineError::Locked { path } if path == directory.path()), "{refused}");
}

#[test]
fn the_other_engines_directory_is_refused() {
    let directory = TempDir::new().unwrap();
    drop(open_log(directory.path()));
    let refused = common::try_open_state(directory.path()).unwrap_err();
    assert!(matches!(refused, EngineError::Record { engine: "state", .. }), "{refused}");
    drop(open_log(directory.path()));
}
