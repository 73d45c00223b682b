//! What the stores and regions of the playground look like just now.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use region::{RegionStatus, Role};
use server::node::StoreNode;
use store::StoreState;
use types::{KeyRange, LogIndex, RegionId, Responder, StoreId, Term};

/// How long regions may take to tell about themselves; one that takes longer is left out.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreRow {
    /// Its id.
    pub id: StoreId,
    /// Where clients and other stores reach it.
    pub address: String,
    /// Where its status is told.
    pub status_address: String,
    /// What it is doing; `None` when it was killed.
    pub running: Option<RunningStoreRow>,
}

/// What a store that runs is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningStoreRow {
    /// Whether it serves.
    pub state: StoreState,
    /// Regions that have a peer on it.
    pub regions: usize,
    /// Regions that it leads.
    pub leaders: usize,
    /// What its engines take on disk, in bytes.
    pub disk_bytes: u64,
    /// Why it cannot go on, if it cannot.
    pub failure: Option<String>,
}

/// A region, as its leader sees it; without one, as the peer with the highest term does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionRow {
    /// Its id.
    pub id: RegionId,
    /// Its keys.
    pub range: KeyRange,
    /// The store that leads it.
    pub leader: Option<StoreId>,
    /// The stores with a peer, and whether each of them runs.
    pub peers: Vec<(StoreId, bool)>,
    /// The term.
    pub term: Term,
    /// The newest index that is applied.
    pub applied: LogIndex,
    /// About how many bytes its keys and values take.
    pub bytes: u64,
}

/// What one store tells of itself.
pub fn store_row(node: &StoreNode) -> RunningStoreRow {
    let store = node.handle();
    let (counts, engines) = (store.counts(), store.engines());
    RunningStoreRow {
        state: store.state(),
        regions: counts.regions,
        leaders: counts.leaders,
        disk_bytes: engines.log.statistics().disk_bytes + engines.state.statistics().disk_bytes,
        failure: node.failure(),
    }
}

/// All regions that have a peer on a running store, ordered by their keys.
pub fn region_rows<'a>(nodes: impl Iterator<Item = &'a StoreNode> + Clone) -> Vec<RegionRow> {
    let running: Vec<StoreId> = nodes.clone().map(StoreNode::store_id).collect();
    let mut seen: BTreeMap<RegionId, (RegionStatus, u64)> = BTreeMap::new();
    for (node, status) in inspect_all(nodes) {
        let known = seen.get(&status.descriptor.id);
        if known.is_none_or(|(known, _)| knows_better(&status, known)) {
            let bytes = node.handle().engines().state.approximate_bytes(&status.descriptor.range).unwrap_or(0);
            seen.insert(status.descriptor.id, (status, bytes));
        }
    }
    let mut rows: Vec<RegionRow> = seen.into_values().map(|(status, bytes)| row(status, bytes, &running)).collect();
    rows.sort_by(|left, right| left.range.start.cmp(&right.range.start));
    rows
}

fn row(status: RegionStatus, bytes: u64, running: &[StoreId]) -> RegionRow {
    let leader = (status.role == Role::Leader).then_some(status.peer.store_id);
    let peers = status.descriptor.peers.iter().map(|peer| (peer.store_id, running.contains(&peer.store_id)));
    let mut peers: Vec<_> = peers.collect();
    peers.sort_unstable();
    RegionRow {
        id: status.descriptor.id,
        leader,
        peers,
        term: status.term,
        applied: status.apply_state.applied,
        bytes,
        range: status.descriptor.range,
    }
}

/// A leader that was cut off may still think that it leads, in a lower term.
fn knows_better(status: &RegionStatus, known: &RegionStatus) -> bool {
    let rank = |status: &RegionStatus| (status.role == Role::Leader, status.term, status.apply_state.applied);
    rank(status) > rank(known)
}

/// What every peer looks like, as soon as all have answered or the time is over.
fn inspect_all<'a>(nodes: impl Iterator<Item = &'a StoreNode>) -> Vec<(&'a StoreNode, RegionStatus)> {
    // One answer for each peer at most.
    let (sender, answers) = mpsc::channel();
    let mut by_id = BTreeMap::new();
    for node in nodes {
        by_id.insert(node.store_id(), node);
        for view in node.handle().regions() {
            let sender = sender.clone();
            let inspector = Responder::new(move |status: Option<RegionStatus>| {
                // Whoever answers after the time is over is not heard.
                let _ = sender.send(status);
            });
            node.handle().inspect(view.descriptor.id, inspector);
        }
    }
    drop(sender);
    let deadline = Instant::now() + INSPECT_TIMEOUT;
    let answer = || answers.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
    let told = std::iter::from_fn(answer).flatten();
    told.filter_map(|status| Some((*by_id.get(&status.peer.store_id)?, status))).collect()
}

/// Whether every region that has a peer on one of the stores is led by one of them.
pub fn all_led<'a>(nodes: impl Iterator<Item = &'a StoreNode>) -> bool {
    let mut led: BTreeMap<RegionId, bool> = BTreeMap::new();
    for view in nodes.flat_map(|node| node.handle().regions()) {
        *led.entry(view.descriptor.id).or_default() |= view.role == Role::Leader;
    }
    led.values().all(|led| *led)
}
