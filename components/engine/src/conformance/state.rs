//! Checks of a state engine while its process lives.

use std::path::Path;
use std::sync::Arc;

use types::{ColumnFamily, KeyRange, Round};

use super::StateCheck;
use super::sample::{DATA, LOCK, Pair, batch, get, ingest, keys, keys_in, noise, put_all, range, scan, scan_back};
use crate::{Family, IngestFile, IterRange, StateBatch, StateEngine, StateIterator, StateRead, WriterId};

/// All of them.
pub const CHECKS: &[StateCheck] = &[
    StateCheck { name: "a new engine is empty", run: empty },
    StateCheck { name: "put, get, overwrite, delete", run: put_get_delete },
    StateCheck { name: "column families are apart from each other", run: families_apart },
    StateCheck { name: "operations of a batch happen in order", run: order_in_batch },
    StateCheck { name: "a batch is seen whole, in all column families", run: batch_is_whole },
    StateCheck { name: "delete-range removes its range alone", run: delete_range },
    StateCheck { name: "delete-range without an end, and of nothing", run: delete_range_edges },
    StateCheck { name: "keys and values of any bytes and lengths", run: any_bytes },
    StateCheck { name: "large values", run: large_values },
    StateCheck { name: "iterators keep to their range, in both directions", run: iterator_bounds },
    StateCheck { name: "every seek, at every edge", run: iterator_seeks },
    StateCheck { name: "an iterator turns round", run: iterator_turns },
    StateCheck { name: "an iterator over nothing", run: iterator_over_nothing },
    StateCheck { name: "a key-only iterator shows the keys", run: iterator_key_only },
    StateCheck { name: "an iterator sees the moment of its creation", run: iterator_is_still },
    StateCheck { name: "a snapshot does not see later writes", run: snapshot_is_still },
    StateCheck { name: "a snapshot does not see later physical operations", run: snapshot_and_files },
    StateCheck { name: "a snapshot outlives the handle it came from", run: snapshot_outlives },
    StateCheck { name: "rounds are persisted by a flush, each writer's by itself", run: rounds },
    StateCheck { name: "a flush changes nothing that is seen", run: flush_is_unseen },
    StateCheck { name: "ingest replaces and adds", run: ingest_replaces },
    StateCheck { name: "ingest of several files and column families", run: ingest_many },
    StateCheck { name: "ingest above a range tombstone", run: ingest_above_tombstone },
    StateCheck { name: "writes above ingested keys", run: write_above_ingest },
    StateCheck { name: "a file takes ascending keys only, and one at least", run: file_order },
    StateCheck { name: "a file can be looked into before it is ingested", run: look_into_file },
    StateCheck { name: "deleting files takes nothing outside of its range", run: delete_files },
    StateCheck { name: "approximate bytes follow the data", run: approximate_bytes },
    StateCheck { name: "approximate keys follow the data", run: approximate_keys },
    StateCheck { name: "a range is cut into even parts", run: split_keys },
    StateCheck { name: "statistics", run: statistics },
];

fn empty(state: &dyn StateEngine, _: &Path) {
    for family in Family::ALL {
        assert_eq!(keys(state, family), "");
        assert_eq!(get(state, family, "a"), None);
    }
    assert_eq!(state.persisted_round(WriterId::Bootstrap).unwrap(), Round(0));
    assert_eq!(state.approximate_bytes(&KeyRange::all()).unwrap(), 0);
    assert_eq!(state.approximate_keys(&KeyRange::all()).unwrap(), 0);
}

fn put_get_delete(state: &dyn StateEngine, _: &Path) {
    put_all(state, DATA, &[("b", "1"), ("a", "2"), ("c", "3")]);
    assert_eq!(get(state, DATA, "a"), Some(b"2".to_vec()));
    assert_eq!(keys(state, DATA), "a b c");
    put_all(state, DATA, &[("b", "4")]);
    batch(state, |batch| batch.delete(DATA, "a"));
    batch(state, |batch| batch.delete(DATA, "never there"));
    assert_eq!(scan(state, DATA, KeyRange::all()), pairs(&[("b", "4"), ("c", "3")]));
    assert_eq!(get(state, DATA, "a"), None);
    put_all(state, DATA, &[("a", "5")]);
    assert_eq!(get(state, DATA, "a"), Some(b"5".to_vec()));
}

fn families_apart(state: &dyn StateEngine, _: &Path) {
    for family in Family::ALL {
        put_all(state, family, &[("key", family.name())]);
    }
    for family in Family::ALL {
        assert_eq!(get(state, family, "key"), Some(family.name().into()));
    }
    batch(state, |batch| batch.delete_range(LOCK, KeyRange::all()));
    batch(state, |batch| batch.delete(ColumnFamily::Write, "key"));
    let left = Family::ALL.map(|family| get(state, family, "key").is_some());
    assert_eq!(left, [true, false, false, true]);
}

fn order_in_batch(state: &dyn StateEngine, _: &Path) {
    batch(state, |batch| {
        batch.put(DATA, "a", "1");
        batch.put(DATA, "a", "2");
        batch.delete(DATA, "b");
        batch.put(DATA, "b", "3");
        batch.put(DATA, "c", "4");
        batch.delete_range(DATA, range("c", "d"));
        batch.delete_range(DATA, range("d", "e"));
        batch.put(DATA, "d", "5");
        batch.put(DATA, "e", "6");
        batch.delete(DATA, "e");
    });
    assert_eq!(scan(state, DATA, KeyRange::all()), pairs(&[("a", "2"), ("b", "3"), ("d", "5")]));
}

fn batch_is_whole(state: &dyn StateEngine, _: &Path) {
    let before = state.snapshot();
    batch(state, |batch| Family::ALL.into_iter().for_each(|family| batch.put(family, "k", "v")));
    let after = state.snapshot();
    for family in Family::ALL {
        assert_eq!(get(&*before, family, "k"), None);
        assert_eq!(get(&*after, family, "k"), Some(b"v".to_vec()));
    }
    let mut rolled_back = StateBatch::default();
    rolled_back.put(DATA, "kept", "1");
    let place = rolled_back.save_point();
    rolled_back.put(DATA, "undone", "2");
    rolled_back.delete_range(DATA, KeyRange::all());
    rolled_back.roll_back(place);
    state.write(&rolled_back).unwrap();
    assert_eq!(keys(state, DATA), "k kept");
}

fn delete_range(state: &dyn StateEngine, _: &Path) {
    put_all(state, DATA, &[("a", "1"), ("b", "2"), ("ba", "3"), ("c", "4"), ("d", "5")]);
    state.flush().unwrap();
    put_all(state, DATA, &[("bb", "6")]);
    batch(state, |batch| batch.delete_range(DATA, range("b", "c")));
    assert_eq!(keys(state, DATA), "a c d");
    assert_eq!(get(state, DATA, "ba"), None);
    put_all(state, DATA, &[("b", "7")]);
    assert_eq!(scan(state, DATA, range("a", "d")), pairs(&[("a", "1"), ("b", "7"), ("c", "4")]));
    state.flush().unwrap();
    assert_eq!(keys(state, DATA), "a b c d");
}

fn delete_range_edges(state: &dyn StateEngine, _: &Path) {
    put_all(state, DATA, &[("a", "1"), ("b", "2"), ("c", "3")]);
    batch(state, |batch| {
        batch.put(DATA, "\u{0}", "lowest");
        batch.put(DATA, vec![0xFF; 40], "highest");
        batch.delete_range(DATA, range("b", "b"));
        batch.delete_range(DATA, range("c", "a"));
    });
    assert_eq!(scan(state, DATA, KeyRange::all()).len(), 5, "an empty range holds nothing");
    batch(state, |batch| batch.delete_range(DATA, range("b", "")));
    assert_eq!(keys(state, DATA), "\u{0} a", "no end means no end, however large the keys");
    batch(state, |batch| {
        batch.put(DATA, "", "empty");
        batch.delete_range(DATA, range("", "a"));
    });
    assert_eq!(keys(state, DATA), "a");
    batch(state, |batch| batch.delete_range(DATA, KeyRange::all()));
    assert_eq!(keys(state, DATA), "");
    batch(state, |batch| batch.delete_range(DATA, KeyRange::all()));
    assert_eq!(keys(state, DATA), "");
}

fn any_bytes(state: &dyn StateEngine, _: &Path) {
    let keys: [&[u8]; 10] = [
        b"",
        b"\x00",
        b"\x00\x00",
        b"\x00\xFF",
        b"a",
        b"a\x00",
        b"a\x00b",
        b"\xFF",
        b"\xFF\x00",
        b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    ];
    batch(state, |batch| {
        for key in keys.iter().rev() {
            batch.put(DATA, key.to_vec(), [b"v", *key].concat());
        }
        batch.put(LOCK, "empty value", "");
    });
    let expected = keys.iter().map(|key| (key.to_vec(), [b"v", *key].concat())).collect::<Vec<_>>();
    for flushed in [false, true] {
        assert_eq!(scan(state, DATA, KeyRange::all()), expected, "flushed: {flushed}");
        assert_eq!(scan_back(state, DATA, KeyRange::all()), reversed(expected.clone()));
        keys.iter().for_each(|key| assert_eq!(get(state, DATA, key), Some([b"v", *key].concat())));
        assert_eq!(get(state, LOCK, "empty value"), Some(Vec::new()), "an empty value is a value");
        state.flush().unwrap();
    }
    let below_a = keys[..4].iter().map(|key| key.to_vec()).collect::<Vec<_>>();
    let found = scan(state, DATA, range("", "a")).into_iter().map(|pair| pair.0).collect::<Vec<_>>();
    assert_eq!(found, below_a);
    batch(state, |batch| batch.delete(DATA, ""));
    assert_eq!(get(state, DATA, ""), None);
}

fn large_values(state: &dyn StateEngine, _: &Path) {
    let value = |seed: u32| (0..6_u32 << 20).map(|n| (n.wrapping_mul(seed) >> 7) as u8).collect::<Vec<_>>();
    batch(state, |batch| (1..4_u32).for_each(|n| batch.put(DATA, vec![n as u8; 16 << 10], value(n))));
    for _ in 0..2 {
        for n in 1..4_u32 {
            assert_eq!(get(state, DATA, vec![n as u8; 16 << 10]), Some(value(n)));
        }
        state.flush().unwrap();
    }
}

fn iterator_bounds(state: &dyn StateEngine, _: &Path) {
    put_all(state, DATA, &[("a", "1"), ("b", "2"), ("c", "3")]);
    state.flush().unwrap();
    put_all(state, DATA, &[("bb", "4"), ("d", "5")]);
    batch(state, |batch| batch.delete(DATA, "c"));
    let all = pairs(&[("a", "1"), ("b", "2"), ("bb", "4"), ("d", "5")]);
    let cases = [
        (range("", ""), &all[..]),
        (range("b", ""), &all[1..]),
        (range("", "bb"), &all[..2]),
        (range("b", "d"), &all[1..3]),
        (range("aa", "c"), &all[1..3]),
        (range("b", "b\u{0}"), &all[1..2]),
        (range("bb\u{0}", "d"), &all[..0]),
        (range("e", ""), &all[..0]),
    ];
    for (range, expected) in cases {
        assert_eq!(scan(state, DATA, range.clone()), expected, "forward over {range}");
        assert_eq!(scan_back(state, DATA, range.clone()), reversed(expected.to_vec()), "backward over {range}");
    }
}

/// Where a move left the iterator, as text.
fn at(iter: &dyn StateIterator, valid: bool) -> Option<String> {
    valid.then(|| String::from_utf8(iter.key().to_vec()).unwrap())
}

fn seek(iter: &mut dyn StateIterator, key: &str) -> Option<String> {
    let valid = iter.seek(key.as_bytes()).unwrap();
    at(iter, valid)
}

fn seek_for_prev(iter: &mut dyn StateIterator, key: &str) -> Option<String> {
    let valid = iter.seek_for_prev(key.as_bytes()).unwrap();
    at(iter, valid)
}

fn iterator_seeks(state: &dyn StateEngine, _: &Path) {
    put_all(state, DATA, &[("a", "1"), ("c", "3"), ("e", "5"), ("g", "7")]);
    let mut iter = state.iter(DATA, IterRange::new(range("b", "g"))).unwrap();
    let forward = ["", "a", "b", "c", "d", "e", "f", "g", "h"].map(|key| seek(&mut *iter, key).unwrap_or_default());
    assert_eq!(forward, ["c", "c", "c", "c", "e", "e", "", "", ""]);
    let backward =
        ["", "a", "b", "c", "d", "e", "f", "g", "h"].map(|key| seek_for_prev(&mut *iter, key).unwrap_or_default());
    assert_eq!(backward, ["", "", "", "c", "c", "e", "e", "e", "e"]);
    let mut open = state.iter(DATA, IterRange::default()).unwrap();
    assert_eq!(seek(&mut *open, ""), Some("a".into()));
    assert_eq!(seek(&mut *open, "h"), None);
    assert_eq!(seek_for_prev(&mut *open, "h"), Some("g".into()));
    assert_eq!(seek_for_prev(&mut *open, ""), None);
}

fn iterator_turns(state: &dyn StateEngine, _: &Path) {
    put_all(state, DATA, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
    let mut iter = state.iter(DATA, IterRange::new(range("b", "d"))).unwrap();
    assert_eq!(seek(&mut *iter, "b"), Some("b".into()));
    assert!(iter.next().unwrap());
    assert_eq!((iter.key(), iter.value()), (&b"c"[..], &b"3"[..]));
    assert!(iter.prev().unwrap());
    assert_eq!((iter.key(), iter.value()), (&b"b"[..], &b"2"[..]));
    assert!(!iter.prev().unwrap(), "the range begins here");
    assert!(iter.seek_to_last().unwrap());
    assert_eq!(iter.key(), b"c");
    assert!(!iter.next().unwrap(), "the range ends here");
    assert!(iter.seek_to_first().unwrap(), "an iterator that ran off its end can be placed again");
    assert_eq!(iter.key(), b"b");
}

fn iterator_over_nothing(state: &dyn StateEngine, _: &Path) {
    put_all(state, DATA, &[("a", "1"), ("c", "3")]);
    for range in [range("b", "b"), range("c", "a"), range("aa", "b"), range("d", "")] {
        let mut iter = state.iter(DATA, IterRange::new(range)).unwrap();
        assert!(!iter.seek_to_first().unwrap());
        assert!(!iter.seek_to_last().unwrap());
        assert_eq!(seek(&mut *iter, "a"), None);
        assert_eq!(seek_for_prev(&mut *iter, "z"), None);
    }
}

fn iterator_key_only(state: &dyn StateEngine, _: &Path) {
    put_all(state, DATA, &[("a", "1"), ("b", "2")]);
    let wanted = IterRange { key_only: true, skip_cache: true, ..IterRange::default() };
    let mut iter = state.iter(DATA, wanted).unwrap();
    assert!(iter.seek_to_first().unwrap());
    assert_eq!((iter.key(), iter.value()), (&b"a"[..], &b""[..]));
    assert!(iter.next().unwrap());
    assert_eq!((iter.key(), iter.value()), (&b"b"[..], &b""[..]));
    assert!(!iter.next().unwrap());
}

fn iterator_is_still(state: &dyn StateEngine, _: &Path) {
    put_all(state, DATA, &[("a", "1"), ("c", "3")]);
    let mut iter = state.iter(DATA, IterRange::default()).unwrap();
    assert!(iter.seek_to_first().unwrap());
    put_all(state, DATA, &[("b", "2"), ("c", "changed")]);
    state.flush().unwrap();
    assert!(iter.next().unwrap());
    assert_eq!((iter.key(), iter.value()), (&b"c"[..], &b"3"[..]));
    assert_eq!(seek(&mut *iter, "b"), Some("c".into()), "nor after placing it anew");
}

fn snapshot_is_still(state: &dyn StateEngine, _: &Path) {
    put_all(state, DATA, &[("a", "1"), ("b", "2")]);
    put_all(state, LOCK, &[("x", "1")]);
    let snapshot = state.snapshot();
    put_all(state, DATA, &[("a", "changed"), ("c", "new")]);
    batch(state, |batch| {
        batch.delete(DATA, "b");
        batch.delete_range(LOCK, KeyRange::all());
    });
    state.flush().unwrap();
    assert_eq!(scan(&*snapshot, DATA, KeyRange::all()), pairs(&[("a", "1"), ("b", "2")]));
    assert_eq!(get(&*snapshot, LOCK, "x"), Some(b"1".to_vec()));
    assert_eq!(get(&*snapshot, DATA, "c"), None);
    assert_eq!(scan(state, DATA, KeyRange::all()), pairs(&[("a", "changed"), ("c", "new")]));
}

fn snapshot_and_files(state: &dyn StateEngine, files: &Path) {
    put_all(state, DATA, &[("a", "1"), ("b", "2")]);
    state.flush().unwrap();
    let first = state.snapshot();
    ingest(state, files, "new", DATA, &[("b", "changed"), ("c", "new")]);
    assert_eq!(scan(&*first, DATA, KeyRange::all()), pairs(&[("a", "1"), ("b", "2")]));
    assert_eq!(get(state, DATA, "b"), Some(b"changed".to_vec()));
    let second = state.snapshot();
    assert_eq!(keys(&*second, DATA), "a b c");
}

fn snapshot_outlives(state: &dyn StateEngine, _: &Path) {
    put_all(state, DATA, &[("a", "1")]);
    let snapshot = state.snapshot();
    let other: Arc<dyn StateRead> = Arc::clone(&snapshot);
    drop(snapshot);
    put_all(state, DATA, &[("a", "2")]);
    let mut iter = other.iter(DATA, IterRange::default()).unwrap();
    assert!(iter.seek_to_first().unwrap());
    assert_eq!(iter.value(), b"1");
}

fn rounds(state: &dyn StateEngine, _: &Path) {
    let (one, two) = (WriterId::Apply(0), WriterId::Apply(1));
    let persisted = |writer| state.persisted_round(writer).unwrap();
    batch(state, |batch| {
        batch.put(DATA, "a", "1");
        batch.set_round(one, Round(1));
    });
    state.flush().unwrap();
    assert_eq!((persisted(one), persisted(two)), (Round(1), Round(0)));
    batch(state, |batch| batch.set_round(two, Round(1)));
    batch(state, |batch| batch.set_round(one, Round(2)));
    batch(state, |batch| batch.set_round(one, Round(3)));
    assert_eq!((persisted(one), persisted(two)), (Round(1), Round(0)), "a memtable is no disk");
    state.flush().unwrap();
    assert_eq!((persisted(one), persisted(two)), (Round(3), Round(1)));
    batch(state, |batch| batch.set_round(WriterId::Lifecycle, Round(u64::MAX)));
    state.flush().unwrap();
    assert_eq!(persisted(WriterId::Lifecycle), Round(u64::MAX));
    assert_eq!(persisted(WriterId::Bootstrap), Round(0));
}

fn flush_is_unseen(state: &dyn StateEngine, _: &Path) {
    state.flush().unwrap();
    put_all(state, DATA, &[("a", "1"), ("b", "2")]);
    batch(state, |batch| batch.delete_range(DATA, range("b", "c")));
    state.flush().unwrap();
    state.flush().unwrap();
    assert_eq!(scan(state, DATA, KeyRange::all()), pairs(&[("a", "1")]));
}

fn ingest_replaces(state: &dyn StateEngine, files: &Path) {
    put_all(state, DATA, &[("a", "1"), ("b", "2")]);
    state.flush().unwrap();
    put_all(state, DATA, &[("c", "3"), ("z", "26")]);
    ingest(state, files, "one", DATA, &[("b", "new 2"), ("c", "new 3"), ("d", "new 4")]);
    let expected = pairs(&[("a", "1"), ("b", "new 2"), ("c", "new 3"), ("d", "new 4"), ("z", "26")]);
    assert_eq!(scan(state, DATA, KeyRange::all()), expected);
    ingest(state, files, "two", DATA, &[("b", "newer 2")]);
    assert_eq!(get(state, DATA, "b"), Some(b"newer 2".to_vec()), "the later file wins");
    state.flush().unwrap();
    assert_eq!(get(state, DATA, "b"), Some(b"newer 2".to_vec()));
}

fn ingest_many(state: &dyn StateEngine, files: &Path) {
    let mut list = Vec::new();
    for (name, family, key) in [("1", DATA, "a"), ("2", DATA, "m"), ("3", LOCK, "a"), ("4", Family::Meta, "\u{7}")] {
        let file = IngestFile { family, path: files.join(name) };
        let mut writer = state.sst_writer(family, &file.path).unwrap();
        writer.put(key.as_bytes(), name.as_bytes()).unwrap();
        writer.finish().unwrap();
        list.push(file);
    }
    assert_eq!(keys(state, DATA), "", "a file that is not ingested is not seen");
    state.ingest(&list).unwrap();
    assert_eq!(scan(state, DATA, KeyRange::all()), pairs(&[("a", "1"), ("m", "2")]));
    assert_eq!(get(state, LOCK, "a"), Some(b"3".to_vec()));
    assert_eq!(get(state, Family::Meta, "\u{7}"), Some(b"4".to_vec()));
    state.ingest(&[]).unwrap();
}

fn ingest_above_tombstone(state: &dyn StateEngine, files: &Path) {
    put_all(state, DATA, &[("a", "old"), ("b", "old"), ("c", "old")]);
    state.flush().unwrap();
    batch(state, |batch| batch.delete_range(DATA, range("a", "d")));
    ingest(state, files, "file", DATA, &[("b", "new")]);
    assert_eq!(scan(state, DATA, KeyRange::all()), pairs(&[("b", "new")]), "what is ingested is newer");
    state.flush().unwrap();
    assert_eq!(scan(state, DATA, KeyRange::all()), pairs(&[("b", "new")]));
}

fn write_above_ingest(state: &dyn StateEngine, files: &Path) {
    ingest(state, files, "file", DATA, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
    put_all(state, DATA, &[("a", "changed")]);
    batch(state, |batch| {
        batch.delete(DATA, "b");
        batch.delete_range(DATA, range("c", "d"));
    });
    let expected = pairs(&[("a", "changed"), ("d", "4")]);
    assert_eq!(scan(state, DATA, KeyRange::all()), expected);
    state.flush().unwrap();
    assert_eq!(scan(state, DATA, KeyRange::all()), expected);
}

fn file_order(state: &dyn StateEngine, files: &Path) {
    let mut writer = state.sst_writer(DATA, &files.join("order")).unwrap();
    writer.put(b"b", b"1").unwrap();
    assert!(writer.put(b"b", b"2").is_err(), "the same key again");
    assert!(writer.put(b"a", b"2").is_err(), "a key below the one before");
    let nothing = state.sst_writer(DATA, &files.join("nothing")).unwrap();
    assert!(nothing.finish().is_err(), "a file without keys");
    let missing = IngestFile { family: DATA, path: files.join("missing") };
    assert!(state.ingest(&[missing]).is_err(), "a file that was never written");
    assert_eq!(keys(state, DATA), "");
}

fn look_into_file(state: &dyn StateEngine, files: &Path) {
    let file = IngestFile { family: DATA, path: files.join("seen") };
    let keys: Vec<String> = (0..300).map(|number| format!("key {number:03}")).collect();
    let mut writer = state.sst_writer(DATA, &file.path).unwrap();
    keys.iter().enumerate().for_each(|(place, key)| writer.put(key.as_bytes(), &noise(place as u64, 50)).unwrap());
    writer.finish().unwrap();

    let mut reader = state.read_file(&file).unwrap();
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = reader.next_keys(1000).unwrap();
        assert!(page.len() <= 18, "a page has no more keys than asked for: {}", page.len());
        if page.is_empty() {
            break;
        }
        pages += 1;
        seen.extend(page);
    }
    assert!(seen.iter().eq(keys.iter()), "{seen:?}");
    assert!(pages > 10);
    assert!(reader.next_keys(1000).unwrap().is_empty(), "the end stays the end");
    drop(reader);
    assert_eq!(state.read_file(&file).unwrap().next_keys(0).unwrap().len(), 1, "one key at the least");

    state.ingest(std::slice::from_ref(&file)).unwrap();
    assert_eq!(scan(state, DATA, KeyRange::all()).len(), 300, "a look changes nothing");
    let missing = IngestFile { family: DATA, path: files.join("missing") };
    assert!(state.read_file(&missing).is_err());
}

fn delete_files(state: &dyn StateEngine, files: &Path) {
    ingest(state, files, "inside", DATA, &[("c", "1"), ("d", "2")]);
    put_all(state, DATA, &[("a", "1"), ("b", "2"), ("f", "3")]);
    state.flush().unwrap();
    put_all(state, DATA, &[("cc", "unflushed")]);
    put_all(state, Family::Meta, &[("c", "meta")]);
    state.flush().unwrap();
    put_all(state, DATA, &[("e", "in memory")]);
    state.delete_files_in_range(&range("c", "f")).unwrap();
    assert_eq!(keys_in(state, DATA, range("", "c")), "a b");
    assert_eq!(keys_in(state, DATA, range("f", "")), "f", "the end is not in the range");
    assert_eq!(get(state, DATA, "e"), Some(b"in memory".to_vec()), "what no flush wrote lies in no file");
    assert_eq!(keys(state, Family::Meta), "c", "meta is never touched");
    state.delete_files_in_range(&range("f", "c")).unwrap();
    state.delete_files_in_range(&range("b", "b")).unwrap();
    assert_eq!(keys_in(state, DATA, range("", "c")), "a b");
    put_all(state, DATA, &[("d", "written again")]);
    assert_eq!(get(state, DATA, "d"), Some(b"written again".to_vec()));
}

fn approximate_bytes(state: &dyn StateEngine, _: &Path) {
    let write = |prefix: &'static str| {
        batch(state, |batch| (0..1_000_u64).for_each(|n| batch.put(DATA, format!("{prefix}{n:04}"), noise(n, 1_024))));
    };
    write("a");
    write("b");
    state.flush().unwrap();
    let bytes = |range: &KeyRange| state.approximate_bytes(range).unwrap();
    let all = bytes(&KeyRange::all());
    assert!((500_000..8_000_000).contains(&all), "two thousand values of 1 KiB are reported as {all} bytes");
    let half = bytes(&range("a", "b"));
    assert!(half < all && half > all / 4, "one half is reported as {half} of {all} bytes");
    assert!(bytes(&range("c", "d")) < all / 10);
    assert_eq!(bytes(&range("b", "a")), 0, "an empty range");
}

fn approximate_keys(state: &dyn StateEngine, _: &Path) {
    let write = |prefix: &'static str, family: Family, keys: u64| {
        batch(state, |batch| {
            (0..keys).for_each(|n| batch.put(family, format!("{prefix}{n:05}"), noise(n, n as usize % 200)));
        });
    };
    write("a", DATA, 4_000);
    write("b", LOCK, 2_000);
    write("c", DATA, 1_000);
    let keys = |range: &KeyRange| state.approximate_keys(range).unwrap();
    let near = |keys: u64, expected: u64| (expected * 3 / 4..=expected * 5 / 4).contains(&keys);
    for place in ["in memory", "in files"] {
        assert!(near(keys(&KeyRange::all()), 7_000), "{} of 7000 keys {place}", keys(&KeyRange::all()));
        for (from, to, expected) in
            [("a", "b", 4_000), ("b", "c", 2_000), ("a02000", "b", 2_000), ("a03", "b01", 2_000)]
        {
            let counted = keys(&range(from, to));
            assert!(near(counted, expected), "{counted} of {expected} keys from {from} to {to} {place}");
        }
        assert!(keys(&range("d", "")) < 100 && keys(&range("", "a")) < 100);
        assert_eq!(keys(&range("b", "a")), 0, "an empty range");
        state.flush().unwrap();
    }
    write("c", DATA, 1_000);
    write("d", DATA, 1_000);
    let counted = keys(&range("d", "e"));
    assert!(near(counted, 1_000), "{counted} of 1000 keys above files, in memory");
    batch(state, |batch| (0..4_000).for_each(|n| batch.delete(DATA, format!("a{n:05}"))));
    state.flush().unwrap();
    assert!(keys(&range("a", "b")) < 3_000, "{} keys are left of none", keys(&range("a", "b")));
}

fn split_keys(state: &dyn StateEngine, _: &Path) {
    for part in 0..4 {
        let keys = 0..500_u64;
        batch(state, |batch| keys.for_each(|n| batch.put(DATA, format!("user{:06}", n * 4 + part), noise(n, 1_024))));
        // The last quarter stays in memory.
        if part < 3 {
            state.flush().unwrap();
        }
    }
    let bytes = |range: &KeyRange| state.approximate_bytes(range).unwrap();
    let all = bytes(&KeyRange::all());
    let middle = crate::split::middle_key(state, &KeyRange::all()).unwrap().expect("two thousand keys have a middle");
    let low = bytes(&KeyRange { end: middle, ..KeyRange::all() });
    assert!((all / 3..all * 2 / 3).contains(&low), "{low} of {all} bytes lie below the middle");
    let keys = crate::split::split_keys(state, &KeyRange::all(), all / 10, usize::MAX).unwrap();
    assert!((6..=10).contains(&keys.len()), "{} cuts for ten parts", keys.len());
    let smallest = keys.windows(2).map(|pair| bytes(&KeyRange { start: pair[0].clone(), end: pair[1].clone() })).min();
    assert!(smallest.is_some_and(|smallest| smallest > all / 20), "a part of {smallest:?} bytes of {all}");
}

fn statistics(state: &dyn StateEngine, _: &Path) {
    let before = state.statistics();
    batch(state, |batch| batch.put(DATA, "a", vec![1_u8; 100_000]));
    let written = state.statistics();
    assert!(written.unflushed_bytes >= before.unflushed_bytes + 100_000);
    state.flush().unwrap();
    let flushed = state.statistics();
    assert!(flushed.flushes > before.flushes);
    assert!(flushed.flushed_bytes > before.flushed_bytes);
    assert!(flushed.unflushed_bytes < written.unflushed_bytes);
}

fn pairs(list: &[(&str, &str)]) -> Vec<Pair> {
    list.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn reversed(mut list: Vec<Pair>) -> Vec<Pair> {
    list.reverse();
    list
}
