//! What an entry of the raft log holds, byte by byte; `docs/format.md` describes it. These bytes lie on disks: a change of
//! them is a new version. Version 2 added the commands below the first three tests, and changed nothing else.

#![allow(clippy::unwrap_used)]

use apply::build;
use bytes::Bytes;
use prost::Message;
use proto::log::{Admin, ChangeMembers, CompactLog, ComputeHash, EntryBatch, VerifyHash, admin};
use types::{ColumnFamily, KeyRange, MemberChange, NewRegion, SplitPlan};

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
    let admin = Admin { kind: Some(admin::Kind::CompactLog(CompactLog { index: 7, term: 6 })), conf_ver: 0 };
    check(&batch(Vec::new(), Some(admin)), &[b"\x08\x01\x10\x02", b"\x22\x06\x0a\x04\x08\x07\x10\x06"]);
}

/// A command of the store itself under conf_ver 3, in an entry of version 2.
fn admin(kind: admin::Kind) -> EntryBatch {
    let admin = Admin { kind: Some(kind), conf_ver: 3 };
    EntryBatch { version: 2, ..batch(Vec::new(), Some(admin)) }
}

#[test]
fn a_split() {
    let new = |key: &'static str, id: u64, peers: [u64; 2]| NewRegion {
        key: key.into(),
        id: id.into(),
        peers: peers.map(Into::into).to_vec(),
    };
    let plan = SplitPlan { regions: vec![new("c", 5, [6, 7]), new("d", 8, [9, 200])], right_derive: true };
    check(
        &admin(admin::Kind::Split(plan.into())),
        &[
            b"\x08\x02\x10\x02",                              // version 2, region version 2
            b"\x22\x1d\x12\x19",                              // a command of the store that is a split
            b"\x0a\x09\x0a\x01c\x10\x05\x1a\x02\x06\x07",     // region 5 from key c, peers 6 and 7
            b"\x0a\x0a\x0a\x01d\x10\x08\x1a\x03\x09\xc8\x01", // region 8 from key d, peers 9 and 200
            b"\x10\x01\x78\x03",                              // the parent keeps the right end; conf_ver 3
        ],
    );
}

#[test]
fn hashes() {
    let compute = admin(admin::Kind::ComputeHash(ComputeHash {}));
    check(&compute, &[b"\x08\x02\x10\x02", b"\x22\x04\x1a\x00\x78\x03"]);
    let verify = admin(admin::Kind::VerifyHash(VerifyHash { index: 9, hash: 0x0102_0304_0506_0708 }));
    check(
        &verify,
        &[b"\x08\x02\x10\x02", b"\x22\x0f\x22\x0b\x08\x09\x11", b"\x08\x07\x06\x05\x04\x03\x02\x01\x78\x03"],
    );
}

#[test]
fn a_change_of_members() {
    let changes = [
        MemberChange::vote(4.into(), 1.into()),
        MemberChange::learn(5.into(), 2.into()),
        MemberChange::remove(6.into(), 3.into()),
    ];
    let change =
        ChangeMembers { version: 2, conf_ver: 3, region_version: 2, changes: changes.map(Into::into).to_vec() };
    let golden = [
        &b"\x08\x02\x10\x03\x18\x02"[..],    // version 2, epoch 3 and 2
        b"\x22\x04\x10\x04\x18\x01",         // peer 4 on store 1 votes
        b"\x22\x06\x08\x01\x10\x05\x18\x02", // peer 5 on store 2 learns
        b"\x22\x06\x08\x02\x10\x06\x18\x03", // peer 6 on store 3 leaves
    ]
    .concat();
    assert_eq!(change.encode_to_vec(), golden);
    assert_eq!(ChangeMembers::decode(Bytes::from(golden)).unwrap(), change);
}
