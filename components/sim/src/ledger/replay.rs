//! A second, plain reading of what committed entries do: one command after the other on a map.
//!
//! It shares no code with `apply`. A refused command changes nothing; why it is refused is no concern here.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::{EntryType, Family};
use prost::Message as _;
use proto::log::{Command, CompactLog, CompareAndSwap, EntryBatch, Operation, admin, command, operation};
use types::{ColumnFamily, KeyRange, LogIndex, RegionDescriptor, Term};

use super::digest::{command_hash, pair_hash};
use super::log::Slot;

type Content = BTreeMap<(Family, Bytes), Bytes>;

/// One region's data as the committed log makes it.
#[derive(Debug)]
pub struct Replay {
    /// The region as of the last entry.
    pub descriptor: RegionDescriptor,
    /// The newest index that a log compaction removed, and its term.
    pub truncated: (LogIndex, Term),
    content: Content,
    digest: u64,
}

impl Replay {
    /// A region without data, whose log begins behind an index.
    pub fn new(descriptor: RegionDescriptor, truncated: (LogIndex, Term)) -> Self {
        Self { descriptor, truncated, content: Content::new(), digest: 0 }
    }

    /// The digest of its data, as of [`pair_hash`].
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Its data, ordered by family and key.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Carries an entry out. Pushes the hashes of its commands, refused ones included.
    ///
    /// # Errors
    /// When it holds what this reading does not know.
    pub fn apply(&mut self, index: LogIndex, slot: &Slot, commands: &mut Vec<u64>) -> Result<(), String> {
        if slot.kind != EntryType::EntryNormal {
            return Err(format!("entry {index} is a change of membership, which the replayer does not know"));
        }
        if slot.data.is_empty() {
            return Ok(());
        }
        let batch =
            EntryBatch::decode(slot.data.clone()).map_err(|error| format!("entry {index} does not read: {error}"))?;
        match batch.admin.map(|admin| admin.kind) {
            Some(Some(admin::Kind::CompactLog(compact))) => self.compact(compact),
            Some(Some(admin::Kind::ComputeHash(_) | admin::Kind::VerifyHash(_))) => {}
            Some(Some(admin::Kind::Split(_)) | None) => {
                return Err(format!("entry {index} holds a store's command that the replayer does not know"));
            }
            None => {
                commands.extend(batch.commands.iter().map(command_hash));
                if batch.region_version == self.descriptor.epoch.version {
                    batch.commands.into_iter().for_each(|command| self.execute(command));
                }
            }
        }
        Ok(())
    }

    fn compact(&mut self, compact: CompactLog) {
        if LogIndex(compact.index) > self.truncated.0 {
            self.truncated = (LogIndex(compact.index), Term(compact.term));
        }
    }

    fn execute(&mut self, command: Command) {
        match command.kind {
            Some(command::Kind::Write(write)) => {
                let changes: Option<Vec<_>> = write.operations.into_iter().map(|one| self.change(one)).collect();
                changes.into_iter().flatten().for_each(|change| self.make(change));
            }
            Some(command::Kind::CompareAndSwap(swap)) => self.compare_and_swap(swap),
            None => {}
        }
    }

    fn compare_and_swap(&mut self, swap: CompareAndSwap) {
        let Some(place) = self.place(swap.column_family, swap.key) else { return };
        if self.content.get(&place) == swap.expected.as_ref() {
            self.make(
                swap.value.map_or_else(|| Change::Remove(place.clone()), |value| Change::Set(place.clone(), value)),
            );
        }
    }

    /// What an operation changes; `None` when it is refused, and its whole batch with it.
    fn change(&self, operation: Operation) -> Option<Change> {
        match operation.kind? {
            operation::Kind::Put(put) => Some(Change::Set(self.place(put.column_family, put.key)?, put.value)),
            operation::Kind::Delete(delete) => Some(Change::Remove(self.place(delete.column_family, delete.key)?)),
            operation::Kind::DeleteRange(delete) => {
                let family = ColumnFamily::from_number(delete.column_family)?.into();
                if !delete.end.is_empty() && delete.start > delete.end {
                    return None;
                }
                let own = &self.descriptor.range;
                let end = if delete.end.is_empty() { own.end.clone() } else { delete.end };
                let ordered = own.end.is_empty() || (!end.is_empty() && end <= own.end && delete.start <= own.end);
                (ordered && delete.start >= own.start)
                    .then_some(Change::RemoveRange(family, KeyRange { start: delete.start, end }))
            }
        }
    }

    fn place(&self, family: u32, key: Bytes) -> Option<(Family, Bytes)> {
        let family = ColumnFamily::from_number(family)?.into();
        self.descriptor.range.contains(&key).then_some((family, key))
    }

    fn make(&mut self, change: Change) {
        match change {
            Change::Set(place, value) => {
                self.digest = self.digest.wrapping_add(pair_hash(place.0, &place.1, &value));
                if let Some(old) = self.content.insert(place.clone(), value) {
                    self.digest = self.digest.wrapping_sub(pair_hash(place.0, &place.1, &old));
                }
            }
            Change::Remove(place) => {
                if let Some(old) = self.content.remove(&place) {
                    self.digest = self.digest.wrapping_sub(pair_hash(place.0, &place.1, &old));
                }
            }
            Change::RemoveRange(family, range) => {
                let from_start = self.content.range((family, range.start.clone())..);
                let inside = from_start.take_while(|((of, key), _)| *of == family && range.is_below_end(key));
                let doomed: Vec<_> = inside.map(|(place, _)| place.clone()).collect();
                doomed.into_iter().for_each(|place| self.make(Change::Remove(place)));
            }
        }
    }
}

enum Change {
    Set((Family, Bytes), Bytes),
    Remove((Family, Bytes)),
    RemoveRange(Family, KeyRange),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use apply::build::{batch, compare_and_swap, delete, delete_range, put};
    use types::ColumnFamily::{Default as Plain, Lock};
    use types::{RegionEpoch, RegionId};

    use super::*;

    fn region() -> Replay {
        let descriptor = RegionDescriptor {
            id: RegionId(1),
            range: KeyRange::new("b", "y"),
            epoch: RegionEpoch::INITIAL,
            peers: Vec::new(),
        };
        Replay::new(descriptor, (LogIndex(5), Term(5)))
    }

    fn apply(replay: &mut Replay, entry: &EntryBatch) -> Vec<u64> {
        let slot =
            Slot { term: Term(6), hash: 0, chain: 0, kind: EntryType::EntryNormal, data: entry.encode_to_vec().into() };
        let mut commands = Vec::new();
        replay.apply(LogIndex(6), &slot, &mut commands).unwrap();
        commands
    }

    fn run(replay: &mut Replay, commands: Vec<Command>) -> Vec<u64> {
        apply(replay, &EntryBatch { version: 1, region_version: 1, commands, admin: None })
    }

    fn keys(replay: &Replay) -> Vec<(&str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        replay.content().iter().map(|((_, key), value)| (text(key), text(value))).collect()
    }

    #[test]
    fn commands_do_what_they_say() {
        let mut replay = region();
        run(&mut replay, vec![batch(vec![put(Plain, "b", "1"), put(Plain, "c", "2"), put(Plain, "d", "3")])]);
        run(&mut replay, vec![batch(vec![put(Lock, "c", "4"), delete(Plain, "b")])]);
        assert_eq!(keys(&replay), [("c", "2"), ("d", "3"), ("c", "4")]);
        run(&mut replay, vec![compare_and_swap(Plain, "c", Some("x".into()), Some("no".into()))]);
        run(&mut replay, vec![compare_and_swap(Plain, "d", Some("3".into()), None)]);
        run(&mut replay, vec![compare_and_swap(Plain, "e", None, Some("5".into()))]);
        assert_eq!(keys(&replay), [("c", "2"), ("e", "5"), ("c", "4")]);
        run(&mut replay, vec![batch(vec![delete_range(Plain, KeyRange::new("b", ""))])]);
        assert_eq!(keys(&replay), [("c", "4")]);
    }

    #[test]
    fn a_refused_batch_changes_nothing_and_counts_as_a_command() {
        let mut replay = region();
        for refused in [
            put(Plain, "y", "1"),
            delete(Plain, "a"),
            delete_range(Plain, KeyRange::new("a", "c")),
            delete_range(Plain, KeyRange::new("c", "z")),
            delete_range(Plain, KeyRange::new("d", "c")),
            Operation::default(),
        ] {
            assert_eq!(run(&mut replay, vec![batch(vec![put(Plain, "c", "1"), refused])]).len(), 1);
            assert_eq!(keys(&replay), []);
            assert_eq!(replay.digest(), 0);
        }
        let commands = vec![batch(vec![put(Plain, "c", "1")])];
        apply(&mut replay, &EntryBatch { version: 1, region_version: 2, commands, admin: None });
        assert_eq!(keys(&replay), [], "it was proposed under another version of the region");
    }

    #[test]
    fn the_digest_is_that_of_the_content() {
        let mut replay = region();
        let commands = (0..40_u32).map(|n| {
            let key = format!("c{}", n % 7);
            if n % 3 == 0 { batch(vec![delete(Plain, key)]) } else { batch(vec![put(Plain, key, n.to_string())]) }
        });
        run(&mut replay, commands.collect());
        let digest = |replay: &Replay| {
            replay
                .content()
                .iter()
                .fold(0, |sum: u64, ((family, key), value)| sum.wrapping_add(pair_hash(*family, key, value)))
        };
        assert_eq!(replay.digest(), digest(&replay));
        assert_ne!(replay.digest(), 0);
    }

    #[test]
    fn compaction_moves_the_logs_begin_forward_only() {
        let mut replay = region();
        for (index, expected) in [(9, 9), (7, 9), (12, 12)] {
            let kind = Some(admin::Kind::CompactLog(CompactLog { index, term: 6 }));
            let admin = Some(proto::log::Admin { kind, ..Default::default() });
            apply(&mut replay, &EntryBatch { version: 1, region_version: 1, admin, ..EntryBatch::default() });
            assert_eq!(replay.truncated, (LogIndex(expected), Term(6)));
        }
    }
}
