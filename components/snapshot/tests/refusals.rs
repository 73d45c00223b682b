//! What a damaged or hostile store may send: typed errors, nothing lost, nothing left.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use common::{INDEX, Place, TERM, announced, both, key, region, small_chunks, small_files};
use engine::conformance::sample::noise;
use snapshot::{
    Announced, Answer, Chunk, Content, ContentError, Direction, FileEntry, FilesError, Listed, MAX_CHUNK_BYTES,
    Manifest, ReceiveConfig, ReceiveError, ReceiveStep, Receiver, RefusalKind, SendError, SendStep, Sender,
    SharedFiles, SnapshotFiles,
};
use types::seed::Rng;
use types::{ColumnFamily, KeyRange};

const FAMILY: ColumnFamily = ColumnFamily::Write;

/// A file of these keys as the engine writes it.
fn file(place: &Place, keys: &[&str]) -> Bytes {
    let name = "hostile";
    let mut writer = place.engine.sst_writer(FAMILY.into(), &place.files.path(name)).unwrap();
    keys.iter().for_each(|key| writer.put(key.as_bytes(), b"value").unwrap());
    writer.finish().unwrap();
    let bytes = place.read(name).into();
    place.files.remove(name).unwrap();
    bytes
}

/// What a manifest has to say of a file that holds what it should.
fn entry(bytes: &Bytes, first: &'static str, last: &'static str, keys: u64) -> FileEntry {
    let checksum = xxhash_rust::xxh3::xxh3_64(bytes);
    FileEntry { family: FAMILY, bytes: bytes.len() as u64, checksum, first: first.into(), last: last.into(), keys }
}

fn manifest(files: Vec<FileEntry>) -> Manifest {
    Manifest { region: region(), index: INDEX.into(), term: TERM.into(), content: Content::Files(files) }
}

/// Hands a file in, chunk by chunk, and looks through it.
fn bring(to: &Place, entry: FileEntry, bytes: &Bytes) -> Result<ReceiveStep, ReceiveError> {
    let mut receiver = to.accept(&manifest(vec![entry]).encode())?;
    for (number, piece) in bytes.chunks(1000).enumerate() {
        let chunk = Chunk::new(0, FAMILY, 1000 * number as u64, 0, Bytes::copy_from_slice(piece));
        assert!(matches!(receiver.take(&chunk)?, Some(Answer::Verified { .. })));
    }
    loop {
        match receiver.step(10) {
            Ok(ReceiveStep::More) => {}
            other => return other,
        }
    }
}

/// A receiver of one file of 3,000 bytes.
fn receiver(to: &Place) -> Receiver {
    let bytes: Bytes = noise(1, 3000).into();
    to.accept(&manifest(vec![entry(&bytes, "c", "d", 2)]).encode()).unwrap()
}

fn chunk(place: u32, offset: u64, length: usize) -> Chunk {
    Chunk::new(place, FAMILY, offset, 0, vec![0; length].into())
}

#[test]
fn a_file_is_what_its_manifest_says() {
    for make in both() {
        let to = make();
        let bytes = file(&to, &["c", "d", "e"]);
        assert!(matches!(bring(&to, entry(&bytes, "c", "e", 3), &bytes), Ok(ReceiveStep::Received(_))));
        let outside = |error: &ReceiveError| matches!(error, ReceiveError::Content(ContentError::Outside { .. }));
        let keys = |error: &ReceiveError| matches!(error, ReceiveError::Content(ContentError::Keys { .. }));
        type Check<'a> = &'a dyn Fn(&ReceiveError) -> bool;
        let lies: [(_, _, _, Check<'_>); 6] = [
            ("c", "d", 2, &outside),
            ("d", "e", 2, &outside),
            ("b", "e", 3, &keys),
            ("c", "f", 3, &keys),
            ("c", "e", 2, &keys),
            ("c", "e", 4, &keys),
        ];
        for (first, last, count, expected) in lies {
            let error = bring(&to, entry(&bytes, first, last, count), &bytes).unwrap_err();
            assert!(expected(&error), "{first} to {last}: {error}");
            assert_eq!(error.refusal().kind, RefusalKind::Damaged);
            assert_eq!(to.names(), [""; 0]);
        }
    }
}

#[test]
fn keys_of_another_region_are_found() {
    for make in both() {
        let to = make();
        for keys in [["a", "c"], ["c", "q"], ["c", "z"]] {
            let bytes = file(&to, &keys);
            let error = bring(&to, entry(&bytes, "c", "d", 2), &bytes).unwrap_err();
            assert!(matches!(error, ReceiveError::Content(ContentError::Outside { .. })), "{error}");
            assert_eq!(to.names(), [""; 0]);
        }
    }
}

#[test]
fn bytes_that_are_no_sorted_file_are_found() {
    for make in both() {
        let to = make();
        let bytes: Bytes = noise(7, 5000).into();
        let error = bring(&to, entry(&bytes, "c", "d", 2), &bytes).unwrap_err();
        assert!(matches!(error, ReceiveError::Content(ContentError::Engine { .. })), "{error}");
        assert_eq!(error.refusal().kind, RefusalKind::Damaged);
        assert_eq!(to.names(), [""; 0]);
    }
}

#[test]
fn keys_out_of_order_are_found() {
    // The disk in memory has files whose bytes can be made by hand.
    let to = Place::memory();
    let sum = |body: Vec<u8>| [&body[..], &crc32fast::hash(&body).to_be_bytes()].concat();
    let field = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    for keys in [["d", "c"], ["c", "c"]] {
        let mut body = [&[1][..], &field(b"write"), &2_u32.to_be_bytes()].concat();
        keys.iter().for_each(|key| body.extend([field(key.as_bytes()), field(b"value")].concat()));
        let bytes: Bytes = sum(body).into();
        let error = bring(&to, entry(&bytes, "c", "d", 2), &bytes).unwrap_err();
        assert!(matches!(error, ReceiveError::Content(ContentError::Order { .. })), "{error}");
    }
}

#[test]
fn what_was_not_announced_is_not_taken() {
    let to = Place::memory();
    let bytes: Bytes = noise(1, 3000).into();
    let manifest = manifest(vec![entry(&bytes, "c", "d", 2)]).encode();
    let good = announced();
    let others = [
        ("region", Announced { region: 8.into(), ..good }),
        ("index", Announced { index: 1.into(), ..good }),
        ("term", Announced { term: 1.into(), ..good }),
        ("peer", Announced { peer: 71.into(), ..good }),
        ("peer", Announced { store: 3.into(), ..good }),
    ];
    for (expected, announced) in others {
        let (engine, files) = (Arc::clone(&to.engine), Arc::clone(&to.files));
        let key = key(Direction::Incoming, 2);
        let refused = Receiver::accept(engine, files, key, &announced, &manifest, ReceiveConfig::default());
        let Err(ReceiveError::NotAnnounced { field, .. }) = refused else { panic!("{expected} is not noticed") };
        assert_eq!(field, expected);
    }
}

#[test]
fn what_is_too_large_is_not_taken() {
    let to = Place::memory();
    let bytes: Bytes = noise(1, 3000).into();
    let second = FileEntry { first: "e".into(), last: "f".into(), ..entry(&bytes, "c", "d", 2) };
    let manifest = manifest(vec![entry(&bytes, "c", "d", 2), second]).encode();
    let accept = |max_file_bytes, max_snapshot_bytes| {
        let (engine, files) = (Arc::clone(&to.engine), Arc::clone(&to.files));
        let config = ReceiveConfig { max_file_bytes, max_snapshot_bytes, ..ReceiveConfig::default() };
        Receiver::accept(engine, files, key(Direction::Incoming, 2), &announced(), &manifest, config)
    };
    assert!(accept(3000, 6000).is_ok());
    for (file, whole) in [(2999, 6000), (3000, 5999)] {
        let Err(error) = accept(file, whole) else { panic!("it is too large") };
        assert!(matches!(error, ReceiveError::TooLarge { .. }), "{error}");
        assert_eq!(error.refusal().kind, RefusalKind::Unwanted);
    }
}

#[test]
fn chunks_that_cannot_be_are_refused() {
    let to = Place::memory();
    let family = Chunk::new(0, ColumnFamily::Lock, 0, 0, vec![0; 10].into());
    let attempt = Chunk::new(0, FAMILY, 0, 1, vec![0; 10].into());
    let impossible = [
        ("file", chunk(1, 0, 10)),
        ("file", chunk(u32::MAX, 0, 10)),
        ("column family", family),
        ("length", chunk(0, 0, 0)),
        ("length", chunk(0, 0, 3001)),
        ("length", chunk(0, 2991, 10)),
        ("length", chunk(0, u64::MAX, 10)),
        ("length", chunk(0, 0, MAX_CHUNK_BYTES + 1)),
        ("attempt", attempt),
        ("place", chunk(0, 10, 10)),
    ];
    for (expected, chunk) in impossible {
        let mut receiver = receiver(&to);
        let Err(ReceiveError::Chunk { field, .. }) = receiver.take(&chunk) else { panic!("{expected}: {chunk:?}") };
        assert_eq!(field, expected);
        drop(receiver);
        assert_eq!(to.names(), [""; 0]);
    }
}

#[test]
fn a_chunk_that_comes_twice_is_refused() {
    let to = Place::memory();
    let mut receiver = receiver(&to);
    assert_eq!(receiver.take(&chunk(0, 0, 10)).unwrap(), Some(Answer::Verified { place: 0, offset: 10 }));
    assert!(matches!(receiver.take(&chunk(0, 0, 10)), Err(ReceiveError::Chunk { field: "place", .. })));
}

#[test]
fn what_was_under_way_at_a_request_is_dropped() {
    let to = Place::memory();
    let mut receiver = receiver(&to);
    let damaged = Chunk { checksum: 0, ..chunk(0, 0, 10) };
    assert_eq!(receiver.take(&damaged).unwrap(), Some(Answer::Again { place: 0, offset: 0 }));
    for stale in [chunk(0, 10, 10), chunk(0, 0, 10), chunk(0, 20, 10)] {
        assert_eq!(receiver.take(&stale).unwrap(), None);
    }
    let again = Chunk::new(0, FAMILY, 0, 1, vec![0; 10].into());
    assert_eq!(receiver.take(&again).unwrap(), Some(Answer::Verified { place: 0, offset: 10 }));
}

/// A sender as it stands after it heard what the receiver has.
fn sender(place: &Place) -> Sender {
    let mut sender = Sender::new(Arc::new(place.build(small_files())), small_chunks());
    let verified = vec![0; sender.snapshot().manifest().files().len()];
    sender.answer(Answer::Wanted { verified }).unwrap();
    sender
}

#[test]
fn answers_that_cannot_be_are_refused() {
    let from = Place::memory().with_region().with_data(1, 60, 200);
    let files = sender(&from).snapshot().manifest().files().len();
    let size = sender(&from).snapshot().manifest().files()[0].bytes;
    let impossible = [
        Answer::Wanted { verified: vec![0; files] },
        Answer::Verified { place: 0, offset: 1001 },
        Answer::Verified { place: files as u32, offset: 0 },
        Answer::Verified { place: u32::MAX, offset: 0 },
        Answer::Again { place: 0, offset: 1001 },
        Answer::Again { place: u32::MAX, offset: 0 },
        Answer::Received,
    ];
    for answer in impossible {
        let mut sender = sender(&from);
        assert!(matches!(sender.step(), Ok(SendStep::Chunk(_))));
        let Err(SendError::Violation { answer: named }) = sender.answer(answer.clone()) else { panic!("{answer:?}") };
        assert_eq!(named, answer);
    }
    let offers: [Vec<u64>; 3] = [vec![], vec![0; files + 1], [vec![size + 1], vec![0; files - 1]].concat()];
    for verified in offers {
        let mut sender = sender(&from);
        sender.connected();
        assert!(matches!(sender.answer(Answer::Wanted { verified }), Err(SendError::Violation { .. })));
    }
}

#[test]
fn who_asks_again_for_ever_is_left() {
    let from = Place::memory().with_region().with_data(1, 60, 200);
    let mut sender = sender(&from);
    let mut asked = 0;
    let error = loop {
        assert!(matches!(sender.step(), Ok(SendStep::Chunk(_))));
        asked += 1;
        if let Err(error) = sender.answer(Answer::Again { place: 0, offset: 0 }) {
            break error;
        }
    };
    assert!(matches!(error, SendError::TooManyRepeats { repeats: 17 }), "{error}");
    assert_eq!(asked, 17);
}

#[test]
fn random_chunks_and_answers_never_panic() {
    let from = Place::memory().with_region().with_data(1, 60, 200);
    let built = Arc::new(from.build(small_files()));
    let mut rng = Rng::new(1);
    for _ in 0..300 {
        let to = Place::memory();
        let mut receiver = to.accept(built.manifest_bytes()).unwrap();
        let mut sender = Sender::new(Arc::clone(&built), small_chunks());
        let _ = sender.answer(receiver.wanted());
        for _ in 0..60 {
            let Ok(SendStep::Chunk(mut chunk)) = sender.step() else { break };
            if rng.one_in(8) {
                let offset = rng.below(5000);
                let length = rng.below(2000) as usize;
                chunk =
                    Chunk::new(rng.below(5) as u32, chunk.family, offset, rng.below(2) as u32, vec![7; length].into());
            }
            let answer = match (rng.below(8), receiver.take(&chunk)) {
                (_, Err(_)) => break,
                (0, _) => Answer::Verified { place: rng.below(3) as u32, offset: rng.below(3000) },
                (1, _) => Answer::Again { place: rng.below(3) as u32, offset: rng.below(3000) },
                (_, Ok(Some(answer))) => answer,
                (_, Ok(None)) => continue,
            };
            if sender.answer(answer).is_err() {
                break;
            }
        }
        drop(receiver);
        assert_eq!(to.names(), [""; 0]);
    }
}

#[test]
fn a_manifest_of_another_range_gives_no_way_out_of_it() {
    // The region's range is in the manifest, which is what D10 clears and reserves: a file outside of it is refused even
    // where the manifest's own list contradicts itself.
    let to = Place::memory();
    let bytes = file(&to, &["c", "d"]);
    let mut narrow = manifest(vec![entry(&bytes, "c", "d", 2)]);
    narrow.region.range = KeyRange::new("c", "d");
    assert!(matches!(to.accept(&narrow.encode()), Err(ReceiveError::Manifest(_))));
}

/// A folder on a disk that takes only so much more.
struct Cramped(SharedFiles, u64);

impl SnapshotFiles for Cramped {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }

    fn list(&self) -> Result<Vec<Listed>, FilesError> {
        self.0.list()
    }

    fn append(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), FilesError> {
        self.0.append(name, offset, bytes)
    }

    fn read(&self, name: &str, offset: u64, max: usize) -> Result<Bytes, FilesError> {
        self.0.read(name, offset, max)
    }

    fn size(&self, name: &str) -> Result<u64, FilesError> {
        self.0.size(name)
    }

    fn sync(&self, name: &str) -> Result<(), FilesError> {
        self.0.sync(name)
    }

    fn sync_names(&self) -> Result<(), FilesError> {
        self.0.sync_names()
    }

    fn link(&self, from: &str, to: &str) -> Result<(), FilesError> {
        self.0.link(from, to)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), FilesError> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), FilesError> {
        self.0.remove(name)
    }

    fn free_bytes(&self) -> u64 {
        self.1
    }
}

#[test]
fn what_would_fill_the_disk_is_refused_before_it_comes() {
    let bytes: Bytes = noise(1, 3000).into();
    let of_a_file = manifest(vec![entry(&bytes, "c", "d", 2)]).encode();
    let accept = |free: u64, manifest: &Bytes| {
        let mut place = Place::memory();
        place.files = Arc::new(Cramped(place.files, free));
        place.accept(manifest).map(drop)
    };
    let enough = 3000 + (64 << 20);
    accept(enough, &of_a_file).unwrap();
    let error = accept(enough - 1, &of_a_file).unwrap_err();
    assert!(matches!(error, ReceiveError::NoRoom { bytes: 3000, .. }) && error.is_disk_full(), "{error}");
    assert_eq!(error.refusal().kind, RefusalKind::Later);
    // What has no files takes next to nothing.
    let inline = Manifest { content: Content::Inline(Vec::new()), ..manifest(Vec::new()) };
    accept(0, &inline.encode()).unwrap();
}
