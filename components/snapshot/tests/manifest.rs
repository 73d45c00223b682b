//! The manifest byte by byte, and what no manifest may say.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use snapshot::{
    Content, FileEntry, InlinePair, MANIFEST_FORMAT_VERSION, MAX_INLINE_BYTES, MAX_MANIFEST_BYTES, Manifest,
    ManifestError,
};
use types::codec::DecodeError;
use types::{ColumnFamily, KeyRange, Peer, PeerRole, RegionDescriptor, RegionEpoch};

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"));
    let text = fs::read_to_string(path).unwrap();
    let bytes = text.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn manifest(content: Content) -> Manifest {
    let learner = Peer { role: PeerRole::Learner, ..Peer::voter(72.into(), 2.into()) };
    let region = RegionDescriptor {
        id: 7.into(),
        range: KeyRange::new("b", "q"),
        epoch: RegionEpoch { conf_ver: 3, version: 9 },
        peers: vec![Peer::voter(71.into(), 1.into()), learner],
    };
    Manifest { region, index: 1042.into(), term: 6.into(), content }
}

fn pair(family: ColumnFamily, key: &'static str, value: &'static str) -> InlinePair {
    InlinePair { family, key: key.into(), value: value.into() }
}

fn file(family: ColumnFamily, first: &'static str, last: &'static str) -> FileEntry {
    let keys = if first == last { 1 } else { 12 };
    FileEntry { family, bytes: 4096, checksum: 0x0123_4567_89ab_cdef, first: first.into(), last: last.into(), keys }
}

fn inline() -> Manifest {
    let pairs = vec![pair(ColumnFamily::Default, "c", "one"), pair(ColumnFamily::Write, "c", "")];
    manifest(Content::Inline(pairs))
}

fn files() -> Manifest {
    let lock = FileEntry { bytes: 100, checksum: 0xfedc_ba98_7654_3210, ..file(ColumnFamily::Lock, "d", "d") };
    manifest(Content::Files(vec![file(ColumnFamily::Default, "b", "cc"), lock]))
}

#[test]
fn version_1_keeps_its_bytes() {
    assert_eq!(MANIFEST_FORMAT_VERSION, 1);
    for (name, manifest) in [("manifest_inline", inline()), ("manifest_files", files())] {
        assert_eq!(manifest.encode(), golden(name), "{name} is written in another way");
        assert_eq!(Manifest::decode(&golden(name)), Ok(manifest), "{name} is read in another way");
    }
    assert_eq!((inline().file_bytes(), files().file_bytes()), (0, 4196));
}

#[test]
fn every_damage_is_noticed() {
    for bytes in [golden("manifest_inline"), golden("manifest_files")] {
        for at in 0..bytes.len() {
            for change in 1..=u8::MAX {
                let mut damaged = bytes.clone();
                damaged[at] ^= change;
                assert!(Manifest::decode(&damaged).is_err(), "byte {at} changed by {change:02x}");
            }
            assert!(Manifest::decode(&bytes[..at]).is_err(), "cut off at {at}");
        }
        assert!(Manifest::decode(&[&bytes[..], b"\0"].concat()).is_err());
    }
}

/// With a checksum that fits, as a hostile store would send it.
fn resealed(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut body = bytes[..bytes.len() - 4].to_vec();
    body[at] = byte;
    let sum = crc32fast::hash(&body);
    [body, sum.to_be_bytes().to_vec()].concat()
}

#[test]
fn no_sealed_bytes_make_it_panic() {
    for bytes in [golden("manifest_inline"), golden("manifest_files")] {
        for at in 0..bytes.len() - 4 {
            for byte in 0..=u8::MAX {
                // What is accepted must be what it says: it is written back to the same bytes.
                let resealed = resealed(&bytes, at, byte);
                if let Ok(manifest) = Manifest::decode(&resealed) {
                    assert_eq!(manifest.encode(), resealed);
                }
            }
        }
        let newer = Manifest::decode(&resealed(&bytes, 0, 2));
        assert!(matches!(newer, Err(ManifestError::Record(DecodeError::Version { version: 2, .. }))));
    }
}

fn refusal(manifest: &Manifest) -> ManifestError {
    Manifest::decode(&manifest.encode()).unwrap_err()
}

#[test]
fn ids_and_ranges_that_no_region_has_are_refused() {
    type Change = (&'static str, fn(&mut Manifest));
    let changes: [Change; 9] = [
        ("region", |manifest| manifest.region.id = 0.into()),
        ("range", |manifest| manifest.region.range = KeyRange::new("q", "b")),
        ("list of members", |manifest| manifest.region.peers.clear()),
        ("list of members", |manifest| manifest.region.peers[1].id = 71.into()),
        ("list of members", |manifest| manifest.region.peers[1].store_id = 1.into()),
        ("list of members", |manifest| manifest.region.peers[0].id = 0.into()),
        ("list of members", |manifest| {
            manifest.region.peers.iter_mut().for_each(|peer| peer.role = PeerRole::Learner);
        }),
        ("index", |manifest| manifest.index = 0.into()),
        ("term", |manifest| manifest.term = 0.into()),
    ];
    for (expected, change) in changes {
        let mut changed = files();
        change(&mut changed);
        assert_eq!(refusal(&changed), ManifestError::Impossible { field: expected });
    }
}

#[test]
fn files_that_cannot_be_are_refused() {
    let refused = |files: Vec<FileEntry>| refusal(&manifest(Content::Files(files)));
    let good = || file(ColumnFamily::Lock, "c", "d");
    assert_eq!(refused(vec![]), ManifestError::Impossible { field: "number of files" });
    let wrong = |field| ManifestError::File { place: 0, field };
    assert_eq!(refused(vec![FileEntry { bytes: 0, ..good() }]), wrong("size"));
    assert_eq!(refused(vec![FileEntry { keys: 0, ..good() }]), wrong("number of keys"));
    assert_eq!(refused(vec![FileEntry { keys: 1, ..good() }]), wrong("number of keys"));
    assert_eq!(refused(vec![FileEntry { keys: 2, ..file(ColumnFamily::Lock, "c", "c") }]), wrong("number of keys"));
    assert_eq!(refused(vec![file(ColumnFamily::Lock, "d", "c")]), wrong("key range"));
    let huge = FileEntry { bytes: u64::MAX, ..good() };
    let second = file(ColumnFamily::Lock, "e", "f");
    assert_eq!(refused(vec![huge, second]), ManifestError::File { place: 1, field: "size" });
    for outside in [file(ColumnFamily::Lock, "a", "d"), file(ColumnFamily::Lock, "c", "q")] {
        assert!(matches!(refused(vec![outside]), ManifestError::Outside { family: ColumnFamily::Lock, .. }));
    }
    let orders = [
        [good(), good()],
        [good(), file(ColumnFamily::Lock, "d", "e")],
        [file(ColumnFamily::Lock, "e", "f"), good()],
        [good(), file(ColumnFamily::Default, "e", "f")],
    ];
    for unordered in orders {
        assert!(matches!(refused(unordered.into()), ManifestError::Order { .. }));
    }
}

#[test]
fn pairs_that_cannot_be_are_refused() {
    let refused = |pairs: Vec<InlinePair>| refusal(&manifest(Content::Inline(pairs)));
    let (default, write) = (ColumnFamily::Default, ColumnFamily::Write);
    assert!(matches!(refused(vec![pair(default, "a", "1")]), ManifestError::Outside { .. }));
    assert!(matches!(refused(vec![pair(default, "q", "1")]), ManifestError::Outside { .. }));
    for (first, second) in [("c", "c"), ("d", "c")] {
        let pairs = vec![pair(default, first, "1"), pair(default, second, "1")];
        assert!(matches!(refused(pairs), ManifestError::Order { .. }));
    }
    assert!(matches!(refused(vec![pair(write, "c", "1"), pair(default, "d", "1")]), ManifestError::Order { .. }));
    let large = InlinePair { family: default, key: "c".into(), value: Bytes::from(vec![0; MAX_INLINE_BYTES]) };
    assert_eq!(refused(vec![large]), ManifestError::Impossible { field: "amount of inline data" });
}

#[test]
fn a_manifest_that_is_too_long_is_not_read() {
    let long = vec![1; MAX_MANIFEST_BYTES + 1];
    assert_eq!(Manifest::decode(&long), Err(ManifestError::TooLong { bytes: long.len() }));
}
