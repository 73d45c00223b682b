//! Obeying the placement driver.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use observe::ServerMetrics;
use observe::metrics::server::OrderOutcome;
use parking_lot::Mutex;
use proto::eraftpb::ConfChangeType;
use proto::pdpb::{self, CheckPolicy, RegionHeartbeatResponse};
use region::Role;
use slog::{Logger, debug, info, warn};
use store::{RegionView, StoreHandle};
use types::{MemberChange, PeerId, PeerRole, RegionEpoch, RegionId, RequestError, StoreId};

use crate::moves::{Splits, ask, inspect};

/// What the placement driver wants of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    /// One of these stores leads, the first one best.
    TransferLeader(Vec<StoreId>),
    /// These changes of members; none to leave a joint configuration.
    ChangeMembers(Vec<MemberChange>),
    /// A split at these keys; at the middle without keys.
    Split(Vec<Bytes>),
}

/// Obeys orders, one for each region at a time: the same order comes again and again until it is done. Cheap to clone.
#[derive(Clone)]
pub(in crate::node) struct Orders {
    store: StoreHandle,
    splits: Splits,
    under_way: Arc<Mutex<BTreeSet<RegionId>>>,
    metrics: Arc<ServerMetrics>,
    logger: Logger,
}

/// A region whose order is being carried out.
struct UnderWay {
    region: RegionId,
    all: Arc<Mutex<BTreeSet<RegionId>>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.all.lock().remove(&self.region);
    }
}

impl Orders {
    pub(in crate::node) fn new(
        store: StoreHandle,
        splits: Splits,
        metrics: Arc<ServerMetrics>,
        logger: Logger,
    ) -> Self {
        Self { store, splits, under_way: Arc::default(), metrics, logger }
    }

    /// Begins to carry an order out, unless it is stale, one of the region's is under way, or this build cannot. Does not
    /// wait. Must be called on a tokio runtime.
    pub(super) fn obey(&self, answer: RegionHeartbeatResponse) {
        let region = RegionId(answer.region_id);
        if let Some(error) = answer.header.as_ref().and_then(|header| header.error.as_ref()) {
            // The placement driver knows the region better, from its newer leader: nothing is lost.
            debug!(self.logger, "a region's heartbeat was refused"; "region_id" => region.0, "reason" => &error.message);
        }
        if region.0 == 0 {
            return;
        }
        let order = match read(&answer) {
            Ok(Some(order)) => order,
            Ok(None) => return,
            Err(reason) => {
                self.metrics.orders[OrderOutcome::Declined].inc();
                return info!(self.logger, "an order of the placement driver is declined";
                    "region_id" => region.0, "reason" => reason);
            }
        };
        let Some(view) = self.addressed(&answer) else {
            self.metrics.orders[OrderOutcome::Stale].inc();
            return info!(self.logger, "an order of the placement driver is stale"; "region_id" => region.0);
        };
        if !self.under_way.lock().insert(region) {
            self.metrics.orders[OrderOutcome::Busy].inc();
            return debug!(self.logger, "an order of the region is under way already"; "region_id" => region.0);
        }
        let under_way = UnderWay { region, all: Arc::clone(&self.under_way) };
        let orders = self.clone();
        tokio::spawn(async move {
            orders.carry_out(&view, order).await;
            drop(under_way);
        });
    }

    /// The region, if it is led here by the peer and at the epoch that the order is for.
    fn addressed(&self, answer: &RegionHeartbeatResponse) -> Option<RegionView> {
        let view = self.store.region(RegionId(answer.region_id))?;
        let epoch = answer.region_epoch.map(RegionEpoch::from)?;
        let peer = answer.target_peer.as_ref().map(|peer| PeerId(peer.id))?;
        let is_current = view.role == Role::Leader && view.peer.id == peer && view.descriptor.epoch == epoch;
        is_current.then_some(view)
    }

    async fn carry_out(&self, view: &RegionView, order: Order) {
        let region = view.descriptor.id;
        info!(self.logger, "an order of the placement driver"; "region_id" => region.0, "order" => ?order);
        let done = match order {
            Order::TransferLeader(to) => self.transfer(view, to).await,
            Order::ChangeMembers(changes) => {
                let epoch = view.descriptor.epoch;
                let changed = ask(|responder| self.store.change_members(region, epoch, changes, responder)).await;
                changed.map(drop).map_err(|error| error.to_string())
            }
            Order::Split(keys) => self.split(view, keys).await,
        };
        let outcome = match done {
            Ok(()) => {
                info!(self.logger, "an order is carried out"; "region_id" => region.0);
                OrderOutcome::CarriedOut
            }
            // It comes again as long as it is wanted.
            Err(reason) => {
                warn!(self.logger, "an order is not carried out"; "region_id" => region.0, "reason" => reason);
                OrderOutcome::Failed
            }
        };
        self.metrics.orders[outcome].inc();
    }

    async fn transfer(&self, view: &RegionView, to: Vec<StoreId>) -> Result<(), String> {
        let status = inspect(&self.store, view.descriptor.id).await.ok_or("the region is gone")?;
        let votes_on = |store: &StoreId, active: bool| {
            let mut members = status.members.iter().filter(|member| member.active || !active);
            members.any(|member| member.peer.store_id == *store && member.peer.role == PeerRole::Voter)
        };
        // Who leads since a moment ago has heard of nobody yet. When none of them votes at all, the region says why the first
        // one cannot lead.
        let active = to.iter().find(|store| votes_on(store, true));
        let best = active.or_else(|| to.iter().find(|store| votes_on(store, false))).or(to.first());
        let best = best.copied().ok_or("nobody is named")?;
        let transferred = ask(|responder| self.store.transfer_leader(view.descriptor.id, best, responder)).await;
        transferred.map_err(|error: RequestError| error.to_string())
    }

    async fn split(&self, view: &RegionView, keys: Vec<Bytes>) -> Result<(), String> {
        let keys = if keys.is_empty() { vec![self.middle(view).await?] } else { keys };
        let split = self.splits.split(&view.descriptor, keys).await;
        split.map(drop).map_err(|error| error.to_string())
    }

    /// About the middle of the region's data. Table properties tell it as well as reading all of it would.
    async fn middle(&self, view: &RegionView) -> Result<Bytes, String> {
        let (state, region) = (Arc::clone(&self.store.engines().state), Arc::clone(&view.descriptor));
        let found = tokio::task::spawn_blocking(move || engine::split::middle_key(&*state, &region.range)).await;
        let found = found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        found.ok_or_else(|| "the region has too little data for a middle".to_owned())
    }
}

/// What an answer orders, if anything.
///
/// # Errors
/// Why this build does not do it.
fn read(answer: &RegionHeartbeatResponse) -> Result<Option<Order>, String> {
    if let Some(change) = &answer.change_peer_v2 {
        let changes: Result<_, _> = change.changes.iter().map(member_change).collect();
        return Ok(Some(Order::ChangeMembers(changes?)));
    }
    if let Some(change) = &answer.change_peer {
        return Ok(Some(Order::ChangeMembers(vec![member_change(change)?])));
    }
    if let Some(transfer) = &answer.transfer_leader {
        // The list, where there is one, begins with the single peer of older protocols.
        let named = if transfer.peers.is_empty() { transfer.peer.as_slice() } else { &transfer.peers };
        return Ok(Some(Order::TransferLeader(named.iter().map(|peer| StoreId(peer.store_id)).collect())));
    }
    if let Some(split) = &answer.split_region {
        let keys = match split.policy() {
            CheckPolicy::Usekey if split.keys.is_empty() => return Err("a split at keys names no key".to_owned()),
            CheckPolicy::Usekey => split.keys.clone(),
            CheckPolicy::Scan | CheckPolicy::Approximate => Vec::new(),
        };
        return Ok(Some(Order::Split(keys)));
    }
    if answer.merge.is_some() {
        return Err("regions are not merged by this build".to_owned());
    }
    if answer.switch_witnesses.is_some() {
        return Err("witnesses are not known to this build".to_owned());
    }
    if answer.change_split.is_some() {
        return Err("splits by size and load are switched by this store's configuration".to_owned());
    }
    Ok(None)
}

fn member_change(change: &pdpb::ChangePeer) -> Result<MemberChange, String> {
    let peer = change.peer.as_ref().ok_or("a change of members names no peer")?;
    if peer.is_witness {
        return Err("witnesses are not known to this build".to_owned());
    }
    let (peer, store) = (PeerId(peer.id), StoreId(peer.store_id));
    Ok(match ConfChangeType::try_from(change.change_type) {
        Ok(ConfChangeType::AddNode) => MemberChange::vote(peer, store),
        Ok(ConfChangeType::AddLearnerNode) => MemberChange::learn(peer, store),
        Ok(ConfChangeType::RemoveNode) => MemberChange::remove(peer, store),
        Err(_) => return Err(format!("change of members {} is not known to this build", change.change_type)),
    })
}

#[cfg(test)]
mod tests {
    use proto::metapb;

    use super::*;

    fn peer(id: u64) -> metapb::Peer {
        metapb::Peer { id, store_id: id - 10, ..Default::default() }
    }

    fn change(kind: ConfChangeType, id: u64) -> pdpb::ChangePeer {
        pdpb::ChangePeer { peer: Some(peer(id)), change_type: kind.into() }
    }

    fn answer() -> RegionHeartbeatResponse {
        RegionHeartbeatResponse { region_id: 1, ..Default::default() }
    }

    #[test]
    fn changes_of_members_in_both_forms() {
        let one = change(ConfChangeType::AddLearnerNode, 14);
        let order = read(&RegionHeartbeatResponse { change_peer: Some(one), ..answer() });
        assert_eq!(order, Ok(Some(Order::ChangeMembers(vec![MemberChange::learn(PeerId(14), StoreId(4))]))));
        let changes = vec![change(ConfChangeType::AddNode, 14), change(ConfChangeType::RemoveNode, 13)];
        let several = Some(pdpb::ChangePeerV2 { changes });
        let order = read(&RegionHeartbeatResponse { change_peer_v2: several, ..answer() });
        let expected = vec![MemberChange::vote(PeerId(14), StoreId(4)), MemberChange::remove(PeerId(13), StoreId(3))];
        assert_eq!(order, Ok(Some(Order::ChangeMembers(expected))));
        let leave = Some(pdpb::ChangePeerV2 { changes: Vec::new() });
        let order = read(&RegionHeartbeatResponse { change_peer_v2: leave, ..answer() });
        assert_eq!(order, Ok(Some(Order::ChangeMembers(Vec::new()))), "a joint configuration is to be left");
    }

    #[test]
    fn leaders_in_both_forms() {
        let mut transfer = pdpb::TransferLeader { peer: Some(peer(12)), peers: Vec::new() };
        let read_it = |transfer: &pdpb::TransferLeader| {
            read(&RegionHeartbeatResponse { transfer_leader: Some(transfer.clone()), ..answer() })
        };
        assert_eq!(read_it(&transfer), Ok(Some(Order::TransferLeader(vec![StoreId(2)]))));
        transfer.peers = vec![peer(13), peer(12)];
        assert_eq!(read_it(&transfer), Ok(Some(Order::TransferLeader(vec![StoreId(3), StoreId(2)]))));
    }

    #[test]
    fn splits_of_every_policy() {
        let read_it = |policy: CheckPolicy, keys: &[&'static str]| {
            let keys = keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect();
            let split_region = Some(pdpb::SplitRegion { policy: policy.into(), keys });
            read(&RegionHeartbeatResponse { split_region, ..answer() })
        };
        assert_eq!(read_it(CheckPolicy::Usekey, &["k"]), Ok(Some(Order::Split(vec!["k".into()]))));
        assert_eq!(read_it(CheckPolicy::Scan, &[]), Ok(Some(Order::Split(vec![]))));
        assert_eq!(read_it(CheckPolicy::Approximate, &["k"]), Ok(Some(Order::Split(vec![]))));
        assert!(read_it(CheckPolicy::Usekey, &[]).is_err());
    }

    #[test]
    fn what_this_build_cannot_do_is_told() {
        let witness = metapb::Peer { is_witness: true, ..peer(14) };
        let witness = pdpb::ChangePeer { peer: Some(witness), change_type: ConfChangeType::AddNode.into() };
        let unknown = pdpb::ChangePeer { peer: Some(peer(14)), change_type: 9 };
        let nobody = pdpb::ChangePeer { peer: None, change_type: 0 };
        for change in [witness, unknown, nobody] {
            let answer = RegionHeartbeatResponse { change_peer: Some(change), ..answer() };
            assert!(read(&answer).is_err(), "{change:?}");
        }
        let merge = Some(pdpb::Merge::default());
        assert!(read(&RegionHeartbeatResponse { merge, ..answer() }).is_err_and(|reason| reason.contains("merged")));
        let switch_witnesses = Some(pdpb::BatchSwitchWitness {
            switch_witnesses: vec![pdpb::SwitchWitness { peer_id: 12, is_witness: true }],
        });
        let switch = read(&RegionHeartbeatResponse { switch_witnesses, ..answer() });
        assert!(switch.is_err_and(|reason| reason.contains("witnesses")));
        let change_split = Some(pdpb::ChangeSplit::default());
        assert!(read(&RegionHeartbeatResponse { change_split, ..answer() }).is_err());
        assert_eq!(read(&answer()), Ok(None), "an answer that asks for nothing");
    }
}
