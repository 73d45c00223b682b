//! Splitting a region, and what it makes of its descriptor.
//!
//! Proposing and applying share these rules, so they belong to the frozen part of the log (raftstore-rules §4, §5).

use bytes::Bytes;

use crate::descriptor::{Peer, RegionDescriptor};
use crate::epoch::CommandKind;
use crate::error::RequestError;
use crate::id::{PeerId, RegionId};

/// A region that a split makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRegion {
    /// The key at which it is cut off from its neighbour.
    pub key: Bytes,
    /// Its id.
    pub id: RegionId,
    /// Its peers, one for each member of the parent and in their order.
    pub peers: Vec<PeerId>,
}

/// How a region is to be split: at ascending keys, one for each new region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitPlan {
    /// The new regions, in the order of their keys.
    pub regions: Vec<NewRegion>,
    /// Whether the parent keeps the rightmost part; else it keeps the leftmost.
    pub right_derive: bool,
}

/// What a split makes of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitRegions {
    /// The parent, with what it keeps.
    pub derived: RegionDescriptor,
    /// The new regions, in the order of their keys.
    pub children: Vec<RegionDescriptor>,
}

impl RegionDescriptor {
    /// The regions behind a split. Children have the parent's members in the same roles, under ids of their own; all
    /// regions have the same epoch.
    ///
    /// # Errors
    /// `Invalid`, with the reason, when the plan does not fit the region. The same on every replica.
    pub fn split(&self, plan: &SplitPlan) -> Result<SplitRegions, RequestError> {
        self.check_split(plan)?;
        let epoch = self.epoch.after(CommandKind::Split, plan.regions.len() as u64);
        let mut derived = Self { epoch, ..self.clone() };
        let mut children = Vec::with_capacity(plan.regions.len());
        for (position, new) in plan.regions.iter().enumerate() {
            let mut child = Self { id: new.id, epoch, peers: self.peers_of(new), range: self.range.clone() };
            if plan.right_derive {
                if let Some(before) = position.checked_sub(1) {
                    child.range.start = plan.regions[before].key.clone();
                }
                child.range.end = new.key.clone();
                derived.range.start = new.key.clone();
            } else {
                child.range.start = new.key.clone();
                if let Some(next) = plan.regions.get(position + 1) {
                    child.range.end = next.key.clone();
                }
                if position == 0 {
                    derived.range.end = new.key.clone();
                }
            }
            children.push(child);
        }
        Ok(SplitRegions { derived, children })
    }

    fn peers_of(&self, new: &NewRegion) -> Vec<Peer> {
        self.peers.iter().zip(&new.peers).map(|(peer, id)| Peer { id: *id, ..*peer }).collect()
    }

    fn check_split(&self, plan: &SplitPlan) -> Result<(), RequestError> {
        let invalid = |reason: String| Err(RequestError::Invalid { reason });
        if plan.regions.is_empty() {
            return invalid("the split has no key".to_owned());
        }
        if self.is_joint() {
            return invalid("the region is between two configurations: split it behind the change".to_owned());
        }
        let mut before = &self.range.start;
        let mut peers: Vec<PeerId> = self.peers.iter().map(|peer| peer.id).collect();
        let mut regions = vec![self.id];
        for new in &plan.regions {
            if new.key <= *before || !self.range.is_below_end(&new.key) {
                let shown = crate::range::HexKey(&new.key);
                return invalid(format!("split keys must ascend inside of {}: {shown} does not", self.range));
            }
            before = &new.key;
            if new.peers.len() != self.peers.len() {
                let (given, members) = (new.peers.len(), self.peers.len());
                return invalid(format!("region {} has {given} peer ids for {members} members", new.id));
            }
            regions.push(new.id);
            peers.extend(&new.peers);
        }
        if regions.contains(&RegionId(0)) || peers.contains(&PeerId(0)) {
            return invalid("no region and no peer has the id 0".to_owned());
        }
        if has_repetition(&mut regions) || has_repetition(&mut peers) {
            return invalid("an id is given twice".to_owned());
        }
        Ok(())
    }
}

fn has_repetition<T: Ord>(ids: &mut [T]) -> bool {
    ids.sort_unstable();
    ids.windows(2).any(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::descriptor::PeerRole;
    use crate::epoch::RegionEpoch;
    use crate::id::StoreId;
    use crate::membership::MemberChange;
    use crate::range::KeyRange;

    fn region(start: &'static str, end: &'static str) -> RegionDescriptor {
        let learner = Peer { role: PeerRole::Learner, ..Peer::voter(PeerId(12), StoreId(2)) };
        RegionDescriptor {
            id: RegionId(1),
            range: KeyRange::new(start, end),
            epoch: RegionEpoch { conf_ver: 4, version: 7 },
            peers: vec![Peer::voter(PeerId(11), StoreId(1)), learner],
        }
    }

    fn new(key: &'static str, id: u64) -> NewRegion {
        NewRegion { key: key.into(), id: RegionId(id), peers: vec![PeerId(id * 10 + 1), PeerId(id * 10 + 2)] }
    }

    fn ranges(region: &RegionDescriptor, plan: &SplitPlan) -> Vec<(u64, KeyRange)> {
        let SplitRegions { derived, children } = region.split(plan).unwrap();
        children.iter().chain([&derived]).map(|region| (region.id.0, region.range.clone())).collect()
    }

    #[test]
    fn the_parent_keeps_one_end() {
        let regions = vec![new("c", 2), new("g", 3)];
        let right = SplitPlan { regions: regions.clone(), right_derive: true };
        let expected = [(2, KeyRange::new("a", "c")), (3, KeyRange::new("c", "g")), (1, KeyRange::new("g", ""))];
        assert_eq!(ranges(&region("a", ""), &right), expected);
        let left = SplitPlan { regions, right_derive: false };
        let expected = [(2, KeyRange::new("c", "g")), (3, KeyRange::new("g", "z")), (1, KeyRange::new("a", "c"))];
        assert_eq!(ranges(&region("a", "z"), &left), expected);
    }

    #[test]
    fn all_have_one_epoch_and_the_same_stores() {
        let plan = SplitPlan { regions: vec![new("c", 2), new("g", 3)], right_derive: true };
        let SplitRegions { derived, children } = region("", "").split(&plan).unwrap();
        let epoch = RegionEpoch { conf_ver: 4, version: 9 };
        assert!(children.iter().chain([&derived]).all(|region| region.epoch == epoch));
        assert_eq!(derived.peers, region("", "").peers);
        let learner = Peer { role: PeerRole::Learner, ..Peer::voter(PeerId(32), StoreId(2)) };
        assert_eq!(children[1].peers, [Peer::voter(PeerId(31), StoreId(1)), learner]);
    }

    #[test]
    fn what_does_not_fit_the_region_is_refused() {
        let few = NewRegion { peers: vec![PeerId(21)], ..new("c", 2) };
        let nobody = NewRegion { peers: vec![PeerId(21), PeerId(0)], ..new("c", 2) };
        let known = NewRegion { peers: vec![PeerId(21), PeerId(11)], ..new("c", 2) };
        let cases = [
            (vec![], "no key"),
            (vec![new("a", 2)], "must ascend"),
            (vec![new("z", 2)], "must ascend"),
            (vec![new("c", 2), new("c", 3)], "must ascend"),
            (vec![new("g", 2), new("c", 3)], "must ascend"),
            (vec![few], "1 peer ids for 2 members"),
            (vec![new("c", 1)], "twice"),
            (vec![new("c", 2), new("d", 2)], "twice"),
            (vec![known], "twice"),
            (vec![NewRegion { id: RegionId(0), ..new("c", 2) }], "id 0"),
            (vec![nobody], "id 0"),
        ];
        for (regions, reason) in cases {
            let plan = SplitPlan { regions, right_derive: true };
            let error = region("a", "z").split(&plan).unwrap_err().to_string();
            assert!(error.contains(reason), "{plan:?}: {error}");
        }
        let changes = [MemberChange::vote(PeerId(12), StoreId(2)), MemberChange::learn(PeerId(13), StoreId(3))];
        let joint = region("a", "z").change_members(&changes).unwrap();
        let plan = SplitPlan { regions: vec![new("c", 2)], right_derive: true };
        assert!(joint.split(&plan).unwrap_err().to_string().contains("between two configurations"));
    }
}
