//! Snapshots from one store to another: whole, interrupted, damaged, on full disks, over crashes.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use common::{End, Fate, Place, announced, both, deliver, key, small_chunks, small_files, stream};
use engine::memory::{CrashPoint, Fault, FaultPoint, MemDisk};
use snapshot::{
    Answer, BuildConfig, Chunk, ContentError, Direction, FileName, Part, ReceiveConfig, ReceiveError, ReceiveStep,
    Received, Receiver, Recovery, RefusalKind, SendConfig, SendError, SendStep, Sender, sweep,
};
use types::ColumnFamily;

/// A store with a region of a few files.
fn sending(make: fn() -> Place, seed: u64) -> Place {
    make().with_region().with_data(seed, 60, 200)
}

fn flip(bytes: &Bytes, at: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << (at % 8);
    bytes.into()
}

#[test]
fn a_region_arrives_whole() {
    for make in both() {
        for (keys, config) in [(400, small_files()), (60, BuildConfig::default()), (0, BuildConfig::default())] {
            let (from, to) = (make().with_region().with_data(1, keys, 100), make().with_data(99, 50, 10));
            let mut received = deliver(from.build(config), &to);
            to.install(&mut received);
            assert_eq!(to.content(), from.content());
            received.remove().unwrap();
            assert_eq!((from.names(), to.names()), (vec![], vec![]));
            assert_eq!(to.content(), from.content());
        }
    }
}

#[test]
fn one_built_snapshot_serves_several_receivers() {
    let from = sending(Place::memory, 2);
    let built = Arc::new(from.build(small_files()));
    for _ in 0..2 {
        let to = Place::memory();
        let mut receiver = to.accept(built.manifest_bytes()).unwrap();
        let mut sender = Sender::new(Arc::clone(&built), small_chunks());
        assert!(matches!(stream(&mut sender, &mut receiver, |_| Fate::Arrives), End::Delivered(_)));
    }
}

#[test]
fn no_more_than_a_window_is_under_way() {
    let from = sending(Place::memory, 3);
    let mut sender = Sender::new(Arc::new(from.build(small_files())), small_chunks());
    let verified = vec![0; sender.snapshot().manifest().files().len()];
    sender.connected();
    assert_eq!(sender.step().unwrap(), SendStep::Wait, "nothing before the receiver says what it wants");
    sender.answer(Answer::Wanted { verified }).unwrap();
    let mut sent = Vec::new();
    while let SendStep::Chunk(chunk) = sender.step().unwrap() {
        sent.push(chunk);
    }
    assert_eq!(sent.iter().map(|chunk| chunk.data.len()).sum::<usize>(), 3000);
    assert!(!sender.may_send());
    sender.answer(Answer::Verified { place: 0, offset: 1000 }).unwrap();
    assert!(matches!(sender.step().unwrap(), SendStep::Chunk(_)));
    assert_eq!(sender.step().unwrap(), SendStep::Wait);

    // A chunk that is larger than the window goes alone.
    let from = sending(Place::memory, 3);
    let config = SendConfig { window_bytes: 1, ..small_chunks() };
    let mut sender = Sender::new(Arc::new(from.build(small_files())), config);
    let verified = vec![0; sender.snapshot().manifest().files().len()];
    sender.answer(Answer::Wanted { verified }).unwrap();
    assert!(matches!(sender.step().unwrap(), SendStep::Chunk(_)));
    assert_eq!(sender.step().unwrap(), SendStep::Wait);
}

#[test]
fn an_interruption_at_each_chunk_costs_what_was_under_way_and_no_more() {
    let from = sending(Place::memory, 4);
    let built = Arc::new(from.build(small_files()));
    let total = built.manifest().file_bytes();
    let mut at = 0;
    loop {
        let to = Place::memory();
        let mut receiver = to.accept(built.manifest_bytes()).unwrap();
        let mut sender = Sender::new(Arc::clone(&built), small_chunks());
        let mut count = 0;
        let first = stream(&mut sender, &mut receiver, |_| {
            count += 1;
            if count > at { Fate::Breaks } else { Fate::Arrives }
        });
        if let End::Delivered(mut received) = first {
            to.install(&mut received);
            break;
        }
        let verified = receiver.received_bytes();
        let mut sent = 0;
        let second = stream(&mut sender, &mut receiver, |chunk| {
            sent += chunk.data.len() as u64;
            Fate::Arrives
        });
        let End::Delivered(mut received) = second else { panic!("{second:?}") };
        assert_eq!(sent, total - verified, "broken at chunk {at}");
        to.install(&mut received);
        assert_eq!(to.content(), from.content());
        at += 1;
    }
    assert!(at > 20, "{at}");
}

#[test]
fn a_connection_that_breaks_at_every_chunk_makes_progress() {
    let from = sending(Place::memory, 5);
    let to = Place::memory();
    let built = from.build(small_files());
    let mut receiver = to.accept(built.manifest_bytes()).unwrap();
    let mut sender = Sender::new(Arc::new(built), SendConfig { window_bytes: 1, ..small_chunks() });
    for streams in 1.. {
        let mut count = 0;
        let end = stream(&mut sender, &mut receiver, |_| {
            count += 1;
            if count > 1 { Fate::Breaks } else { Fate::Arrives }
        });
        if let End::Delivered(mut received) = end {
            assert!(streams > 20, "{streams}");
            to.install(&mut received);
            break;
        }
        assert!(streams < 1000);
    }
    assert_eq!(to.content(), from.content());
}

#[test]
fn every_byte_of_a_chunk_that_is_damaged_on_its_way_is_noticed_and_sent_again() {
    let from = Place::memory().with_region().with_data(6, 4, 60);
    let built = Arc::new(from.build(small_files()));
    let total = built.manifest().file_bytes();
    assert!(total < 2000, "{total}");
    for at in 0..total {
        let to = Place::memory();
        let mut receiver = to.accept(built.manifest_bytes()).unwrap();
        let mut sender = Sender::new(Arc::clone(&built), SendConfig { chunk_bytes: 100, ..small_chunks() });
        let (mut passed, mut damaged) = (0, false);
        let end = stream(&mut sender, &mut receiver, |chunk| {
            let here = (at - passed.min(at)) as usize;
            passed += chunk.data.len() as u64;
            if damaged || passed <= at {
                return Fate::Arrives;
            }
            damaged = true;
            Fate::Becomes(Chunk { data: flip(&chunk.data, here), ..chunk.clone() })
        });
        let End::Delivered(mut received) = end else { panic!("byte {at}: {end:?}") };
        assert!(damaged);
        to.install(&mut received);
        assert_eq!(to.content(), from.content());
    }
}

#[test]
fn a_damaged_head_of_a_chunk_is_noticed() {
    let chunk = Chunk::new(1, ColumnFamily::Lock, 1000, 0, "data".into());
    assert!(chunk.is_intact());
    let damages = [
        Chunk { place: 2, ..chunk.clone() },
        Chunk { family: ColumnFamily::Write, ..chunk.clone() },
        Chunk { offset: 1001, ..chunk.clone() },
        Chunk { attempt: 1, ..chunk.clone() },
        Chunk { data: "dat".into(), ..chunk.clone() },
        Chunk { data: "data\0".into(), ..chunk.clone() },
        Chunk { checksum: chunk.checksum ^ 1, ..chunk.clone() },
    ];
    assert!(damages.iter().all(|damaged| !damaged.is_intact()));
}

#[test]
fn damage_to_several_chunks_under_way_is_mended() {
    for bad in [vec![2, 3], vec![2, 3, 4], vec![1, 3], vec![1, 2, 4, 5]] {
        let (from, to) = (sending(Place::memory, 7), Place::memory());
        let built = from.build(small_files());
        let mut receiver = to.accept(built.manifest_bytes()).unwrap();
        let mut sender = Sender::new(Arc::new(built), small_chunks());
        let mut count = 0;
        let end = stream(&mut sender, &mut receiver, |chunk| {
            count += 1;
            if bad.contains(&count) {
                return Fate::Becomes(Chunk { data: flip(&chunk.data, 0), ..chunk.clone() });
            }
            Fate::Arrives
        });
        let End::Delivered(mut received) = end else { panic!("{bad:?}: {end:?}") };
        to.install(&mut received);
        assert_eq!(to.content(), from.content());
    }
}

#[test]
fn lasting_damage_is_given_up_and_leaves_nothing() {
    let (from, to) = (sending(Place::memory, 8), Place::memory());
    let built = from.build(small_files());
    let mut receiver = to.accept(built.manifest_bytes()).unwrap();
    let mut sender = Sender::new(Arc::new(built), small_chunks());
    let mut count = 0;
    let end = stream(&mut sender, &mut receiver, |chunk| {
        count += 1;
        if count < 3 { Fate::Arrives } else { Fate::Becomes(Chunk { data: flip(&chunk.data, 0), ..chunk.clone() }) }
    });
    let End::Refused(error) = end else { panic!("{end:?}") };
    assert!(matches!(error, ReceiveError::Corrupt { .. }), "{error}");
    assert_eq!(error.refusal().kind, RefusalKind::Damaged);
    assert!(!to.names().is_empty());
    drop(receiver);
    assert_eq!(to.names(), [""; 0]);
}

/// Bytes that were damaged on the sender's disk travel with chunk checksums that fit them.
#[test]
fn every_byte_of_a_file_that_was_damaged_at_its_sender_is_noticed() {
    let from = Place::memory().with_region().with_data(9, 4, 60);
    let built = Arc::new(from.build(small_files()));
    let manifest = built.manifest().clone();
    let config = SendConfig { chunk_bytes: 100, ..small_chunks() };
    let (mut twice, mut once) = (0, 0);
    for (place, file) in manifest.files().iter().enumerate() {
        let name = FileName::new(built.key(), Part::Data(file.family, place as u32)).to_string();
        let good = from.read(&name);
        for at in 0..good.len() {
            from.overwrite(&name, &flip(&good.clone().into(), at));
            let to = Place::memory();
            let mut receiver = to.accept(built.manifest_bytes()).unwrap();
            let mut sender = Sender::new(Arc::clone(&built), config);
            let end = stream(&mut sender, &mut receiver, |_| Fate::Arrives);
            let End::Refused(error) = end else { panic!("byte {at} of {name}: {end:?}") };
            assert!(matches!(error, ReceiveError::Content(ContentError::Checksum { .. })), "{error}");
            twice += 1;

            // A fault that passes is mended by sending the file a second time.
            let to = Place::memory();
            let mut receiver = to.accept(built.manifest_bytes()).unwrap();
            let mut sender = Sender::new(Arc::clone(&built), config);
            let end = stream(&mut sender, &mut receiver, |chunk| {
                if chunk.attempt > 0 {
                    from.overwrite(&name, &good);
                    let range = chunk.offset as usize..chunk.offset as usize + chunk.data.len();
                    let mended = if chunk.place as usize == place { &good[range] } else { &chunk.data[..] };
                    let (place, family, offset) = (chunk.place, chunk.family, chunk.offset);
                    let mended = Bytes::copy_from_slice(mended);
                    return Fate::Becomes(Chunk::new(place, family, offset, chunk.attempt, mended));
                }
                Fate::Arrives
            });
            assert!(matches!(end, End::Delivered(_)), "byte {at} of {name}: {end:?}");
            once += 1;
            from.overwrite(&name, &good);
        }
    }
    assert!(twice > 100 && once == twice);
}

#[test]
fn a_sender_whose_file_is_cut_off_says_so() {
    let from = sending(Place::memory, 10);
    let built = Arc::new(from.build(small_files()));
    let name = FileName::new(built.key(), Part::Data(ColumnFamily::Default, 0)).to_string();
    let bytes = from.read(&name);
    from.overwrite(&name, &bytes[..bytes.len() - 1]);
    let to = Place::memory();
    let mut receiver = to.accept(built.manifest_bytes()).unwrap();
    let mut sender = Sender::new(built, small_chunks());
    let end = stream(&mut sender, &mut receiver, |_| Fate::Arrives);
    assert!(matches!(end, End::GivenUp(SendError::Shrunk { place: 0, .. })), "{end:?}");
}

#[test]
fn a_full_disk_at_each_write_leaves_nothing_and_may_be_tried_again() {
    let from = sending(Place::memory, 11);
    let built = Arc::new(from.build(small_files()));
    for point in [FaultPoint::FileWrite, FaultPoint::FileSync] {
        let mut struck = 0;
        for nth in 1.. {
            let to = Place::memory();
            to.memory_disk().inject(point, nth, Fault::DiskFull);
            let mut receiver = to.accept(built.manifest_bytes()).unwrap();
            let mut sender = Sender::new(Arc::clone(&built), small_chunks());
            let end = stream(&mut sender, &mut receiver, |_| Fate::Arrives);
            drop(receiver);
            let End::Refused(error) = end else {
                assert!(matches!(end, End::Delivered(_)), "{end:?}");
                break;
            };
            assert!(error.is_disk_full(), "{error}");
            assert_eq!(error.refusal().kind, RefusalKind::Later);
            assert_eq!(to.names(), [""; 0]);
            assert_eq!(to.memory_disk().used_bytes(), 0);
            struck += 1;
        }
        assert!(struck > 3, "{point:?}");
    }
}

#[test]
fn a_disk_that_is_really_full_holds_nothing_afterwards() {
    let from = sending(Place::memory, 12);
    let built = Arc::new(from.build(small_files()));
    let total = built.manifest().file_bytes();
    for capacity in (0..total).step_by(700) {
        let to = Place::memory();
        to.memory_disk().set_capacity(capacity);
        let mut receiver = to.accept(built.manifest_bytes()).unwrap();
        let end = stream(&mut Sender::new(Arc::clone(&built), small_chunks()), &mut receiver, |_| Fate::Arrives);
        assert!(matches!(&end, End::Refused(error) if error.is_disk_full()), "{end:?}");
        drop(receiver);
        assert_eq!(to.memory_disk().used_bytes(), 0);
    }
}

#[test]
fn a_crash_of_the_receiver_at_each_chunk_leaves_nothing_after_the_next_start() {
    let from = sending(Place::memory, 13);
    let built = Arc::new(from.build(small_files()));
    for torn_tail in [false, true] {
        for at in 0.. {
            let disk = MemDisk::default();
            let to = Place::on(disk.clone());
            let mut receiver = to.accept(built.manifest_bytes()).unwrap();
            let mut sender = Sender::new(Arc::clone(&built), small_chunks());
            let mut count = 0;
            let end = stream(&mut sender, &mut receiver, |_| {
                count += 1;
                if count > at { Fate::Breaks } else { Fate::Arrives }
            });
            disk.crash_at(CrashPoint { torn_tail, ..CrashPoint::OLDEST });
            let is_over = !matches!(end, End::Broken);
            drop((end, receiver, to));
            let to = Place::on(disk);
            sweep(&*to.files, &BTreeSet::new()).unwrap();
            assert_eq!(to.names(), [""; 0]);
            if is_over {
                break;
            }
        }
    }
}

/// What D10 leans on: from `keep` on, a restart finds everything, however often the process dies.
#[test]
fn what_was_kept_is_there_after_a_crash_and_can_be_installed_again() {
    for torn_tail in [false, true] {
        for (keys, config) in [(60, small_files()), (5, BuildConfig::default())] {
            let from = Place::memory().with_region().with_data(14, keys, 200);
            let disk = MemDisk::default();
            let to = Place::on(disk.clone());
            let mut received = deliver(from.build(config), &to);
            received.keep();
            // The process dies in the middle of the installation, twice.
            to.engine.ingest(&received.ingest_files().unwrap()).unwrap();
            disk.crash_at(CrashPoint { torn_tail, ..CrashPoint::OLDEST });
            drop((received, to));
            for _ in 0..2 {
                let to = Place::on(disk.clone());
                let mut received = recover(&to).unwrap();
                to.engine.ingest(&received.ingest_files().unwrap()).unwrap();
                disk.crash_at(CrashPoint { torn_tail, ..CrashPoint::OLDEST });
            }
            let to = Place::on(disk.clone());
            let mut received = recover(&to).unwrap();
            to.install(&mut received);
            assert_eq!(to.content(), from.content());
            received.remove().unwrap();
            disk.crash_at(CrashPoint::OLDEST);
            drop(to);
            assert_eq!(Place::on(disk).names(), [""; 0], "the removal is durable");
        }
    }
}

/// A start as the store makes it: with a marker that names the snapshot.
fn recover(place: &Place) -> Result<Received, ReceiveError> {
    let key = key(Direction::Incoming, 2);
    sweep(&*place.files, &BTreeSet::from([key])).unwrap();
    let mut recovery = Recovery::open(Arc::clone(&place.engine), Arc::clone(&place.files), key)?;
    loop {
        if let ReceiveStep::Received(received) = recovery.step(500)? {
            return Ok(received);
        }
    }
}

#[test]
fn the_real_engine_installs_a_kept_snapshot_again_too() {
    let (from, to) = (sending(Place::rocks, 15), Place::rocks());
    let mut received = deliver(from.build(small_files()), &to);
    received.keep();
    to.engine.ingest(&received.ingest_files().unwrap()).unwrap();
    drop(received);
    let mut received = recover(&to).unwrap();
    to.install(&mut received);
    assert_eq!(to.content(), from.content());
    received.remove().unwrap();
    assert_eq!(to.names(), [""; 0]);
}

#[test]
fn every_byte_that_is_damaged_while_a_snapshot_waits_is_found_by_the_recovery() {
    let from = Place::memory().with_region().with_data(16, 4, 60);
    let to = Place::memory();
    let mut received = deliver(from.build(small_files()), &to);
    received.keep();
    let mut damages = 0;
    for name in to.names() {
        let good = to.read(&name);
        for at in 0..good.len() {
            to.overwrite(&name, &flip(&good.clone().into(), at));
            assert!(recover(&to).is_err(), "byte {at} of {name}");
            damages += 1;
        }
        for length in [0, good.len() - 1] {
            to.overwrite(&name, &good[..length]);
            assert!(recover(&to).is_err(), "{name} cut to {length}");
        }
        to.overwrite(&name, &[&good[..], b"\0"].concat());
        assert!(recover(&to).is_err(), "{name} grew");
        to.files.remove(&name).unwrap();
        assert!(recover(&to).is_err(), "{name} is gone");
        to.overwrite(&name, &good);
    }
    assert!(damages > 500, "{damages}");
    let files = recover(&to).unwrap().manifest().files().len();
    assert_eq!(to.names().len(), files + 1, "a failed recovery removes nothing");
}

#[test]
fn a_cancelled_receiver_leaves_nothing_while_looking_through_either() {
    for make in both() {
        let (from, to) = (make().with_region().with_data(17, 12, 200), make());
        let built = Arc::new(from.build(small_files()));
        for steps in 0.. {
            let mut receiver = to.accept(built.manifest_bytes()).unwrap();
            let mut sender = Sender::new(Arc::clone(&built), small_chunks());
            sender.answer(receiver.wanted()).unwrap();
            while let SendStep::Chunk(chunk) = sender.step().unwrap() {
                sender.answer(receiver.take(&chunk).unwrap().unwrap()).unwrap();
            }
            let done = (0..steps).any(|_| matches!(receiver.step(500).unwrap(), ReceiveStep::Received(_)));
            drop(receiver);
            assert_eq!(to.names(), [""; 0], "after {steps} steps");
            if done {
                assert!(steps > 5, "{steps}");
                break;
            }
        }
    }
}

#[test]
fn both_sides_count_alike() {
    let (from, to) = (sending(Place::memory, 18), Place::memory());
    let built = from.build(small_files());
    let mut receiver = to.accept(built.manifest_bytes()).unwrap();
    assert_eq!(receiver.received_bytes(), 0);
    let total = built.manifest().file_bytes();
    let mut sender = Sender::new(Arc::new(built), small_chunks());
    let end = stream(&mut sender, &mut receiver, |_| Fate::Arrives);
    assert!(matches!(end, End::Delivered(_)));
    assert_eq!((receiver.received_bytes(), sender.verified_bytes()), (total, total));
}

#[test]
#[should_panic(expected = "before it is here")]
fn an_incomplete_snapshot_is_not_looked_through() {
    let (from, to) = (sending(Place::memory, 19), Place::memory());
    let built = from.build(small_files());
    let config = ReceiveConfig::default();
    let (engine, files) = (Arc::clone(&to.engine), Arc::clone(&to.files));
    let key = key(Direction::Incoming, 2);
    let mut receiver = Receiver::accept(engine, files, key, &announced(), built.manifest_bytes(), config).unwrap();
    let _ = receiver.step(1000);
}
