use proto::log::{Operation, Put, operation};
use types::ColumnFamily::{Default as Plain, Write};

use super::*;
use crate::build::{batch, compare_and_swap, delete, delete_range, put};

fn range(start: &'static str, end: &'static str) -> KeyRange {
    KeyRange::new(start, end)
}

fn enclosing(operations: Vec<Operation>) -> KeyRange {
    check_command(&batch(operations)).expect("within all limits")
}

fn is_refused(command: &Command) -> bool {
    check_command(command).is_err()
}

#[test]
fn the_smallest_range_of_all_keys() {
    assert_eq!(enclosing(vec![put(Plain, "b", "")]), range("b", "b\0"));
    assert_eq!(enclosing(vec![put(Plain, "c", ""), delete(Plain, "a"), put(Plain, "b", "")]), range("a", "c\0"));
    assert_eq!(enclosing(vec![put(Plain, "", "")]), range("", "\0"));
    assert_eq!(check_command(&compare_and_swap(Plain, "k", None, None)), Ok(range("k", "k\0")));
}

#[test]
fn delete_ranges_count_with_their_end() {
    let cases = [
        (range("b", "d"), "c", range("b", "d")),
        (range("b", "d"), "d", range("b", "d\0")),
        (range("b", "d\0"), "d", range("b", "d\0")),
        (range("b", "d"), "e", range("b", "e\0")),
        (range("b", "d"), "a", range("a", "d")),
        (range("b", ""), "z", range("b", "")),
        (range("b", "b"), "a", range("a", "b")),
    ];
    for (deleted, key, expected) in cases {
        for swapped in [false, true] {
            let mut operations = vec![delete_range(Plain, deleted.clone()), put(Plain, key, "")];
            if swapped {
                operations.reverse();
            }
            assert_eq!(enclosing(operations), expected, "{deleted} and {key}");
        }
    }
    assert_eq!(enclosing(vec![delete_range(Plain, range("b", "b"))]), range("b", "b"));
    let two = |first, second| enclosing(vec![delete_range(Plain, first), delete_range(Plain, second)]);
    assert_eq!(two(range("b", ""), range("a", "c")), range("a", ""));
    assert_eq!(two(range("a", "c"), range("b", "")), range("a", ""));
    assert_eq!(two(range("a", "d"), range("b", "c")), range("a", "d"));
}

#[test]
fn one_key_is_the_stores() {
    for operation in [put(Write, "", "v"), delete(Write, "")] {
        assert!(is_refused(&batch(vec![put(Plain, "a", "v"), operation])));
    }
    assert!(is_refused(&compare_and_swap(Write, "", None, Some("v".into()))));
    let everything =
        |family, start| batch(vec![delete_range(family, range(start, "")), delete_range(family, range(start, "\0"))]);
    let mut spared = everything(Write, "");
    spare_reserved(&mut spared);
    assert_eq!(spared, everything(Write, "\0"));
    assert_eq!(check_command(&spared), Ok(range("\0", "")));
    let mut other = everything(Plain, "");
    spare_reserved(&mut other);
    assert_eq!(other, everything(Plain, ""), "elsewhere the empty key is the users'");
}

#[test]
fn malformed_commands() {
    let nine = Operation { kind: Some(operation::Kind::Put(Put { column_family: 9, ..Put::default() })) };
    let malformed = [
        Command::default(),
        batch(vec![]),
        batch(vec![Operation::default()]),
        batch(vec![nine]),
        batch(vec![delete_range(Plain, range("b", "a"))]),
    ];
    for command in malformed {
        assert!(is_refused(&command), "{command:?}");
    }
}

#[test]
fn lengths_and_numbers() {
    let bytes = |length: usize| Bytes::from(vec![b'k'; length]);
    let (key, value) = (bytes(MAX_KEY_BYTES), bytes(MAX_VALUE_BYTES));
    let (long_key, long_value) = (bytes(MAX_KEY_BYTES + 1), bytes(MAX_VALUE_BYTES + 1));
    let swap = |key: &Bytes, expected: &Bytes, value: &Bytes| {
        compare_and_swap(Plain, key.clone(), Some(expected.clone()), Some(value.clone()))
    };
    let one = |operation| batch(vec![operation]);
    let single = |end: &Bytes| one(delete_range(Plain, KeyRange { start: key.clone(), end: end.clone() }));
    let fits = [
        one(put(Plain, key.clone(), value.clone())),
        one(delete(Plain, key.clone())),
        single(&successor(&key)),
        swap(&key, &value, &value),
        batch(vec![delete(Plain, "a"); MAX_BATCH_OPERATIONS]),
    ];
    for (number, command) in fits.iter().enumerate() {
        assert!(!is_refused(command), "case {number}");
    }
    let exceeds = [
        one(put(Plain, long_key.clone(), "")),
        one(put(Plain, "a", long_value.clone())),
        one(delete(Plain, long_key.clone())),
        single(&successor(&long_key)),
        swap(&long_key, &value, &value),
        swap(&key, &long_value, &value),
        swap(&key, &value, &long_value),
        batch(vec![delete(Plain, "a"); MAX_BATCH_OPERATIONS + 1]),
    ];
    for (number, command) in exceeds.iter().enumerate() {
        assert!(is_refused(command), "case {number}");
    }
}
