//! Who may live on this store, and who owns which keys: the one arbiter (D11).
//!
//! A peer is claimed before anything of it is written, and its range is released last (D9). Whoever wants a region's id or
//! any of its keys asks here, so that a split, a message and a snapshot never make the same peer, or two regions of the
//! same keys. What is remembered of regions that are gone is what L remembers of them.

use std::collections::BTreeMap;

use apply::arbiter::{Arbiter, Birth};
use bytes::Bytes;
use parking_lot::Mutex;
use types::{Generation, KeyRange, PeerId, RegionId};

/// What a region's peer is to this store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is none.
    Absent,
    /// A message made it; it has neither range nor members yet.
    Newcomer,
    /// A split made it, and the state engine has forgotten that split: it waits for its parent's replay (D8).
    Dormant,
    /// A split that was applied, or is being, makes it.
    Splitting(Making),
    /// It is here, with a range.
    Live,
    /// A snapshot is about to take the place of its log and state, or does so (D10).
    Replacing,
    /// Its files were damaged while a snapshot took their place: it is silent until another one comes (D10).
    Fenced,
    /// It is being removed (D9).
    Leaving,
}

/// How a split makes a child, and whose child it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Making {
    pub(crate) parent: RegionId,
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Nothing of it was here.
    Anew,
    /// A message made its peer before: its term and vote stay (D11).
    TakingOver,
    /// It was made before the state engine fell back: its log stays.
    Awaking,
}

#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) standing: Standing,
    /// The peer that is here, in whatever standing.
    pub(crate) peer: Option<PeerId>,
    /// No peer with a smaller id may be made here again (D7).
    pub(crate) next_peer: PeerId,
    /// The keys that it owns, or that are kept for it.
    pub(crate) ranges: Vec<KeyRange>,
    /// The newest `RawNode` that was numbered.
    pub(crate) generation: Generation,
}

impl Claim {
    pub(crate) fn new(standing: Standing, peer: Option<PeerId>, next_peer: PeerId, range: Option<KeyRange>) -> Self {
        Self { standing, peer, next_peer, ranges: range.into_iter().collect(), generation: Generation(1) }
    }

    /// What is known of a region that was never here.
    fn absent() -> Self {
        Self::new(Standing::Absent, None, PeerId(0), None)
    }

    /// Whether a peer is here that may be removed or replaced: nothing is about to make it, or to take its place.
    fn is_settled(&self) -> bool {
        matches!(self.standing, Standing::Newcomer | Standing::Live | Standing::Fenced)
    }
}

/// The store's claims.
#[derive(Default)]
pub(crate) struct Claims {
    inner: Mutex<Inner>,
}

/// No two regions have a key in common, but for a child that a split makes and its parent, which has the child's keys until
/// that begins.
#[derive(Default)]
struct Inner {
    regions: BTreeMap<RegionId, Claim>,
    /// Where ranges begin and whose they are, with their ends; empty for none. One that lies within another of the same
    /// region is left out. A store has many regions, and strangers, each of whom asks for whom the keys are, may come as fast
    /// as heartbeats.
    starts: BTreeMap<(Bytes, RegionId), Bytes>,
}

impl Inner {
    /// The claim of a region, which may never have been here.
    fn claim(&mut self, region: RegionId) -> &mut Claim {
        self.regions.entry(region).or_insert_with(Claim::absent)
    }

    /// Gives a region these ranges in place of those that it had.
    fn set_ranges(&mut self, region: RegionId, ranges: Vec<KeyRange>) {
        let Self { regions, starts } = self;
        let claim = regions.entry(region).or_insert_with(Claim::absent);
        for range in &claim.ranges {
            starts.remove(&(range.start.clone(), region));
        }
        let is_within_another = |range: &KeyRange| ranges.iter().any(|other| other != range && other.encloses(range));
        for range in ranges.iter().filter(|range| !range.is_empty() && !is_within_another(range)) {
            starts.insert((range.start.clone(), region), range.end.clone());
        }
        claim.ranges = ranges;
    }

    /// Whether a region other than this one has a key of the range.
    fn overlaps(&self, region: RegionId, range: &KeyRange) -> bool {
        if range.is_empty() {
            return false;
        }
        let from = (range.start.clone(), RegionId(0));
        let mut inside = self.starts.range(from.clone()..).take_while(|((start, _), _)| range.is_below_end(start));
        if inside.any(|((_, owner), _)| *owner != region) {
            return true;
        }
        for ((_, owner), end) in self.starts.range(..from).rev().filter(|((_, owner), _)| *owner != region) {
            if end.is_empty() || *end > range.start {
                return true;
            }
            // Whoever begins before this one ends before it as well, unless this is a child and that is its parent.
            if !self.is_being_made(*owner) {
                return false;
            }
        }
        false
    }

    fn is_being_made(&self, region: RegionId) -> bool {
        self.regions.get(&region).is_some_and(|claim| matches!(claim.standing, Standing::Splitting(_)))
    }
}

impl Claims {
    /// What a start found.
    pub(crate) fn new(found: impl IntoIterator<Item = (RegionId, Claim)>) -> Self {
        let mut inner = Inner::default();
        for (region, mut claim) in found {
            let ranges = std::mem::take(&mut claim.ranges);
            inner.regions.insert(region, claim);
            inner.set_ranges(region, ranges);
        }
        Self { inner: Mutex::new(inner) }
    }

    /// The standing of a region's peer, and its id.
    pub(crate) fn look(&self, region: RegionId) -> (Standing, Option<PeerId>) {
        let inner = self.inner.lock();
        inner.regions.get(&region).map_or((Standing::Absent, None), |claim| (claim.standing.clone(), claim.peer))
    }

    /// Why a message may not make this peer; `None` claims it.
    pub(crate) fn invite(&self, region: RegionId, peer: PeerId, range: &KeyRange) -> Option<&'static str> {
        let mut inner = self.inner.lock();
        if inner.overlaps(region, range) {
            return Some("its range is still another region's here");
        }
        let claim = inner.claim(region);
        if claim.standing != Standing::Absent {
            return Some("the region has a peer here");
        }
        if peer < claim.next_peer {
            return Some("that peer, or a later one, was here and is gone");
        }
        claim.standing = Standing::Newcomer;
        claim.peer = Some(peer);
        None
    }

    /// How a child that apply has written comes to be; `None` when nobody claimed it.
    pub(crate) fn making(&self, child: RegionId) -> Option<How> {
        match self.look(child).0 {
            Standing::Splitting(Making { how, .. }) => Some(how),
            _ => None,
        }
    }

    /// Whether a child of this region is claimed and not there yet.
    pub(crate) fn is_giving_birth(&self, parent: RegionId) -> bool {
        let of_parent =
            |claim: &Claim| matches!(claim.standing, Standing::Splitting(making) if making.parent == parent);
        self.inner.lock().regions.values().any(of_parent)
    }

    /// A peer is there, with this range; also when its range changed.
    pub(crate) fn lives(&self, region: RegionId, peer: PeerId, range: KeyRange) {
        let mut inner = self.inner.lock();
        let claim = inner.claim(region);
        claim.standing = Standing::Live;
        claim.peer = Some(peer);
        claim.next_peer = claim.next_peer.max(PeerId(peer.0 + 1));
        inner.set_ranges(region, vec![range]);
    }

    /// A parent keeps less than it had, if it is still there; what it gave up is its children's.
    pub(crate) fn shrinks(&self, parent: RegionId, range: KeyRange) {
        let mut inner = self.inner.lock();
        if inner.regions.get(&parent).is_some_and(|claim| !claim.ranges.is_empty()) {
            inner.set_ranges(parent, vec![range]);
        }
    }

    /// Keeps ranges for a snapshot, and the peer for nothing else until then. False when another region owns any of
    /// them, when the peer is not one whose log and state may be replaced, or when it has begun anew since its
    /// `RawNode` took the snapshot.
    pub(crate) fn reserve(&self, region: RegionId, peer: PeerId, generation: Generation, ranges: &[KeyRange]) -> bool {
        let mut inner = self.inner.lock();
        if ranges.iter().any(|range| inner.overlaps(region, range)) {
            return false;
        }
        let Some(claim) = inner.regions.get_mut(&region) else { return false };
        if !claim.is_settled() || claim.peer != Some(peer) || claim.generation != generation {
            return false;
        }
        let mut reserved = ranges.to_vec();
        // What a fenced peer kept is to be cleared for it still.
        if std::mem::replace(&mut claim.standing, Standing::Replacing) == Standing::Fenced {
            reserved.extend(claim.ranges.iter().cloned());
        }
        inner.set_ranges(region, reserved);
        true
    }

    /// Whether a snapshot of this region and range could be taken now, for this peer.
    pub(crate) fn has_room(&self, region: RegionId, peer: PeerId, range: &KeyRange) -> bool {
        let inner = self.inner.lock();
        let is_replaceable = |claim: &Claim| claim.peer == Some(peer) && claim.is_settled();
        inner.regions.get(&region).is_some_and(is_replaceable) && !inner.overlaps(region, range)
    }

    /// The peer begins to go. False when a split needs it: then it stays.
    pub(crate) fn leaves(&self, region: RegionId) -> bool {
        let mut inner = self.inner.lock();
        let Some(claim) = inner.regions.get_mut(&region) else { return false };
        if !claim.is_settled() {
            return false;
        }
        claim.standing = Standing::Leaving;
        true
    }

    /// The peer is gone, with everything that it had.
    pub(crate) fn left(&self, region: RegionId, next_peer: PeerId) {
        let mut inner = self.inner.lock();
        if let Some(claim) = inner.regions.get_mut(&region) {
            claim.standing = Standing::Absent;
            claim.peer = None;
            claim.next_peer = claim.next_peer.max(next_peer);
            inner.set_ranges(region, Vec::new());
        }
    }

    /// What a region owns, or what is kept for it.
    pub(crate) fn ranges(&self, region: RegionId) -> Vec<KeyRange> {
        self.inner.lock().regions.get(&region).map(|claim| claim.ranges.clone()).unwrap_or_default()
    }

    /// Whether any region owns, or keeps, a key of the range.
    pub(crate) fn is_owned(&self, range: &KeyRange) -> bool {
        self.inner.lock().overlaps(RegionId(0), range)
    }

    /// A number for the region's next `RawNode` (D11).
    pub(crate) fn next_generation(&self, region: RegionId) -> Generation {
        let mut inner = self.inner.lock();
        let claim = inner.claim(region);
        claim.generation = Generation(claim.generation.0 + 1);
        claim.generation
    }
}

impl Arbiter for Claims {
    fn claim(&self, birth: Birth<'_>) -> bool {
        let Birth { child, peer, parent, .. } = birth;
        let mut inner = self.inner.lock();
        let claim = inner.claim(child.id);
        let same = claim.peer == Some(peer.id);
        let how = match &claim.standing {
            Standing::Absent if peer.id >= claim.next_peer => How::Anew,
            Standing::Newcomer if same => How::TakingOver,
            Standing::Dormant if same => How::Awaking,
            Standing::Splitting(making) if same => making.how,
            _ => return false,
        };
        claim.standing = Standing::Splitting(Making { parent, how });
        claim.peer = Some(peer.id);
        inner.set_ranges(child.id, vec![child.range.clone()]);
        true
    }
}

#[cfg(test)]
mod tests;
