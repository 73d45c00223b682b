//! Hashes by which large contents are compared.

use engine::{Entry, Family};
use proto::log::{Command, command, operation};
use types::seed::Seed;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The hash of one entry: index, term, kind, data and context.
pub fn entry_hash(entry: &Entry) -> u64 {
    let head = Seed(entry.index).hash(&[entry.term, entry.entry_type as u64]);
    let body = xxh3_64_with_seed(&entry.data, head);
    if entry.context.is_empty() { body } else { xxh3_64_with_seed(&entry.context, body) }
}

/// The hash of a whole log up to an entry, of the hash up to the one before it.
pub fn chain(before: u64, entry: u64) -> u64 {
    Seed(before).hash(&[entry])
}

/// The hash of one pair. The digest of a content is the wrapping sum of its pairs' hashes, so that it follows changes
/// whatever their order.
pub fn pair_hash(family: Family, key: &[u8], value: &[u8]) -> u64 {
    let family = Family::ALL.iter().position(|one| *one == family).map_or(0, |at| at as u64);
    xxh3_64_with_seed(value, xxh3_64_with_seed(key, family))
}

/// The hash of a command, the same wherever its parts lie in memory.
pub fn command_hash(command: &Command) -> u64 {
    match &command.kind {
        None => 0,
        Some(command::Kind::Write(write)) => write.operations.iter().fold(1, |hash, operation| match &operation.kind {
            None => part(hash, 0, b""),
            Some(operation::Kind::Put(put)) => {
                part(part(hash, 1 + u64::from(put.column_family), &put.key), 0, &put.value)
            }
            Some(operation::Kind::Delete(delete)) => part(hash, 11 + u64::from(delete.column_family), &delete.key),
            Some(operation::Kind::DeleteRange(delete)) => {
                part(part(hash, 21 + u64::from(delete.column_family), &delete.start), 0, &delete.end)
            }
        }),
        Some(command::Kind::CompareAndSwap(swap)) => {
            let mut hash = part(2, u64::from(swap.column_family), &swap.key);
            for value in [&swap.expected, &swap.value] {
                hash = value.as_ref().map_or_else(|| part(hash, 0, b""), |value| part(hash, 1, value));
            }
            hash
        }
    }
}

fn part(before: u64, tag: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, Seed(before).hash(&[tag, bytes.len() as u64]))
}

#[cfg(test)]
mod tests {
    use apply::build::{batch, compare_and_swap, delete, put};
    use types::ColumnFamily::{Default, Lock};

    use super::*;

    #[test]
    fn every_part_of_a_command_counts() {
        let swap = |expected: Option<&'static str>, value: Option<&'static str>| {
            compare_and_swap(Default, "k", expected.map(Into::into), value.map(Into::into))
        };
        let commands = [
            Command::default(),
            batch(vec![]),
            batch(vec![put(Default, "k", "v")]),
            batch(vec![put(Lock, "k", "v")]),
            batch(vec![put(Default, "kv", "")]),
            batch(vec![put(Default, "k", "v"), put(Default, "k", "v")]),
            batch(vec![delete(Default, "k")]),
            swap(None, None),
            swap(Some(""), None),
            swap(None, Some("")),
            swap(Some("v"), None),
        ];
        let mut hashes: Vec<u64> = commands.iter().map(command_hash).collect();
        assert_eq!(hashes, commands.clone().iter().map(command_hash).collect::<Vec<_>>());
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), commands.len());
    }

    #[test]
    fn every_part_of_an_entry_counts() {
        let base = Entry { index: 6, term: 5, data: "d".into(), ..Entry::default() };
        let others = [
            Entry { index: 7, ..base.clone() },
            Entry { term: 6, ..base.clone() },
            Entry { data: "e".into(), ..base.clone() },
            Entry { context: "c".into(), ..base.clone() },
            Entry { entry_type: engine::EntryType::EntryConfChangeV2, ..base.clone() },
        ];
        assert!(others.iter().all(|other| entry_hash(other) != entry_hash(&base)));
        assert_eq!(entry_hash(&base.clone()), entry_hash(&base));
    }
}
