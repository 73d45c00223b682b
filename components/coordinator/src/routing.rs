//! Which region holds which keys, and who leads it: learnt from heartbeats, ordered by start key.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
pub use placement::DownPeer;
use placement::RegionState;
use types::{Instant, KeyRange, Peer, RegionDescriptor, RegionId, StoreId, Term};

use crate::error::CoordinatorError;
use crate::remnants::{Remnant, Remnants};

/// Most regions that one scan returns; the client goes on behind the last.
pub const MAX_SCAN_REGIONS: usize = 16 << 10;

/// Most key ranges of one batch scan.
pub const MAX_SCAN_RANGES: usize = 16 << 10;

/// What a region took and gave since the heartbeat before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Bytes written.
    pub bytes_written: u64,
    /// Keys written.
    pub keys_written: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Keys read.
    pub keys_read: u64,
}

/// What the leader of a region reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionReport {
    /// The region.
    pub descriptor: RegionDescriptor,
    /// The leader.
    pub leader: Peer,
    /// Its term.
    pub term: Term,
    /// Peers that do not answer.
    pub down_peers: Vec<DownPeer>,
    /// Peers that have not caught up.
    pub pending_peers: Vec<Peer>,
    /// About how many bytes the region holds; zero when unknown.
    pub approximate_bytes: u64,
    /// About how many keys it holds; zero when unknown.
    pub approximate_keys: u64,
    /// What it took and gave.
    pub flow: Flow,
}

impl RegionReport {
    fn validate(&self) -> Result<(), CoordinatorError> {
        let region = self.descriptor.id;
        let invalid = |reason| Err(CoordinatorError::InvalidRegion { region, reason });
        let stores: BTreeSet<StoreId> = self.descriptor.peers.iter().map(|peer| peer.store_id).collect();
        if region == RegionId(0) {
            return invalid("its id must not be 0");
        }
        if self.descriptor.range.is_empty() {
            return invalid("its range must hold a key");
        }
        if self.descriptor.epoch.version == 0 || self.descriptor.epoch.conf_ver == 0 {
            return invalid("its epoch must begin at 1");
        }
        if stores.len() != self.descriptor.peers.len() {
            return invalid("it must have one peer on a store at most");
        }
        match self.descriptor.peer_on(self.leader.store_id) {
            Some(peer) if peer.id == self.leader.id => Ok(()),
            _ => invalid("its leader must be one of its peers"),
        }
    }
}

/// A region as readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// The region.
    pub descriptor: Arc<RegionDescriptor>,
    /// Its leader; `None` until one has reported.
    pub leader: Option<Peer>,
    /// The term of that leader; zero until one has reported.
    pub term: Term,
    /// When it last reported.
    pub heard: Option<Instant>,
    /// Peers that do not answer.
    pub down_peers: Vec<DownPeer>,
    /// Peers that have not caught up.
    pub pending_peers: Vec<Peer>,
    /// About how many bytes the region holds; zero when unknown.
    pub approximate_bytes: u64,
    /// About how many keys it holds; zero when unknown.
    pub approximate_keys: u64,
    /// What it took and gave between its last two reports.
    pub flow: Flow,
}

impl RegionInfo {
    pub(crate) fn unheard(descriptor: RegionDescriptor) -> Self {
        Self {
            descriptor: Arc::new(descriptor),
            leader: None,
            term: Term(0),
            heard: None,
            down_peers: Vec::new(),
            pending_peers: Vec::new(),
            approximate_bytes: 0,
            approximate_keys: 0,
            flow: Flow::default(),
        }
    }

    /// Of peers that are no members, nothing is taken over.
    fn reported(report: RegionReport, now: Instant) -> Self {
        let RegionReport { descriptor, mut down_peers, mut pending_peers, .. } = report;
        let mut members: BTreeSet<_> = descriptor.peers.iter().map(|peer| peer.id).collect();
        pending_peers.retain(|peer| members.remove(&peer.id));
        let mut members: BTreeSet<_> = descriptor.peers.iter().map(|peer| peer.id).collect();
        down_peers.retain(|down| members.remove(&down.peer.id));
        Self {
            descriptor: Arc::new(descriptor),
            leader: Some(report.leader),
            term: report.term,
            heard: Some(now),
            down_peers,
            pending_peers,
            approximate_bytes: report.approximate_bytes,
            approximate_keys: report.approximate_keys,
            flow: report.flow,
        }
    }

    /// The region as placement sees it; `None` until a leader has reported.
    pub(crate) fn placement_state(&self) -> Option<RegionState> {
        Some(RegionState {
            descriptor: Arc::clone(&self.descriptor),
            leader: self.leader?,
            down_peers: self.down_peers.clone(),
            pending_peers: self.pending_peers.clone(),
            approximate_bytes: self.approximate_bytes,
            approximate_keys: self.approximate_keys,
        })
    }

    pub(crate) fn start(&self) -> &Bytes {
        &self.descriptor.range.start
    }
}

/// How many regions are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionCounts {
    /// All of them.
    pub known: usize,
    /// Those whose leader has reported.
    pub with_leader: usize,
}

/// Where a client is sent with a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Route<'a> {
    /// To the region that claims it.
    Region(&'a RegionInfo),
    /// To the region that had it last: nobody claims it just now.
    Remnant(&'a Remnant),
}

impl<'a> Route<'a> {
    /// The region, or what is left of it.
    pub(crate) fn info(self) -> &'a RegionInfo {
        match self {
            Self::Region(info) => info,
            Self::Remnant(remnant) => &remnant.left,
        }
    }
}

/// Regions that share no key, by start key and by id.
#[derive(Debug, Default)]
pub(crate) struct RoutingTable {
    starts: BTreeMap<Bytes, RegionId>,
    regions: BTreeMap<RegionId, RegionInfo>,
    remnants: Remnants,
    with_leader: usize,
}

impl RoutingTable {
    /// Takes over the layout that the cluster was born with. Only into an empty table: reports know better.
    pub(crate) fn seed(&mut self, regions: &[RegionDescriptor]) {
        assert!(self.regions.is_empty(), "only an empty table is seeded");
        regions.iter().for_each(|region| self.insert(RegionInfo::unheard(region.clone())));
    }

    /// Takes over what a leader reports, and forgets the older regions whose keys it holds, which it gives back.
    ///
    /// # Errors
    /// `InvalidRegion`, `TwoLeaders`, and `StaleRegion` when the table knows newer; nothing changes then.
    pub(crate) fn report(&mut self, report: RegionReport, now: Instant) -> Result<Vec<RegionId>, CoordinatorError> {
        report.validate()?;
        self.check_not_stale(&report)?;
        let before = self.remove(report.descriptor.id);
        let range = report.descriptor.range.clone();
        let overlapping: Vec<RegionId> = self.overlapping(&range).map(|info| info.descriptor.id).collect();
        let others: Vec<RegionInfo> = overlapping.iter().filter_map(|region| self.remove(*region)).collect();
        self.insert(RegionInfo::reported(report, now));
        self.remnants.claim(&range);
        before.iter().chain(&others).for_each(|had| self.remnants.keep(had, &had.descriptor.range, &range));
        Ok(overlapping)
    }

    /// Refuses a region whose range or members are older than what is known.
    ///
    /// # Errors
    /// `StaleRegion`.
    pub(crate) fn check_epoch(&self, region: &RegionDescriptor) -> Result<(), CoordinatorError> {
        let Some(known) = self.region(region.id) else { return Ok(()) };
        let known = known.descriptor.epoch;
        let halves =
            [("version", region.epoch.version, known.version), ("conf_ver", region.epoch.conf_ver, known.conf_ver)];
        match halves.into_iter().find(|(_, reported, known)| reported < known) {
            Some((what, reported, known)) => {
                Err(CoordinatorError::StaleRegion { region: region.id, holder: region.id, what, reported, known })
            }
            None => Ok(()),
        }
    }

    /// Whether every key is in a known region, and each of them has a leader that has reported.
    pub(crate) fn is_complete(&self) -> bool {
        let mut covered = Some(Bytes::new());
        for info in self.regions() {
            if covered.as_ref() != Some(info.start()) {
                return false;
            }
            covered = Some(info.descriptor.range.end.clone()).filter(|end| !end.is_empty());
        }
        covered.is_none() && !self.regions.is_empty() && self.with_leader == self.regions.len()
    }

    fn check_not_stale(&self, report: &RegionReport) -> Result<(), CoordinatorError> {
        let region = report.descriptor.id;
        let check = |holder, what, reported, known| {
            let stale = CoordinatorError::StaleRegion { region, holder, what, reported, known };
            if reported < known { Err(stale) } else { Ok(()) }
        };
        let (term, epoch) = (report.term, report.descriptor.epoch);
        if let Some(known) = self.region(region) {
            check(region, "term", term.0, known.term.0)?;
            check(region, "version", epoch.version, known.descriptor.epoch.version)?;
            check(region, "conf_ver", epoch.conf_ver, known.descriptor.epoch.conf_ver)?;
            if known.term == term && known.leader.is_some_and(|leader| leader.id != report.leader.id) {
                return Err(CoordinatorError::TwoLeaders { region, term });
            }
        }
        self.overlapping(&report.descriptor.range)
            .try_for_each(|other| check(other.descriptor.id, "version", epoch.version, other.descriptor.epoch.version))
    }

    fn insert(&mut self, info: RegionInfo) {
        debug_assert!(self.overlapping(&info.descriptor.range).next().is_none(), "regions share no key");
        let before = self.starts.insert(info.start().clone(), info.descriptor.id);
        assert!(before.is_none(), "what began at the same key was removed before");
        self.with_leader += usize::from(info.leader.is_some());
        self.regions.insert(info.descriptor.id, info);
    }

    fn remove(&mut self, region: RegionId) -> Option<RegionInfo> {
        let info = self.regions.remove(&region)?;
        let removed = self.starts.remove(info.start());
        assert_eq!(removed, Some(region), "both indexes hold the same regions");
        self.with_leader -= usize::from(info.leader.is_some());
        Some(info)
    }

    fn by_id(&self, id: RegionId) -> &RegionInfo {
        self.regions.get(&id).expect("both indexes hold the same regions")
    }

    /// How many regions it holds.
    pub(crate) fn counts(&self) -> RegionCounts {
        RegionCounts { known: self.regions.len(), with_leader: self.with_leader }
    }

    /// A region by its id.
    pub(crate) fn region(&self, id: RegionId) -> Option<&RegionInfo> {
        self.regions.get(&id)
    }

    /// The region that holds a key.
    pub(crate) fn region_at(&self, key: &[u8]) -> Option<&RegionInfo> {
        let (_, id) = self.starts.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        Some(self.by_id(*id)).filter(|info| info.descriptor.range.contains(key))
    }

    /// Where a client is sent with a key; nowhere when no region ever had it.
    pub(crate) fn route_at(&self, key: &[u8]) -> Option<Route<'_>> {
        self.region_at(key).map(Route::Region).or_else(|| self.remnants.at(key).map(Route::Remnant))
    }

    /// Where a client is sent with the keys right before those of the region that it is sent to with a key.
    pub(crate) fn route_before(&self, key: &[u8]) -> Option<Route<'_>> {
        let start = self.route_at(key)?.info().start();
        let below = self.starts.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(&start[..]))).next_back();
        let region = below.map(|(_, id)| self.by_id(*id)).filter(|info| info.descriptor.range.end == *start);
        region.map(Route::Region).or_else(|| self.remnants.ending_at(start).map(Route::Remnant))
    }

    /// Where a client is sent with the keys of a range, ordered by start key. A region whose keys nobody claims may stand
    /// there more than once, with what is left of its range.
    pub(crate) fn routes<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = &'a RegionInfo> {
        let mut regions = self.overlapping(range).peekable();
        let mut remnants = self.remnants.overlapping(range).map(|remnant| &remnant.left).peekable();
        std::iter::from_fn(move || match (regions.peek(), remnants.peek()) {
            (Some(region), Some(remnant)) if remnant.start() < region.start() => remnants.next(),
            (None, _) => remnants.next(),
            _ => regions.next(),
        })
    }

    /// All regions, ordered by start key.
    pub(crate) fn regions(&self) -> impl Iterator<Item = &RegionInfo> {
        self.starts.values().map(|id| self.by_id(*id))
    }

    /// The regions that share a key with a range, ordered by start key.
    pub(crate) fn overlapping<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = &'a RegionInfo> {
        let first = self.region_at(&range.start).map_or_else(|| range.start.clone(), |info| info.start().clone());
        let range = range.clone();
        self.starts
            .range::<[u8], _>((Bound::Included(&first[..]), Bound::Unbounded))
            .map(|(_, id)| self.by_id(*id))
            .take_while(move |info| !range.is_empty() && range.is_below_end(info.start()))
    }

    /// The [`routes`](Self::routes) of several ascending ranges, each once, at most `limit` (0 for as many as allowed).
    ///
    /// # Errors
    /// `Invalid` for ranges that are empty or not ascending; `RangeNotCovered` when every key was asked for and some were
    /// never in a region, within what was returned.
    pub(crate) fn scan_ranges(
        &self,
        ranges: &[KeyRange],
        limit: usize,
        contain_all: bool,
    ) -> Result<Vec<&RegionInfo>, CoordinatorError> {
        check_ranges(ranges)?;
        let limit = clamp_limit(limit);
        let mut found: Vec<&RegionInfo> = Vec::new();
        for range in ranges {
            let mut covered = range.start.clone();
            for info in self.routes(range) {
                let is_found = found.last().is_some_and(|last| last.start() == info.start());
                if !is_found && found.len() == limit {
                    return Ok(found);
                }
                if contain_all && *info.start() > covered {
                    return Err(CoordinatorError::RangeNotCovered);
                }
                covered = info.descriptor.range.end.clone();
                if !is_found {
                    found.push(info);
                }
            }
            let reaches_end = covered.is_empty()
                && found.last().is_some_and(|last| last.descriptor.range.end.is_empty())
                || !range.is_below_end(&covered);
            if contain_all && !reaches_end && found.len() < limit {
                return Err(CoordinatorError::RangeNotCovered);
            }
        }
        Ok(found)
    }
}

/// Zero means that the client leaves it to us.
pub(crate) fn clamp_limit(limit: usize) -> usize {
    if limit == 0 { MAX_SCAN_REGIONS } else { limit.min(MAX_SCAN_REGIONS) }
}

fn check_ranges(ranges: &[KeyRange]) -> Result<(), CoordinatorError> {
    let refuse = |reason: String| Err(CoordinatorError::Invalid { reason });
    if ranges.len() > MAX_SCAN_RANGES {
        return refuse(format!("{} key ranges are more than {MAX_SCAN_RANGES}", ranges.len()));
    }
    if let Some(empty) = ranges.iter().find(|range| range.is_empty()) {
        return refuse(format!("key range {empty} holds no key"));
    }
    let ascending = |pair: &[KeyRange]| !pair[0].end.is_empty() && pair[0].end <= pair[1].start;
    if !ranges.windows(2).all(ascending) {
        return refuse("key ranges must be ascending and must not overlap".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use types::RegionEpoch;
    use types::seed::Rng;

    use super::*;

    fn report(id: u64, start: &str, end: &str, version: u64) -> RegionReport {
        let leader = Peer::voter((id * 10).into(), 1.into());
        let range = KeyRange::new(start.as_bytes().to_vec(), end.as_bytes().to_vec());
        let epoch = RegionEpoch { conf_ver: 1, version };
        let descriptor = RegionDescriptor { id: id.into(), range, epoch, peers: vec![leader] };
        RegionReport { descriptor, leader, term: Term(6), ..RegionReport::default() }
    }

    fn table(reports: &[RegionReport]) -> RoutingTable {
        let mut table = RoutingTable::default();
        for report in reports {
            table.report(report.clone(), Instant::ORIGIN).expect("newer than what is known");
        }
        table
    }

    fn ids<'a>(regions: impl IntoIterator<Item = &'a RegionInfo>) -> Vec<u64> {
        regions.into_iter().map(|info| info.descriptor.id.0).collect()
    }

    #[test]
    fn finds_by_key_and_neighbour() {
        let table = table(&[report(1, "", "b", 1), report(2, "b", "d", 1), report(3, "e", "", 1)]);
        let at = |key: &str| table.region_at(key.as_bytes()).map(|info| info.descriptor.id.0);
        let before = |key: &str| table.route_before(key.as_bytes()).map(|route| route.info().descriptor.id.0);
        assert_eq!((at(""), at("a"), at("b"), at("d"), at("zz")), (Some(1), Some(1), Some(2), None, Some(3)));
        assert_eq!((before("a"), before("c"), before("d"), before("e")), (None, Some(1), None, None));
        assert_eq!(ids(table.overlapping(&KeyRange::new("c", "e"))), [2]);
        assert_eq!(ids(table.overlapping(&KeyRange::new("d", "f"))), [3]);
        assert_eq!(ids(table.overlapping(&KeyRange::all())), [1, 2, 3]);
        assert_eq!(ids(table.overlapping(&KeyRange::new("c", "a"))), [0; 0]);
    }

    #[test]
    fn a_split_replaces_and_a_stale_parent_is_refused() {
        let mut table = table(&[report(1, "", "", 1)]);
        assert_eq!(table.report(report(2, "m", "", 2), Instant::ORIGIN), Ok(vec![RegionId(1)]));
        assert!(!table.is_complete(), "nobody has the lower half");
        assert_eq!(ids(table.regions()), [2], "the parent's old range is gone");
        let stale = table.report(report(1, "", "", 1), Instant::ORIGIN);
        assert!(matches!(stale, Err(CoordinatorError::StaleRegion { holder: RegionId(2), what: "version", .. })));
        table.report(report(1, "", "m", 2), Instant::ORIGIN).expect("the parent");
        assert_eq!(ids(table.regions()), [1, 2]);
        assert!(table.is_complete());
    }

    /// Whichever part of a split reports first, its keys and those of the others lead somewhere all the while.
    #[test]
    fn no_key_is_without_a_route_while_a_split_is_reported() {
        // The parent keeps the right part.
        let parts = [report(2, "", "d", 3), report(3, "d", "m", 3), report(1, "m", "", 3)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut table = table(&[report(1, "", "", 1)]);
            for (nth, part) in order.into_iter().enumerate() {
                table.report(parts[part].clone(), Instant::ORIGIN).expect("newer than what is known");
                for key in ["", "a", "d", "e", "m", "z"] {
                    let route = table.route_at(key.as_bytes()).expect("a route");
                    let owner = parts.iter().position(|part| part.descriptor.range.contains(key.as_bytes()));
                    let is_known = order[..=nth].contains(&owner.expect("one part has it"));
                    assert_eq!(matches!(route, Route::Region(_)), is_known, "{order:?}: {key:?}");
                    let expected = if is_known { parts[owner.unwrap_or(0)].descriptor.id } else { RegionId(1) };
                    assert_eq!(route.info().descriptor.id, expected, "{order:?}: {key:?}");
                    assert!(route.info().descriptor.range.contains(key.as_bytes()));
                    assert!(route.info().leader.is_some());
                }
                // What is scanned covers everything, without a gap and without sharing a key.
                let routes: Vec<&RegionInfo> = table.routes(&KeyRange::all()).collect();
                assert_eq!(
                    (&routes[0].start()[..], &routes[routes.len() - 1].descriptor.range.end[..]),
                    (&b""[..], &b""[..])
                );
                let adjoin = |pair: &[&RegionInfo]| pair[0].descriptor.range.end == *pair[1].start();
                assert!(routes.windows(2).all(adjoin), "{order:?}: {routes:?}");
                for pair in routes.windows(2) {
                    let before = table.route_before(pair[1].start()).expect("a route before it");
                    assert_eq!(before.info().start(), pair[0].start(), "{order:?}");
                }
                let all = table.scan_ranges(&[KeyRange::all()], 0, true).expect("every key is covered");
                assert_eq!(all, routes);
            }
            assert!(table.is_complete(), "{order:?}");
            assert_eq!(ids(table.routes(&KeyRange::all())), [2, 3, 1], "nothing is left over");
        }
    }

    #[test]
    fn what_is_left_of_a_region_is_no_region() {
        let mut table = table(&[report(1, "", "", 1)]);
        table.report(report(2, "", "m", 2), Instant::ORIGIN).expect("the child");
        assert!(table.region_at(b"z").is_none() && table.region(RegionId(1)).is_none() && !table.is_complete());
        assert_eq!(table.counts(), RegionCounts { known: 1, with_leader: 1 });
        assert_eq!(ids(table.regions()), [2]);
        // The leader of the parent may yet report what it was before: that is older than its child.
        assert!(table.report(report(1, "", "", 1), Instant::ORIGIN).is_err());
        assert!(table.route_at(b"z").is_some());
    }

    #[test]
    fn older_terms_and_epochs_are_refused() {
        let known = RegionReport { term: Term(7), ..report(1, "", "m", 3) };
        let mut table = table(std::slice::from_ref(&known));
        let mut reject = |report: RegionReport, expected: &str| match table.report(report, Instant::ORIGIN) {
            Err(CoordinatorError::StaleRegion { what, .. }) => assert_eq!(what, expected),
            other => panic!("{other:?}"),
        };
        reject(RegionReport { term: Term(6), ..known.clone() }, "term");
        reject(RegionReport { term: Term(7), ..report(1, "", "m", 2) }, "version");
        let mut conf = known.clone();
        conf.descriptor.epoch.conf_ver = 0;
        assert!(matches!(table.report(conf, Instant::ORIGIN), Err(CoordinatorError::InvalidRegion { .. })));
        let mut other_leader = known;
        other_leader.descriptor.peers.push(Peer::voter(11.into(), 2.into()));
        other_leader.leader = Peer::voter(11.into(), 2.into());
        let two = table.report(other_leader.clone(), Instant::ORIGIN);
        assert_eq!(two, Err(CoordinatorError::TwoLeaders { region: RegionId(1), term: Term(7) }));
        other_leader.term = Term(8);
        assert_eq!(table.report(other_leader, Instant::ORIGIN), Ok(Vec::new()));
    }

    /// Its old range may be somebody else's by now, or nobody's: what the region itself said last counts.
    #[test]
    fn an_older_version_is_refused_wherever_its_range_lay() {
        let mut table = table(&[report(1, "m", "", 3)]);
        let stale = table.report(report(1, "a", "b", 2), Instant::ORIGIN);
        assert!(matches!(stale, Err(CoordinatorError::StaleRegion { holder: RegionId(1), what: "version", .. })));
    }

    #[test]
    fn peers_that_are_no_members_are_left_out() {
        let mut odd = report(1, "", "", 1);
        let stranger = Peer::voter(99.into(), 9.into());
        let down = |peer| DownPeer { peer, down_seconds: 5 };
        odd.pending_peers = vec![odd.leader, stranger, odd.leader];
        odd.down_peers = vec![down(stranger), down(odd.leader), down(odd.leader)];
        let known = table(&[odd.clone()]);
        let info = known.region(RegionId(1)).expect("it was reported");
        assert_eq!((&info.pending_peers[..], &info.down_peers[..]), (&[odd.leader][..], &[down(odd.leader)][..]));
    }

    #[test]
    fn a_table_is_complete_when_every_key_has_a_leader() {
        let whole = table(&[report(1, "", "b", 1), report(2, "b", "", 1)]);
        assert!(whole.is_complete());
        for gap in [
            vec![],
            vec![report(1, "", "b", 1)],
            vec![report(2, "b", "", 1)],
            vec![report(1, "", "b", 1), report(2, "c", "", 1)],
        ] {
            assert!(!table(&gap).is_complete(), "{gap:?}");
        }
        let mut seeded = RoutingTable::default();
        seeded.seed(&[report(1, "", "", 1).descriptor]);
        assert!(!seeded.is_complete(), "nobody leads it");
    }

    #[test]
    fn older_membership_is_refused() {
        let mut newer = report(1, "", "", 1);
        newer.descriptor.epoch.conf_ver = 5;
        let mut table = table(&[newer]);
        let stale = table.report(report(1, "", "", 1), Instant::ORIGIN);
        assert!(matches!(stale, Err(CoordinatorError::StaleRegion { what: "conf_ver", .. })));
    }

    #[test]
    fn impossible_reports_are_refused() {
        let fine = report(1, "a", "b", 1);
        let mut wrong = vec![report(0, "a", "b", 1), report(1, "b", "b", 1), report(1, "a", "b", 0)];
        wrong.push(RegionReport { leader: Peer::voter(9.into(), 1.into()), ..fine.clone() });
        let mut twice = fine.clone();
        twice.descriptor.peers.push(Peer::voter(99.into(), 1.into()));
        wrong.push(twice);
        for report in wrong {
            let refused = RoutingTable::default().report(report.clone(), Instant::ORIGIN);
            assert!(matches!(refused, Err(CoordinatorError::InvalidRegion { .. })), "{report:?}");
        }
        assert_eq!(RoutingTable::default().report(fine, Instant::ORIGIN), Ok(Vec::new()));
    }

    #[test]
    fn scans_skip_gaps_or_refuse_them() {
        let table = table(&[report(1, "", "b", 1), report(2, "b", "d", 1), report(3, "e", "", 1)]);
        let scan = |ranges: &[(&str, &str)], limit, all| {
            let range = |(start, end): &(&str, &str)| KeyRange::new(start.as_bytes().to_vec(), end.as_bytes().to_vec());
            table.scan_ranges(&ranges.iter().map(range).collect::<Vec<_>>(), limit, all).map(ids)
        };
        assert_eq!(scan(&[("", "")], 0, false), Ok(vec![1, 2, 3]));
        assert_eq!(scan(&[("", "")], 2, true), Ok(vec![1, 2]));
        assert_eq!(scan(&[("", "")], 0, true), Err(CoordinatorError::RangeNotCovered));
        assert_eq!(scan(&[("", "d")], 0, true), Ok(vec![1, 2]));
        assert_eq!(scan(&[("", "dd")], 0, true), Err(CoordinatorError::RangeNotCovered));
        assert_eq!(scan(&[("d", "dd")], 0, true), Err(CoordinatorError::RangeNotCovered));
        assert_eq!(scan(&[("f", "")], 0, true), Ok(vec![3]));
        assert_eq!(scan(&[("", "a"), ("aa", "c"), ("f", "g")], 0, true), Ok(vec![1, 2, 3]));
        assert!(matches!(scan(&[("b", "c"), ("a", "b")], 0, false), Err(CoordinatorError::Invalid { .. })));
        assert!(matches!(scan(&[("b", ""), ("c", "d")], 0, false), Err(CoordinatorError::Invalid { .. })));
        assert!(matches!(scan(&[("b", "b")], 0, false), Err(CoordinatorError::Invalid { .. })));
    }

    /// Whatever is reported in whatever order: no two regions share a key, no version goes back, and a report that
    /// was accepted is found under each of its keys.
    #[test]
    fn random_reports_never_overlap_and_never_go_back() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut table = RoutingTable::default();
            let mut had = BTreeSet::new();
            for _ in 0..100 {
                let (low, high) = (rng.below(10) as u8, rng.below(11) as u8);
                let end = if high == 10 { Vec::new() } else { vec![high] };
                let mut next = report(1 + rng.below(6), "", "", 1 + rng.below(8));
                next.descriptor.range = KeyRange::new(vec![low], end);
                next.term = Term(6 + rng.below(3));
                let newest = table.overlapping(&next.descriptor.range).map(|info| info.descriptor.epoch.version).max();
                let accepted = table.report(next.clone(), Instant::ORIGIN).is_ok();
                if accepted {
                    assert!(newest.is_none_or(|newest| newest <= next.descriptor.epoch.version), "seed {seed}");
                    assert_eq!(table.region_at(&[low]).map(|info| info.descriptor.id), Some(next.descriptor.id));
                }
                let regions: Vec<&RegionInfo> = table.regions().collect();
                let led = regions.iter().filter(|info| info.leader.is_some()).count();
                assert_eq!(table.counts(), RegionCounts { known: regions.len(), with_leader: led }, "seed {seed}");
                for key in 0..11 {
                    let route = table.route_at(&[key]).map(Route::info);
                    assert!(route.is_none_or(|info| info.descriptor.range.contains(&[key])), "seed {seed}");
                    assert!(route.is_some() || !had.contains(&key), "seed {seed}: a key is in no region any more");
                    had.extend(route.map(|_| key));
                }
                let apart = |pair: &[&RegionInfo]| !pair[0].descriptor.range.overlaps(&pair[1].descriptor.range);
                assert!(regions.windows(2).all(apart), "seed {seed}: {regions:?}");
            }
        }
    }
}
