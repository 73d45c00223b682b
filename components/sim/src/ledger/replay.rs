//! A second, plain reading of what committed entries do: one command after the other on a map.
//!
//! It shares no code with `apply`. Which descriptors a split or a change of members makes is said in `types`, for all who
//! read the log; what becomes of the data is read anew here. A refused command changes nothing; why it is refused is no
//! concern here.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use engine::{EntryType, Family};
use prost::Message as _;
use proto::log::{
    Admin, ChangeMembers, Command, CompactLog, CompareAndSwap, EntryBatch, Operation, admin, command, operation,
};
use types::limits::{INITIAL_LOG_INDEX, INITIAL_LOG_TERM};
use types::{
    ColumnFamily, CommandKind, KeyRange, LogIndex, MemberChange, RegionDescriptor, RegionEpoch, SplitPlan, Term,
};

use super::digest::{command_hash, pair_hash};
use super::log::Slot;

type Content = BTreeMap<(Family, Bytes), Bytes>;

/// What entries brought about beyond their own region's data.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The hashes of their commands, refused ones included.
    pub commands: Vec<u64>,
    /// The regions that they made, with their data.
    pub born: Vec<Replay>,
}

/// One region's data as the committed log makes it.
#[derive(Debug)]
pub struct Replay {
    /// The region as of the last entry.
    pub descriptor: Arc<RegionDescriptor>,
    /// The newest index that a log compaction removed, and its term.
    pub truncated: (LogIndex, Term),
    content: Content,
    digest: u64,
}

impl Replay {
    /// A region without data, whose log begins behind an index.
    pub fn new(descriptor: RegionDescriptor, truncated: (LogIndex, Term)) -> Self {
        Self { descriptor: Arc::new(descriptor), truncated, content: Content::new(), digest: 0 }
    }

    /// The digest of its data, as of [`pair_hash`].
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Its data, ordered by family and key.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Carries an entry out.
    ///
    /// # Errors
    /// When it holds what this reading does not know.
    pub fn apply(&mut self, index: LogIndex, slot: &Slot, outcome: &mut Outcome) -> Result<(), String> {
        let unreadable = |error: prost::DecodeError| format!("entry {index} does not read: {error}");
        match slot.kind {
            EntryType::EntryNormal if slot.data.is_empty() => Ok(()),
            EntryType::EntryNormal => {
                let EntryBatch { region_version, commands, admin, .. } =
                    EntryBatch::decode(slot.data.clone()).map_err(unreadable)?;
                match admin {
                    Some(admin) => self.administer(index, region_version, admin, outcome),
                    None => {
                        self.execute_all(region_version, commands, outcome);
                        Ok(())
                    }
                }
            }
            EntryType::EntryConfChangeV2 => {
                let change = ChangeMembers::decode(slot.context.clone()).map_err(unreadable)?;
                self.change_members(change).map_err(|cause| format!("entry {index}: {cause}"))
            }
            EntryType::EntryConfChange => Err(format!("entry {index} is a change of members of version 1")),
        }
    }

    fn execute_all(&mut self, version: u64, commands: Vec<Command>, outcome: &mut Outcome) {
        outcome.commands.extend(commands.iter().map(command_hash));
        if version == self.descriptor.epoch.version {
            commands.into_iter().for_each(|command| self.execute(command));
        }
    }

    fn administer(&mut self, index: LogIndex, version: u64, admin: Admin, outcome: &mut Outcome) -> Result<(), String> {
        match admin.kind {
            Some(admin::Kind::CompactLog(compact)) => self.compact(compact),
            Some(admin::Kind::Split(split)) => {
                let proposed = RegionEpoch { conf_ver: admin.conf_ver, version };
                self.split(&split.into(), proposed, outcome);
            }
            Some(admin::Kind::ComputeHash(_) | admin::Kind::VerifyHash(_)) => {}
            None => return Err(format!("entry {index} holds a store's command that the replayer does not know")),
        }
        Ok(())
    }

    fn split(&mut self, plan: &SplitPlan, proposed: RegionEpoch, outcome: &mut Outcome) {
        if !self.descriptor.epoch.admits(CommandKind::Split, proposed) {
            return;
        }
        let Ok(regions) = self.descriptor.split(plan) else { return };
        self.descriptor = Arc::new(regions.derived);
        let born = regions.children.into_iter().map(|child| self.bear(child));
        outcome.born.extend(born);
    }

    /// Moves what lies in a child's range to it.
    fn bear(&mut self, descriptor: RegionDescriptor) -> Self {
        let own = &descriptor.range;
        let content = std::mem::take(&mut self.content);
        let (moved, kept): (Content, Content) = content.into_iter().partition(|((_, key), _)| own.contains(key));
        self.content = kept;
        let hash = |((family, key), value): (&(Family, Bytes), &Bytes)| pair_hash(*family, key, value);
        let digest = moved.iter().map(hash).fold(0, u64::wrapping_add);
        self.digest = self.digest.wrapping_sub(digest);
        let truncated = (LogIndex(INITIAL_LOG_INDEX), Term(INITIAL_LOG_TERM));
        Self { descriptor: Arc::new(descriptor), truncated, content: moved, digest }
    }

    fn change_members(&mut self, change: ChangeMembers) -> Result<(), String> {
        let proposed = RegionEpoch { conf_ver: change.conf_ver, version: change.region_version };
        let changes: Result<Vec<_>, _> = change.changes.into_iter().map(MemberChange::try_from).collect();
        let changes = changes.map_err(|error| error.to_string())?;
        if self.descriptor.epoch.admits(CommandKind::Members, proposed)
            && let Ok(descriptor) = self.descriptor.change_members(&changes)
        {
            self.descriptor = Arc::new(descriptor);
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

/// A region's members if an entry that changes them is applied after all; nothing when it does not read or does not fit.
pub fn changed(region: &RegionDescriptor, slot: &Slot) -> Option<RegionDescriptor> {
    let change = ChangeMembers::decode(slot.context.clone()).ok()?;
    let changes: Result<Vec<_>, _> = change.changes.into_iter().map(MemberChange::try_from).collect();
    region.change_members(&changes.ok()?).ok()
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
            peers: vec![types::Peer::voter(types::PeerId(11), types::StoreId(1))],
        };
        Replay::new(descriptor, (LogIndex(5), Term(5)))
    }

    fn slot(kind: EntryType, data: Vec<u8>, context: Vec<u8>) -> Slot {
        Slot { term: Term(6), hash: 0, chain: 0, kind, data: data.into(), context: context.into() }
    }

    fn apply_slot(replay: &mut Replay, slot: &Slot) -> Outcome {
        let mut outcome = Outcome::default();
        replay.apply(LogIndex(6), slot, &mut outcome).unwrap();
        outcome
    }

    fn apply(replay: &mut Replay, entry: &EntryBatch) -> Vec<u64> {
        apply_slot(replay, &slot(EntryType::EntryNormal, entry.encode_to_vec(), Vec::new())).commands
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

    fn split(replay: &mut Replay, version: u64, right_derive: bool) -> Vec<Replay> {
        let new = proto::log::NewRegion { key: "m".into(), region_id: 2, peer_ids: vec![21] };
        let kind = Some(admin::Kind::Split(proto::log::Split { regions: vec![new], right_derive }));
        let admin = Some(Admin { kind, conf_ver: 1 });
        let batch = EntryBatch { version: 2, region_version: version, commands: Vec::new(), admin };
        apply_slot(replay, &slot(EntryType::EntryNormal, batch.encode_to_vec(), vec![1])).born
    }

    #[test]
    fn a_split_hands_the_data_over() {
        for right_derive in [true, false] {
            let mut replay = region();
            run(&mut replay, vec![batch(vec![put(Plain, "c", "1"), put(Plain, "n", "2"), put(Lock, "m", "3")])]);
            let whole = replay.digest();
            assert!(split(&mut replay, 9, right_derive).is_empty(), "proposed under another version");
            let born = split(&mut replay, 1, right_derive);
            let [child] = &born[..] else { panic!("one child") };
            let (low, high) = if right_derive { (child, &replay) } else { (&replay, child) };
            assert_eq!((keys(low), keys(high)), (vec![("c", "1")], vec![("n", "2"), ("m", "3")]));
            assert_eq!(
                (low.descriptor.range.clone(), high.descriptor.range.clone()),
                (KeyRange::new("b", "m"), KeyRange::new("m", "y"))
            );
            assert_eq!(low.digest().wrapping_add(high.digest()), whole);
            assert_eq!((replay.descriptor.epoch.version, child.descriptor.epoch.version), (2, 2));
            assert_eq!(child.truncated, (LogIndex(5), Term(5)));
            run(&mut replay, vec![batch(vec![put(Plain, "d", "4"), put(Plain, "o", "4")])]);
            assert!(!keys(&replay).iter().any(|(_, value)| *value == "4"), "proposed before the split");
        }
    }

    #[test]
    fn members_change_when_the_epoch_fits() {
        let change = |conf_ver| {
            let changes = vec![proto::log::MemberChange { kind: 1, peer_id: 12, store_id: 2 }];
            let change = ChangeMembers { version: 2, conf_ver, region_version: 7, changes };
            slot(EntryType::EntryConfChangeV2, Vec::new(), change.encode_to_vec())
        };
        let mut replay = region();
        apply_slot(&mut replay, &change(2));
        assert_eq!(replay.descriptor.peers.len(), 1);
        apply_slot(&mut replay, &change(1));
        assert_eq!((replay.descriptor.peers.len(), replay.descriptor.epoch.conf_ver), (2, 2));
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
