//! What a state engine holds, and every state that a crash may put it back to.

use std::ops::{Add, Bound};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use types::{ColumnFamily, KeyRange, PlantedBug, PlantedBugs};

use super::file::Pair;
use super::space::Space;
use super::tree::{Amount, Tree};
use crate::{Family, StateBatch, StateOp, StateStatistics};

/// One moment of all column families. Cloning it costs nothing.
#[derive(Clone, Default)]
pub(super) struct Moment {
    families: [Tree; Family::ALL.len()],
}

const fn place(family: Family) -> usize {
    match family {
        Family::User(family) => family as usize,
        Family::Meta => ColumnFamily::ALL.len(),
    }
}

fn user_families() -> impl Iterator<Item = Family> {
    ColumnFamily::ALL.into_iter().map(Family::User)
}

impl Moment {
    pub(super) fn family(&self, family: Family) -> &Tree {
        &self.families[place(family)]
    }

    fn family_mut(&mut self, family: Family) -> &mut Tree {
        &mut self.families[place(family)]
    }

    /// Everything, ordered by family and key.
    pub(super) fn pairs(&self) -> Vec<(Family, Bytes, Bytes)> {
        let mut pairs = Vec::new();
        for family in Family::ALL {
            let tree = self.family(family);
            let mut next = tree.first_from(Bound::Unbounded);
            while let Some(node) = next {
                pairs.push((family, node.key.clone(), node.value.clone()));
                next = tree.first_from(Bound::Excluded(&node.key));
            }
        }
        pairs
    }

    fn bytes(&self) -> u64 {
        self.families.iter().map(Tree::bytes).sum()
    }

    pub(super) fn user_amount_in(&self, range: &KeyRange) -> Amount {
        user_families().map(|family| self.family(family).amount_in(range)).fold(Amount::default(), Add::add)
    }

    fn apply(&mut self, batch: &StateBatch) {
        for op in batch.ops() {
            match op {
                StateOp::Put(family, key, value) => self.family_mut(*family).insert(key.clone(), value.clone()),
                StateOp::Delete(family, key) => self.family_mut(*family).remove(key),
                StateOp::DeleteRange(family, range) => self.family_mut(*family).remove_range(range),
            }
        }
    }

    /// What the batch does to one range of one column family.
    fn apply_within(&mut self, batch: &StateBatch, within: Family, range: &KeyRange) {
        let tree = self.family_mut(within);
        for op in batch.ops() {
            match op {
                StateOp::Put(family, key, value) if *family == within && range.contains(key) => {
                    tree.insert(key.clone(), value.clone());
                }
                StateOp::Delete(family, key) if *family == within && range.contains(key) => tree.remove(key),
                StateOp::DeleteRange(family, removed) if *family == within => {
                    tree.remove_range(&removed.intersect(range));
                }
                _ => {}
            }
        }
    }
}

/// Keys of one column family that became durable at once. A key without a value was in a file that is deleted since:
/// it hides what older batches said of the key, as the newest of its versions did.
struct Ingested {
    family: Family,
    pairs: Vec<(Bytes, Option<Bytes>)>,
}

impl Ingested {
    fn apply(&self, moment: &mut Moment) {
        let tree = moment.family_mut(self.family);
        for (key, value) in &self.pairs {
            match value {
                Some(value) => tree.insert(key.clone(), value.clone()),
                None => tree.remove(key),
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.pairs.iter().map(|(key, value)| (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64).sum()
    }

    /// The keys with a value in a range.
    fn living(&mut self, range: &KeyRange) -> impl Iterator<Item = &mut (Bytes, Option<Bytes>)> {
        self.pairs.iter_mut().filter(|(key, value)| value.is_some() && range.contains(key))
    }
}

enum Event {
    /// Lost by a crash, unless all batches before it and itself survive.
    Batch(StateBatch),
    /// Never lost.
    Ingested(Ingested),
}

/// The state engine's part of a disk.
#[derive(Default)]
pub(super) struct StateContent {
    /// What the last flush wrote, less what was deleted as files since.
    flushed: Moment,
    /// What happened since, in order.
    since: Vec<Event>,
    /// All of it together: what readers see.
    pub(super) current: Moment,
    unflushed_bytes: u64,
    unflushed_batches: usize,
    ingested_bytes: u64,
    pub(super) is_open: bool,
    /// Since it was opened.
    statistics: StateStatistics,
}

impl StateContent {
    pub(super) fn open(&mut self) {
        self.is_open = true;
        self.statistics = StateStatistics::default();
    }

    pub(super) fn unflushed_batches(&self) -> usize {
        self.unflushed_batches
    }

    pub(super) fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes
    }

    /// What a reader past all memory sees, but for what was ingested.
    pub(super) fn flushed(&self) -> &Moment {
        &self.flushed
    }

    pub(super) fn statistics(&self) -> StateStatistics {
        StateStatistics { unflushed_bytes: self.unflushed_bytes, disk_bytes: self.disk_bytes(), ..self.statistics }
    }

    fn disk_bytes(&self) -> u64 {
        self.flushed.bytes() + self.ingested_bytes
    }

    pub(super) fn write(&mut self, batch: &StateBatch) {
        self.current.apply(batch);
        self.unflushed_bytes += batch.bytes() as u64;
        self.unflushed_batches += 1;
        self.since.push(Event::Batch(batch.clone()));
    }

    pub(super) fn flush(&mut self, space: &Space, planted: PlantedBugs) {
        if self.unflushed_batches > 0 {
            self.statistics.flushes += 1;
            self.statistics.flushed_bytes += self.unflushed_bytes;
        }
        let current = self.current.clone();
        let before = std::mem::take(&mut self.flushed);
        self.restart_from(current, space);
        if planted.has(PlantedBug::OneFamilyFlushed) {
            user_families().for_each(|family| *self.flushed.family_mut(family) = before.family(family).clone());
        }
    }

    /// Makes a moment the durable one and the only one.
    fn restart_from(&mut self, moment: Moment, space: &Space) {
        self.current = moment.clone();
        self.flushed = moment;
        self.since.clear();
        (self.unflushed_bytes, self.unflushed_batches, self.ingested_bytes) = (0, 0, 0);
        self.publish(space);
    }

    fn publish(&self, space: &Space) {
        space.state.store(self.disk_bytes(), Ordering::Release);
    }

    /// The process ended, and so many batches since the last flush survive it, the oldest first.
    pub(super) fn fall_back(&mut self, batches: usize, space: &Space) {
        let mut moment = self.flushed.clone();
        let mut left = batches;
        for event in &self.since {
            match event {
                Event::Batch(batch) if left > 0 => {
                    left -= 1;
                    moment.apply(batch);
                }
                Event::Batch(_) => {}
                Event::Ingested(ingested) => ingested.apply(&mut moment),
            }
        }
        self.is_open = false;
        self.restart_from(moment, space);
    }

    pub(super) fn ingest(&mut self, family: Family, pairs: Vec<Pair>, space: &Space) {
        let pairs = pairs.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let ingested = Ingested { family, pairs };
        ingested.apply(&mut self.current);
        self.ingested_bytes += ingested.bytes();
        self.since.push(Event::Ingested(ingested));
        self.publish(space);
    }

    pub(super) fn delete_files(&mut self, range: &KeyRange, space: &Space) {
        for family in user_families() {
            if let Some(doomed) = self.behind_lowest_durable(family, range) {
                self.delete_durable(family, &doomed);
                self.show_memory(family, &doomed);
            }
        }
        self.publish(space);
    }

    /// The part of a range behind its lowest durable key, whose file is taken to cross the border and so stays.
    fn behind_lowest_durable(&mut self, family: Family, range: &KeyRange) -> Option<KeyRange> {
        let flushed = self.flushed.family(family).first_from(Bound::Included(&range.start[..]));
        let flushed = flushed.map(|node| node.key.clone()).filter(|key| range.contains(key));
        let ingested = self.since.iter_mut().filter_map(|event| match event {
            Event::Ingested(ingested) if ingested.family == family => ingested.living(range).next(),
            _ => None,
        });
        let lowest = ingested.map(|(key, _)| key.clone()).chain(flushed).min()?;
        Some(KeyRange::new([&lowest[..], &[0]].concat(), range.end.clone()))
    }

    fn delete_durable(&mut self, family: Family, range: &KeyRange) {
        self.flushed.family_mut(family).remove_range(range);
        for event in &mut self.since {
            let Event::Ingested(ingested) = event else { continue };
            if ingested.family == family {
                let before = ingested.bytes();
                ingested.living(range).for_each(|(_, value)| *value = None);
                self.ingested_bytes -= before - ingested.bytes();
            }
        }
    }

    /// Makes readers see of a range what is durable now, and on top of it what memory says.
    fn show_memory(&mut self, family: Family, range: &KeyRange) {
        self.current.family_mut(family).remove_range(range);
        for event in &self.since {
            match event {
                Event::Batch(batch) => self.current.apply_within(batch, family, range),
                // Its values in the range are gone, so it only hides what is older.
                Event::Ingested(ingested) if ingested.family == family => {
                    let tree = self.current.family_mut(family);
                    let hidden = ingested.pairs.iter().filter(|(key, _)| range.contains(key));
                    hidden.for_each(|(key, _)| tree.remove(key));
                }
                Event::Ingested(_) => {}
            }
        }
    }
}
