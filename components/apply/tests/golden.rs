//! What an entry of the raft log holds, version 1, byte by byte; `docs/format.md` describes it. These bytes lie on disks:
//! a change of them is a new version.

#![allow(clippy::unwrap_used)]

use apply::build;
use bytes::Bytes;
use prost::Message;
use proto::log::{Admin, CompactLog, EntryBatch, admin};
use types::{ColumnFamily, KeyRange};

fn batch(commands: Vec<proto::log::Command>, admin: Option<Admin>) -> EntryBatch {
    EntryBatch { version: 1, region_version: 2, commands, admin }
}

fn check(batch: &EntryBatch, golden: &[&[u8]]) {
    let golden = golden.concat();
    assert_eq!(batch.encode_to_vec(), golden);
    assert_eq!(EntryBatch::decode(Bytes::from(golden)).unwrap(), *batch);
}

#[test]
fn a_write_batch() {
    let operations = vec![
        build::put(ColumnFamily::Default, "k", "v"),
        build::delete(ColumnFamily::Lock, "d"),
        build::delete_range(ColumnFamily::Write, KeyRange::new("a", "b")),
    ];
    check(
        &batch(vec![build::batch(operations)], None),
        &[
            b"\x08\x01\x10\x02",                           // version 1, region version 2
            b"\x1a\x21\x0a\x1f",                           // a command that is a write batch
            b"\x0a\x08\x0a\x06\x12\x01k\x1a\x01v",         // put: column family 0 is left out
            b"\x0a\x07\x12\x05\x08\x01\x12\x01d",          // delete in column family 1
            b"\x0a\x0a\x1a\x08\x08\x02\x12\x01a\x1a\x01b", // delete-range in column family 2
        ],
    );
}

#[test]
fn compare_and_swaps() {
    let (some, none) = (Some(Bytes::from("a")), None);
    let commands = vec![
        build::compare_and_swap(ColumnFamily::Lock, "k", some.clone(), none.clone()),
        build::compare_and_swap(ColumnFamily::Default, "k", none, some),
    ];
    check(
        &batch(commands, None),
        &[
            b"\x08\x01\x10\x02",
            b"\x1a\x0a\x12\x08\x08\x01\x12\x01k\x1a\x01a", // expected "a", then deleted
            b"\x1a\x08\x12\x06\x12\x01k\x22\x01a",         // expected to be absent, then "a"
        ],
    );
}

#[test]
fn a_log_compaction() {
    let admin = Admin { kind: Some(admin::Kind::CompactLog(CompactLog { index: 7, term: 6 })) };
    check(&batch(Vec::new(), Some(admin)), &[b"\x08\x01\x10\x02", b"\x22\x06\x0a\x04\x08\x07\x10\x06"]);
}
