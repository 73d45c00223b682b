//! The regions of a cluster that is born with fixed members.

use bytes::Bytes;
use types::{KeyRange, Peer, RegionDescriptor, RegionEpoch, StoreId};

/// The ids that a static layout uses begin here; smaller ones are left for ids that are given by hand.
pub const FIRST_STATIC_ID: u64 = 1000;

/// Regions that are cut at `split_keys`, each with one voter on every member.
///
/// Ids are a function of the arguments alone, so that every member makes the same layout by itself: each region takes
/// an id, then one for each of its peers in the order of `members`, from [`FIRST_STATIC_ID`] on.
///
/// # Errors
/// A sentence when the members are empty or repeat, or the keys are not strictly ascending and non-empty.
pub fn static_regions(members: &[StoreId], split_keys: &[Bytes]) -> Result<Vec<RegionDescriptor>, String> {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if members.is_empty() || sorted.len() != members.len() || sorted[0] == StoreId(0) {
        return Err(format!("members must be distinct store ids above zero, got {members:?}"));
    }
    if split_keys.iter().any(Bytes::is_empty) || !split_keys.is_sorted_by(|left, right| left < right) {
        return Err("split keys must be non-empty and strictly ascending".to_owned());
    }
    let mut next_id = FIRST_STATIC_ID;
    let mut take_id = || {
        next_id += 1;
        next_id - 1
    };
    let starts = std::iter::once(Bytes::new()).chain(split_keys.iter().cloned());
    let ends = split_keys.iter().cloned().chain(std::iter::once(Bytes::new()));
    let regions = starts.zip(ends).map(|(start, end)| RegionDescriptor {
        id: take_id().into(),
        range: KeyRange { start, end },
        epoch: RegionEpoch::INITIAL,
        peers: sorted.iter().map(|store| Peer::voter(take_id().into(), *store)).collect(),
    });
    Ok(regions.collect())
}
