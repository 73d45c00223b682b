//! What one store's state engine holds, and every earlier cut that a crash may put it back to.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use engine::{ApplyState, Family, StateBatch, StateOp, meta};
use types::codec::DecodeError;
use types::{KeyRange, PeerId, RegionDescriptor, RegionId};

use super::digest::pair_hash;
use crate::observation::DiskContent;

type Key = (Family, Bytes);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    value: Bytes,
    hash: u64,
}

/// What S holds of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateAccount {
    /// Its descriptor.
    pub descriptor: RegionDescriptor,
    /// How far its log is applied.
    pub apply_state: ApplyState,
    /// The digest of its users' data.
    pub digest: u64,
}

/// A region of S changed by a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The region.
    pub region: RegionId,
    /// What S held of it before; `None` when it is new.
    pub before: Option<StateAccount>,
}

/// What contents are compared by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Digest {
    everything: u64,
    records: u64,
}

impl Digest {
    fn add(&mut self, family: Family, delta: u64) {
        self.everything = self.everything.wrapping_add(delta);
        if family == Family::Meta {
            self.records = self.records.wrapping_add(delta);
        }
    }

    fn of(content: &DiskContent) -> Self {
        let mut digest = Self::default();
        content.pairs.iter().for_each(|(family, key, value)| digest.add(*family, pair_hash(*family, key, value)));
        digest
    }
}

/// One moment that a crash may put S back to.
#[derive(Debug)]
struct Cut {
    /// The digests of everything and of the records alone at this moment.
    digest: Digest,
    /// What the batch behind it replaced, in order.
    replaced: Vec<(Key, Option<Held>)>,
}

/// One store's S: what is visible, and how to get back to each cut since its last flush.
#[derive(Debug, Default)]
pub struct StateLedger {
    pairs: BTreeMap<Key, Held>,
    digest: Digest,
    regions: BTreeMap<RegionId, StateAccount>,
    /// Which region holds the keys from a start key on.
    starts: BTreeMap<Bytes, RegionId>,
    cuts: VecDeque<Cut>,
    durable: BTreeMap<RegionId, StateAccount>,
    /// Ranges whose files were changed since the last flush: what a crash leaves of them is no part of any cut (D6).
    torn: Vec<KeyRange>,
    /// Bytes of keys and values that no flush has made durable.
    unflushed_bytes: u64,
}

impl StateLedger {
    /// What is visible of every region.
    pub fn regions(&self) -> &BTreeMap<RegionId, StateAccount> {
        &self.regions
    }

    /// What no crash can take of every region.
    pub fn durable(&self) -> &BTreeMap<RegionId, StateAccount> {
        &self.durable
    }

    /// How many batches wait for a flush.
    pub fn unflushed_batches(&self) -> usize {
        self.cuts.len()
    }

    /// Bytes of keys and values that wait for a flush.
    pub fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes
    }

    /// The users' pairs of a range, in order of family and key.
    pub fn pairs<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = (&'a Key, &'a Bytes)> {
        let families = Family::ALL.into_iter().filter(|family| *family != Family::Meta);
        families.flat_map(|family| self.within(family, range)).map(|(key, held)| (key, &held.value))
    }

    /// Whether a peer's end is written and not done with (D9).
    pub fn is_ending(&self, region: RegionId, peer: PeerId) -> bool {
        self.pairs.contains_key(&(Family::Meta, meta::gone_key(region, peer)))
    }

    /// The first pair of users that lies in no region's range, if there is one.
    pub fn unowned<'a>(&'a self, range: &'a KeyRange) -> Option<&'a [u8]> {
        self.pairs(range).map(|((_, key), _)| &key[..]).find(|key| self.owner(key).is_none())
    }

    /// A batch became visible. Returns which regions' records it held.
    ///
    /// # Errors
    /// When a record does not read, or a key is written that no region of the store holds.
    pub fn write(&mut self, batch: &StateBatch) -> Result<Vec<StateChange>, String> {
        let mut cut = Cut { digest: self.digest, replaced: Vec::with_capacity(batch.ops().len()) };
        let mut changed = Vec::new();
        for op in batch.ops() {
            match op {
                StateOp::Put(family, key, value) => {
                    if *family != Family::Meta && self.owner(key).is_none() {
                        return Err(format!("key {key:?} is written, which no region of the store holds"));
                    }
                    let held = Held { hash: pair_hash(*family, key, value), value: value.clone() };
                    self.set((*family, key.clone()), Some(held), &mut cut);
                    self.note_record(*family, key, &mut changed)?;
                }
                StateOp::Delete(family, key) => {
                    self.set((*family, key.clone()), None, &mut cut);
                    self.note_record(*family, key, &mut changed)?;
                }
                StateOp::DeleteRange(family, range) => self.remove_range(*family, range, &mut cut),
            }
        }
        self.unflushed_bytes += batch.bytes() as u64;
        self.cuts.push_back(cut);
        changed.into_iter().map(|region| self.follow_records(region)).collect()
    }

    /// Everything became durable.
    pub fn flush(&mut self) {
        self.cuts.clear();
        self.torn.clear();
        self.unflushed_bytes = 0;
        if self.durable != self.regions {
            self.durable.clone_from(&self.regions);
        }
    }

    /// Pairs became visible and durable at once. Nothing else of their range is known to be durable (D6).
    pub fn ingest(&mut self, pairs: &[(Family, Bytes, Bytes)]) {
        let mut ignored = Cut { digest: self.digest, replaced: Vec::new() };
        for (family, key, value) in pairs {
            let held = Held { hash: pair_hash(*family, key, value), value: value.clone() };
            self.set((*family, key.clone()), Some(held), &mut ignored);
        }
        let keys = || pairs.iter().map(|(_, key, _)| key);
        if let (Some(first), Some(last)) = (keys().min(), keys().max()) {
            self.torn.push(KeyRange::new(first.clone(), [last, &[0][..]].concat()));
        }
    }

    /// Files in a range were deleted: this is what is still visible of it.
    pub fn files_deleted(&mut self, range: &KeyRange, left: &[(Family, Bytes, Bytes)]) {
        let mut ignored = Cut { digest: self.digest, replaced: Vec::new() };
        self.clear(range, &mut ignored);
        self.ingest(left);
        self.torn.push(range.clone());
    }

    fn clear(&mut self, range: &KeyRange, cut: &mut Cut) {
        for family in Family::ALL.into_iter().filter(|family| *family != Family::Meta) {
            self.remove_range(family, range, cut);
        }
    }

    /// Compares with what was found on the disk, and goes back to the cut that it is.
    ///
    /// # Errors
    /// When it is none of the cuts that a crash may leave.
    pub fn open(&mut self, found: &DiskContent) -> Result<(), String> {
        let digest = Digest::of(found);
        let mut digests = vec![self.digest];
        digests.extend(self.cuts.iter().rev().map(|cut| cut.digest));
        // What lies in torn ranges does not tell cuts apart; the records do, for each batch counts itself there (D3).
        let is_found = |cut: &Digest| if self.torn.is_empty() { *cut == digest } else { cut.records == digest.records };
        let Some(lost) = digests.iter().position(is_found) else {
            return Err(self.describe_stranger(found));
        };
        for _ in 0..lost {
            let cut = self.cuts.pop_back().expect("so many cuts were counted");
            self.take_back(cut);
        }
        self.adopt_torn(found);
        if let Some(difference) = self.difference(found) {
            return Err(difference);
        }
        self.digest = digest;
        self.cuts.clear();
        self.unflushed_bytes = 0;
        self.read_regions()?;
        self.durable.clone_from(&self.regions);
        Ok(())
    }

    /// Takes what was found in torn ranges for what is there. Whether it is what regions should hold is for others to
    /// see, by the log.
    fn adopt_torn(&mut self, found: &DiskContent) {
        let mut ignored = Cut { digest: self.digest, replaced: Vec::new() };
        for range in std::mem::take(&mut self.torn) {
            self.clear(&range, &mut ignored);
            let inside = |pair: &&(Family, Bytes, Bytes)| pair.0 != Family::Meta && range.contains(&pair.1);
            for (family, key, value) in found.pairs.iter().filter(inside) {
                let held = Held { hash: pair_hash(*family, key, value), value: value.clone() };
                self.set((*family, key.clone()), Some(held), &mut ignored);
            }
        }
    }

    fn set(&mut self, key: Key, held: Option<Held>, cut: &mut Cut) {
        let added = held.as_ref().map_or(0, |held| held.hash);
        let before = match held {
            Some(held) => self.pairs.insert(key.clone(), held),
            None => self.pairs.remove(&key),
        };
        let removed = before.as_ref().map_or(0, |held| held.hash);
        let delta = added.wrapping_sub(removed);
        self.digest.add(key.0, delta);
        if key.0 != Family::Meta
            && let Some(account) = self.owner(&key.1).and_then(|region| self.regions.get_mut(&region))
        {
            account.digest = account.digest.wrapping_add(delta);
        }
        cut.replaced.push((key, before));
    }

    fn owner(&self, key: &[u8]) -> Option<RegionId> {
        let (_, region) =
            self.starts.range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key))).next_back()?;
        self.regions.get(region).filter(|account| account.descriptor.range.is_below_end(key)).map(|_| *region)
    }

    fn remove_range(&mut self, family: Family, range: &KeyRange, cut: &mut Cut) {
        let doomed: Vec<Key> = self.within(family, range).map(|(key, _)| key.clone()).collect();
        doomed.into_iter().for_each(|key| self.set(key, None, cut));
    }

    fn within<'a>(&'a self, family: Family, range: &'a KeyRange) -> impl Iterator<Item = (&'a Key, &'a Held)> {
        let from_start = self.pairs.range((family, range.start.clone())..);
        from_start.take_while(move |((of, key), _)| *of == family && range.is_below_end(key))
    }

    /// Notes a region whose descriptor or apply state is written; its descriptor counts from here on in the batch.
    fn note_record(&mut self, family: Family, key: &Bytes, changed: &mut Vec<StateChange>) -> Result<(), String> {
        if family != Family::Meta {
            return Ok(());
        }
        let Some((region, is_descriptor)) = region_record(key) else { return Ok(()) };
        if changed.iter().all(|change| change.region != region) {
            changed.push(StateChange { region, before: self.regions.get(&region).cloned() });
        }
        if is_descriptor {
            self.describe(region)?;
        }
        Ok(())
    }

    /// Follows a region's descriptor, and counts its data anew when its range moved.
    fn describe(&mut self, region: RegionId) -> Result<(), String> {
        let record = self.pairs.get(&(Family::Meta, meta::descriptor_key(region)));
        let descriptor = record.map(|held| meta::decode_descriptor(&held.value)).transpose().map_err(unreadable)?;
        let before = self.regions.remove(&region);
        if let Some(before) = &before
            && self.starts.get(&before.descriptor.range.start) == Some(&region)
        {
            self.starts.remove(&before.descriptor.range.start);
        }
        let Some(descriptor) = descriptor else { return Ok(()) };
        let same_range = before.as_ref().filter(|before| before.descriptor.range == descriptor.range);
        let digest = same_range.map_or_else(|| self.digest_of(&descriptor.range), |before| before.digest);
        let apply_state = before.map(|before| before.apply_state).unwrap_or_default();
        self.starts.insert(descriptor.range.start.clone(), region);
        self.regions.insert(region, StateAccount { descriptor, apply_state, digest });
        Ok(())
    }

    fn digest_of(&self, range: &KeyRange) -> u64 {
        let families = Family::ALL.into_iter().filter(|family| *family != Family::Meta);
        let hashes = families.flat_map(|family| self.within(family, range)).map(|(_, held)| held.hash);
        hashes.fold(0, u64::wrapping_add)
    }

    /// Reads a changed region's apply state.
    fn follow_records(&mut self, change: StateChange) -> Result<StateChange, String> {
        let record = self.pairs.get(&(Family::Meta, meta::apply_state_key(change.region)));
        match (self.regions.get_mut(&change.region), record) {
            (Some(account), Some(held)) => account.apply_state = ApplyState::decode(&held.value).map_err(unreadable)?,
            (None, None) => {}
            _ => return Err(format!("region {} has only half of its records", change.region)),
        }
        Ok(change)
    }

    fn read_regions(&mut self) -> Result<(), String> {
        self.regions.clear();
        self.starts.clear();
        let records = self.pairs.range((Family::Meta, Bytes::new())..);
        let mut regions: Vec<RegionId> =
            records.filter_map(|((_, key), _)| region_record(key)).map(|record| record.0).collect();
        regions.dedup();
        for region in regions {
            self.describe(region)?;
            self.follow_records(StateChange { region, before: None })?;
        }
        Ok(())
    }

    fn take_back(&mut self, cut: Cut) {
        for (key, before) in cut.replaced.into_iter().rev() {
            match before {
                Some(held) => self.pairs.insert(key, held),
                None => self.pairs.remove(&key),
            };
        }
        self.digest = cut.digest;
    }

    /// Where the visible content differs from what was found.
    fn difference(&self, found: &DiskContent) -> Option<String> {
        let written: BTreeMap<&Key, &Bytes> = self.pairs.iter().map(|(key, held)| (key, &held.value)).collect();
        let keys: Vec<Key> = found.pairs.iter().map(|(family, key, _)| (*family, key.clone())).collect();
        let found: BTreeMap<&Key, &Bytes> = keys.iter().zip(found.pairs.iter().map(|(_, _, value)| value)).collect();
        let of_written = written.iter().find(|(key, value)| found.get(*key) != Some(*value));
        let differs = of_written.or_else(|| found.iter().find(|(key, _)| !written.contains_key(*key)));
        let (key, _) = differs?;
        Some(format!("key {key:?}: written was {:?}, found is {:?}", written.get(*key), found.get(*key)))
    }

    /// Says of a content that is no cut how it differs from the newest one and from the oldest.
    fn describe_stranger(&mut self, found: &DiskContent) -> String {
        let (cuts, newest) = (self.cuts.len(), self.difference(found));
        while let Some(cut) = self.cuts.pop_back() {
            self.take_back(cut);
        }
        let oldest = self.difference(found);
        let words = |difference: Option<String>| difference.unwrap_or_else(|| "nothing".to_owned());
        format!(
            "the state engine holds none of the {} cuts that a crash may leave; from the newest it differs by {}, \
             from the last flush by {}",
            cuts + 1,
            words(newest),
            words(oldest),
        )
    }
}

/// The region of a descriptor's or an apply state's key, and whether it is the descriptor's (`docs/format.md`).
fn region_record(key: &[u8]) -> Option<(RegionId, bool)> {
    let [0x01, id @ .., suffix @ (0x01 | 0x02)] = key else { return None };
    let region = RegionId(u64::from_be_bytes(id.try_into().ok()?));
    Some((region, *suffix == 0x01))
}

fn unreadable(error: DecodeError) -> String {
    format!("a record of the state engine does not read: {error}")
}

#[cfg(test)]
mod tests {
    use types::PeerId;

    use super::*;

    #[test]
    fn the_keys_of_regions_are_told_apart() {
        let region = RegionId(0x0102_0304_0506_0708);
        assert_eq!(region_record(&meta::descriptor_key(region)), Some((region, true)));
        assert_eq!(region_record(&meta::apply_state_key(region)), Some((region, false)));
        assert_eq!(region_record(&meta::gone_key(region, PeerId(1))), None);
        assert_eq!(region_record(&meta::ident_key()), None);
        assert_eq!(region_record(&engine::WriterId::Bootstrap.key()), None);
    }
}
