//! The test's hand on the scripted placement driver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use proto::eraftpb::ConfChangeType;
use proto::metapb;
use proto::pdpb::pd_server::PdServer;
use proto::pdpb::{self, RegionHeartbeatRequest, RegionHeartbeatResponse};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::service::{Member, Shared};
use crate::state::State;

/// Longest that something may take; only a hang meets it.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often an order is given again.
const ORDERED_AGAIN: Duration = Duration::from_millis(500);

pub struct ScriptedPd {
    shared: Arc<Shared>,
    pub addresses: Vec<String>,
    runtime: Option<Runtime>,
}

impl ScriptedPd {
    /// Two members, of which the first one leads.
    pub fn start(cluster: u64) -> Self {
        let runtime = Runtime::new().unwrap();
        let listeners: Vec<TcpListener> =
            (0..2).map(|_| runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap()).collect();
        let addresses: Vec<String> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
        let urls = addresses.iter().map(|address| format!("http://{address}")).collect();
        let shared = Arc::new(Shared { state: Mutex::new(State::new(cluster, urls)), changed: Condvar::new() });
        for (at, listener) in listeners.into_iter().enumerate() {
            let member = Member { at, shared: Arc::clone(&shared) };
            runtime.spawn(async move {
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                Server::builder().add_service(PdServer::new(member)).serve_with_incoming(incoming).await.unwrap();
            });
        }
        Self { shared, addresses, runtime: Some(runtime) }
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.shared.state.lock())
    }

    /// Waits until there is something to see.
    pub fn wait<T>(&self, what: &str, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.shared.state.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return found;
            }
            let waited = self.shared.changed.wait_until(&mut state, deadline);
            assert!(!waited.timed_out(), "{what} did not come: {:#?}", state.regions);
        }
    }

    /// Waits until a region's newest heartbeat is as it should be, and gives it.
    pub fn wait_region(
        &self,
        what: &str,
        region: u64,
        mut is_right: impl FnMut(&RegionHeartbeatRequest) -> bool,
    ) -> RegionHeartbeatRequest {
        self.wait(what, |state| state.regions.get(&region).filter(|heartbeat| is_right(heartbeat)).cloned())
    }

    /// A region's newest heartbeat.
    pub fn region(&self, region: u64) -> RegionHeartbeatRequest {
        self.with(|state| state.regions[&region].clone())
    }

    /// Gives a region an order, for its epoch and leader as they were reported last.
    pub fn order(&self, region: u64, order: RegionHeartbeatResponse) {
        let newest = self.region(region);
        let region_epoch = newest.region.as_ref().and_then(|region| region.region_epoch);
        self.send(
            newest.leader.unwrap().store_id,
            RegionHeartbeatResponse { region_id: region, region_epoch, target_peer: newest.leader, ..order },
        );
    }

    /// Gives a region an order again and again, as the real one does, until there is something to see: whoever leads since
    /// a moment ago may not be able to obey yet.
    pub fn order_until<T>(
        &self,
        what: &str,
        region: u64,
        order: &RegionHeartbeatResponse,
        mut look: impl FnMut(&mut State) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.order(region, order.clone());
            let again = Instant::now() + ORDERED_AGAIN;
            let mut state = self.shared.state.lock();
            loop {
                if let Some(found) = look(&mut state) {
                    return found;
                }
                if self.shared.changed.wait_until(&mut state, again).timed_out() {
                    break;
                }
            }
            assert!(Instant::now() < deadline, "{what} did not come: {:#?}", state.regions);
        }
    }

    /// As [`order_until`](Self::order_until), until the region's newest heartbeat is as it should be.
    pub fn order_until_seen(
        &self,
        what: &str,
        region: u64,
        order: &RegionHeartbeatResponse,
        mut is_right: impl FnMut(&RegionHeartbeatRequest) -> bool,
    ) -> RegionHeartbeatRequest {
        self.order_until(what, region, order, |state| {
            state.regions.get(&region).filter(|heartbeat| is_right(heartbeat)).cloned()
        })
    }

    /// Sends an order to a store, as it is but for the header.
    pub fn send(&self, store: u64, order: RegionHeartbeatResponse) {
        let state = self.shared.state.lock();
        let header = Some(pdpb::ResponseHeader { cluster_id: state.cluster, error: None });
        let stream = state.streams.get(&store).expect("the store has a stream");
        stream.orders.send(Ok(RegionHeartbeatResponse { header, ..order })).unwrap();
    }

    /// Another member leads.
    pub fn change_leader(&self) {
        self.with(|state| {
            state.leader = 1 - state.leader;
            state.break_streams();
        });
    }
}

impl Drop for ScriptedPd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        if !std::thread::panicking() {
            assert_eq!(self.shared.state.lock().complaints, Vec::<String>::new());
        }
    }
}

pub fn voter(id: u64, store_id: u64) -> metapb::Peer {
    metapb::Peer { id, store_id, ..Default::default() }
}

pub fn learner(id: u64, store_id: u64) -> metapb::Peer {
    metapb::Peer { role: metapb::PeerRole::Learner.into(), ..voter(id, store_id) }
}

pub fn change(kind: ConfChangeType, peer: metapb::Peer) -> pdpb::ChangePeer {
    pdpb::ChangePeer { peer: Some(peer), change_type: kind.into() }
}

/// An order of the older form.
pub fn change_peer(kind: ConfChangeType, peer: metapb::Peer) -> RegionHeartbeatResponse {
    RegionHeartbeatResponse { change_peer: Some(change(kind, peer)), ..Default::default() }
}

pub fn change_peers(changes: Vec<pdpb::ChangePeer>) -> RegionHeartbeatResponse {
    RegionHeartbeatResponse { change_peer_v2: Some(pdpb::ChangePeerV2 { changes }), ..Default::default() }
}

pub fn transfer(peers: Vec<metapb::Peer>) -> RegionHeartbeatResponse {
    let transfer_leader = pdpb::TransferLeader { peer: peers.first().copied(), peers };
    RegionHeartbeatResponse { transfer_leader: Some(transfer_leader), ..Default::default() }
}

pub fn split(policy: pdpb::CheckPolicy, keys: &[&str]) -> RegionHeartbeatResponse {
    let keys = keys.iter().map(|key| key.as_bytes().to_vec().into()).collect();
    let split_region = pdpb::SplitRegion { policy: policy.into(), keys };
    RegionHeartbeatResponse { split_region: Some(split_region), ..Default::default() }
}

/// Conf_ver and version.
pub fn epoch(heartbeat: &RegionHeartbeatRequest) -> (u64, u64) {
    let epoch = heartbeat.region.as_ref().and_then(|region| region.region_epoch).unwrap_or_default();
    (epoch.conf_ver, epoch.version)
}

/// The member on a store.
pub fn member(heartbeat: &RegionHeartbeatRequest, store: u64) -> Option<metapb::Peer> {
    heartbeat.region.as_ref()?.peers.iter().find(|peer| peer.store_id == store).copied()
}

pub fn has_role(heartbeat: &RegionHeartbeatRequest, store: u64, role: metapb::PeerRole) -> bool {
    member(heartbeat, store).is_some_and(|peer| peer.role() == role)
}
