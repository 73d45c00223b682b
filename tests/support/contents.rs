//! What the stores hold on disk, read when none of them runs.

// Each of the tests that share this uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::{Family, IterRange, StateRead, meta};
use engine_rocks::{RocksStateEngine, StateEngineConfig};
use types::{ColumnFamily, KeyRange, RegionDescriptor};

use crate::support::process::Process;

/// The users' data and the regions of a store.
pub struct Contents {
    pairs: BTreeMap<(Family, Bytes), Bytes>,
    regions: Vec<RegionDescriptor>,
}

impl Contents {
    /// Reads a store that has been stopped in peace, so that everything it has applied is in its state engine.
    pub fn of(store: &Process) -> Self {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let engine =
            RocksStateEngine::open(&store.data_dir.join("state"), &StateEngineConfig::default(), logger).unwrap();
        let mut pairs = BTreeMap::new();
        for family in Family::ALL.into_iter().filter(|family| *family != Family::Meta) {
            let mut iter = engine.iter(family, IterRange::new(KeyRange::all())).unwrap();
            let mut is_there = iter.seek_to_first().unwrap();
            while is_there {
                let (key, value) = (Bytes::copy_from_slice(iter.key()), Bytes::copy_from_slice(iter.value()));
                pairs.insert((family, key), value);
                is_there = iter.next().unwrap();
            }
        }
        let regions = meta::read_regions(&engine).unwrap().into_iter().map(|region| region.descriptor).collect();
        Self { pairs, regions }
    }

    /// The regions, by id.
    pub fn regions(&self) -> &[RegionDescriptor] {
        &self.regions
    }

    pub fn keys(&self) -> usize {
        self.pairs.len()
    }

    pub fn family(&self, wanted: ColumnFamily) -> BTreeMap<Bytes, Bytes> {
        let in_family = |((family, key), value): (&(Family, Bytes), &Bytes)| {
            (*family == Family::User(wanted)).then(|| (key.clone(), value.clone()))
        };
        self.pairs.iter().filter_map(in_family).collect()
    }

    /// # Errors
    /// What differs.
    pub fn check_same(&self, other: &Self) -> Result<(), String> {
        if self.regions != other.regions {
            return Err(format!("the first has the regions {:?}, the second {:?}", self.regions, other.regions));
        }
        let missing = |one: &Self, other: &Self| {
            let differs = |(key, value): &(&(Family, Bytes), &Bytes)| other.pairs.get(*key) != Some(*value);
            one.pairs.iter().filter(differs).map(|(key, _)| key.clone()).collect::<Vec<_>>()
        };
        let [here, there] = [missing(self, other), missing(other, self)];
        if here.is_empty() && there.is_empty() {
            return Ok(());
        }
        Err(format!("the first alone has {here:?}, the second {there:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_that_differ_are_found() {
        let contents = |pairs: &[(ColumnFamily, &'static str, &'static str)]| {
            let pair = |(family, key, value): &(ColumnFamily, &'static str, &'static str)| {
                ((Family::User(*family), Bytes::from(*key)), Bytes::from(*value))
            };
            Contents { pairs: pairs.iter().map(pair).collect(), regions: Vec::new() }
        };
        let (default, write) = (ColumnFamily::Default, ColumnFamily::Write);
        let one = contents(&[(default, "a", "1")]);
        one.check_same(&contents(&[(default, "a", "1")])).unwrap();
        for other in [&[][..], &[(default, "a", "2")], &[(write, "a", "1")], &[(default, "a", "1"), (write, "b", "1")]]
        {
            one.check_same(&contents(other)).unwrap_err();
            contents(other).check_same(&one).unwrap_err();
        }
    }
}
