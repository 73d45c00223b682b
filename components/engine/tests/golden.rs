//! The records of format version 1, byte by byte, as `docs/format.md` describes them.
//!
//! The files in `golden/` were made without this code and are never made anew: a record that no longer fits its file is a new
//! version, with files of its own beside these. A `#` begins a comment.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use engine::log::{LIFECYCLE_VERSION, LOG_FORMAT_VERSION};
use engine::meta::{self, META_FORMAT_VERSION};
use engine::{
    ApplyState, Birth, Family, Gone, HardState, IdCounter, Invitation, Lifecycle, RegionLogState, SnapshotMarker,
    StateBatch, StateOp, StoreIdent, WriterId,
};
use types::codec::DecodeError;
use types::{
    ClusterId, InstanceId, KeyRange, LogIndex, Peer, PeerId, PeerRole, RegionDescriptor, RegionEpoch, RegionId, Round,
    StoreId, Term,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn golden(name: &str) -> Vec<u8> {
    let path = folder().join(format!("{name}.hex"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let bytes = text.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn check<T: PartialEq + Debug>(
    name: &str,
    value: T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) {
    let bytes = golden(name);
    assert_eq!(encode(&value), bytes, "{name} is written in another way");
    assert_eq!(decode(&bytes), Ok(value), "{name} is read in another way");
    check_damage(name, &bytes, &decode);
    check_versions(name, &bytes, &decode);
}

fn check_damage<T>(name: &str, bytes: &[u8], decode: &impl Fn(&[u8]) -> Result<T, DecodeError>) {
    for at in 0..bytes.len() {
        for change in 1..=u8::MAX {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= change;
            assert!(decode(&damaged).is_err(), "{name}: byte {at} changed by {change:02x}");
        }
        assert!(decode(&bytes[..at]).is_err(), "{name}: cut off at {at}");
    }
    for more in 0..=u8::MAX {
        assert!(decode(&[bytes, &[more]].concat()).is_err(), "{name}: with {more:02x} behind it");
    }
}

/// An intact record of a version that is not known is told apart from a damaged one.
fn check_versions<T>(name: &str, bytes: &[u8], decode: &impl Fn(&[u8]) -> Result<T, DecodeError>) {
    let newest = if name.starts_with("lifecycle") { LIFECYCLE_VERSION } else { 1 };
    for version in (0..=u8::MAX).filter(|version| !(1..=newest).contains(version)) {
        let outcome = decode(&reseal(bytes, 0, version)).err();
        assert!(matches!(outcome, Some(DecodeError::Version { .. })), "{name}: version {version}");
    }
}

/// The record with another byte, and the checksum that fits.
fn reseal(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut body = bytes[..bytes.len() - 4].to_vec();
    body[at] = byte;
    let sum = crc32fast::hash(&body);
    [body, sum.to_be_bytes().to_vec()].concat()
}

#[test]
fn the_versions() {
    assert_eq!((LOG_FORMAT_VERSION, META_FORMAT_VERSION, LIFECYCLE_VERSION), (1, 1, 2));
}

#[test]
fn region_log_state() {
    let hard_state = HardState { term: Term(0x0102_0304_0506_0708), vote: PeerId(11), commit: LogIndex(300) };
    let state = RegionLogState { peer: PeerId(10), hard_state };
    check("region_log_state", state, RegionLogState::encode, RegionLogState::decode);
}

#[test]
fn id_counter() {
    check("id_counter", IdCounter(1012), |counter| counter.encode().to_vec(), IdCounter::decode);
}

#[test]
fn lifecycle() {
    let split = Birth::Split { parent: RegionId(1), parent_peer: PeerId(10), index: LogIndex(77) };
    let invitation = Invitation { by: PeerId(12), store: StoreId(3), conf_ver: 9 };
    let cases = [
        ("lifecycle_bootstrap", Some(PeerId(10)), PeerId(11), Birth::Bootstrap),
        ("lifecycle_destroyed", None, PeerId(11), Birth::Message),
        ("lifecycle_split", Some(PeerId(20)), PeerId(21), split),
        ("lifecycle_invited", Some(PeerId(40)), PeerId(41), Birth::Invited(invitation)),
    ];
    for (name, peer, next_peer, birth) in cases {
        check(name, Lifecycle { peer, next_peer, birth }, Lifecycle::encode, Lifecycle::decode);
    }
    // A version 1 that says more than version 1 did.
    let early = reseal(&golden("lifecycle_invited"), 0, 1);
    assert!(matches!(Lifecycle::decode(&early), Err(DecodeError::Value { field: "birth", value: 4, .. })));
    let unborn = reseal(&golden("lifecycle_bootstrap"), 17, 4);
    assert!(matches!(Lifecycle::decode(&unborn), Err(DecodeError::Value { field: "birth", value: 4, .. })));
}

#[test]
fn snapshot_marker() {
    let descriptor = RegionDescriptor {
        id: RegionId(5),
        range: KeyRange::new("a", &b"\x00\xFF"[..]),
        epoch: RegionEpoch { conf_ver: 3, version: 9 },
        peers: vec![Peer::voter(PeerId(51), StoreId(1))],
    };
    let marker = SnapshotMarker {
        peer: PeerId(51),
        clear: vec![descriptor.range.clone(), KeyRange::new("c", "")],
        descriptor,
        index: LogIndex(1042),
        term: Term(9),
        number: 3,
        absorbed: vec![(RegionId(6), PeerId(61))],
    };
    check("snapshot_marker", marker, SnapshotMarker::encode, SnapshotMarker::decode);
}

#[test]
fn store_ident() {
    let ident = StoreIdent { cluster: ClusterId(7), store: StoreId(2), instance: InstanceId(0xFEDC_BA98_7654_3210) };
    check("store_ident", ident, StoreIdent::encode, StoreIdent::decode);
}

#[test]
fn region_descriptor() {
    let peer = |id: u64, store: u64, role| Peer { id: PeerId(id), store_id: StoreId(store), role };
    let descriptor = RegionDescriptor {
        id: RegionId(5),
        range: KeyRange::new("a", &b"\x00\xFF"[..]),
        epoch: RegionEpoch { conf_ver: 3, version: 9 },
        peers: vec![
            peer(51, 1, PeerRole::Voter),
            peer(52, 2, PeerRole::Learner),
            peer(53, 3, PeerRole::IncomingVoter),
            peer(54, 4, PeerRole::DemotingVoter),
        ],
    };
    check("region_descriptor", descriptor, |value| meta::encode_descriptor(value).to_vec(), meta::decode_descriptor);
}

#[test]
fn apply_state() {
    let state = ApplyState {
        applied: LogIndex(1_000),
        applied_term: Term(8),
        truncated: LogIndex(900),
        truncated_term: Term(6),
    };
    check("apply_state", state, |value| value.encode().to_vec(), ApplyState::decode);
}

#[test]
fn gone() {
    let gone = |start: &'static str, end: &'static str, merged_into| Gone {
        region: RegionId(5),
        peer: PeerId(51),
        range: KeyRange::new(start, end),
        merged_into,
    };
    let encode = |value: &Gone| value.encode().to_vec();
    check("gone", gone("a", "", None), encode, Gone::decode);
    check("gone_merged", gone("", "m", Some(RegionId(6))), encode, Gone::decode);
}

#[test]
fn keys() {
    assert_eq!(meta::descriptor_key(RegionId(258)), golden("descriptor_key"));
    assert_eq!(meta::apply_state_key(RegionId(258)), golden("apply_state_key"));
    assert_eq!(meta::gone_key(RegionId(258), PeerId(51)), golden("gone_key"));
    assert_eq!(meta::ident_key(), golden("ident_key"));
    assert_eq!(WriterId::Bootstrap.key(), golden("round_bootstrap_key"));
    assert_eq!(WriterId::Lifecycle.key(), golden("round_lifecycle_key"));
    assert_eq!(WriterId::Apply(3).key(), golden("round_apply_key"));
}

#[test]
fn round() {
    let mut batch = StateBatch::default();
    batch.set_round(WriterId::Apply(3), Round(513));
    let expected = StateOp::Put(Family::Meta, golden("round_apply_key").into(), golden("round").into());
    assert_eq!(batch.ops(), [expected]);
}

#[test]
fn column_families() {
    assert_eq!(Family::ALL.map(Family::name), ["default", "lock", "write", "meta"]);
}

/// The damage checks above count for something only where every file is part of them.
#[test]
fn every_file_is_checked() {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files = files.collect::<BTreeSet<_>>();
    let source = include_str!("golden.rs");
    for file in &files {
        let name = file.strip_suffix(".hex").expect("golden files end in .hex");
        assert!(source.contains(&format!("\"{name}\"")), "{file} is of no test");
    }
    assert_eq!(files.len(), 20);
}
