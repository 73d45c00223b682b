//! The calls of the scripted placement driver, as far as a store makes them.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use proto::metapb;
use proto::pdpb::pd_server::Pd;
use proto::pdpb::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::state::{Orders, State, Stream};

/// What all members share.
pub struct Shared {
    pub state: Mutex<State>,
    /// Told of every change.
    pub changed: Condvar,
}

/// One member.
#[derive(Clone)]
pub struct Member {
    pub at: usize,
    pub shared: Arc<Shared>,
}

impl Member {
    /// Answers a call, unless another member leads or another cluster is meant.
    fn answer<T>(
        &self,
        call: &'static str,
        header: Option<RequestHeader>,
        answer: impl FnOnce(&mut State, Option<ResponseHeader>) -> T,
    ) -> Result<Response<T>, Status> {
        let mut state = self.shared.state.lock();
        state.calls.push(call);
        if state.leader != self.at {
            return Err(Status::unavailable("not leader"));
        }
        if header.is_none_or(|header| header.cluster_id != state.cluster) {
            state.complain(format!("{call} is meant for another cluster"));
            return Err(Status::failed_precondition("mismatch cluster id"));
        }
        let header = header_of(&state, None);
        let answer = answer(&mut state, header);
        self.shared.changed.notify_all();
        Ok(Response::new(answer))
    }

    /// Takes a heartbeat. `false` when the stream is to end.
    fn take(&self, heartbeat: RegionHeartbeatRequest, number: usize, orders: &Orders) -> bool {
        let mut state = self.shared.state.lock();
        let about = heartbeat.clone();
        let store = heartbeat.leader.unwrap_or_default().store_id;
        let is_newest = state.streams.get(&store).is_none_or(|newest| newest.number <= number);
        if state.leader != self.at || number <= state.broken || !is_newest {
            return false;
        }
        if heartbeat.header.as_ref().is_none_or(|header| header.cluster_id != state.cluster)
            || !state.stores.contains_key(&store)
        {
            state.complain(format!("a heartbeat of another cluster or an unknown store: {about:?}"));
            return false;
        }
        state.streams.insert(store, Stream { number, orders: orders.clone() });
        if let Err(reason) = state.accept(heartbeat) {
            let region = about.region.unwrap_or_default();
            let refusal = RegionHeartbeatResponse {
                header: header_of(&state, Some((ErrorType::Unknown, reason))),
                region_id: region.id,
                region_epoch: region.region_epoch,
                target_peer: about.leader,
                ..Default::default()
            };
            let _ = orders.send(Ok(refusal));
        }
        self.shared.changed.notify_all();
        true
    }
}

fn header_of(state: &State, error: Option<(ErrorType, String)>) -> Option<ResponseHeader> {
    let error = error.map(|(kind, message)| Error { r#type: kind.into(), message });
    Some(ResponseHeader { cluster_id: state.cluster, error })
}

fn region_answer(
    header: Option<ResponseHeader>,
    found: Option<(metapb::Region, Option<metapb::Peer>)>,
) -> GetRegionResponse {
    let (region, leader) = found.map_or((None, None), |(region, leader)| (Some(region), leader));
    GetRegionResponse { header, region, leader, ..Default::default() }
}

#[tonic::async_trait]
impl Pd for Member {
    async fn get_members(&self, _request: Request<GetMembersRequest>) -> Result<Response<GetMembersResponse>, Status> {
        let state = self.shared.state.lock();
        let member = |(at, url): (usize, &String)| proto::pdpb::Member {
            member_id: at as u64 + 1,
            client_urls: vec![url.clone()],
            ..Default::default()
        };
        let members: Vec<_> = state.urls.iter().enumerate().map(member).collect();
        let leader = Some(members[state.leader].clone());
        let header = header_of(&state, None);
        Ok(Response::new(GetMembersResponse {
            header,
            leader: leader.clone(),
            etcd_leader: leader,
            members,
            ..Default::default()
        }))
    }

    async fn alloc_id(&self, request: Request<AllocIdRequest>) -> Result<Response<AllocIdResponse>, Status> {
        let request = request.into_inner();
        self.answer("AllocID", request.header, |state, header| {
            let count = request.count.max(1);
            state.last_id += u64::from(count);
            AllocIdResponse { header, id: state.last_id, count }
        })
    }

    async fn is_bootstrapped(
        &self,
        request: Request<IsBootstrappedRequest>,
    ) -> Result<Response<IsBootstrappedResponse>, Status> {
        self.answer("IsBootstrapped", request.into_inner().header, |state, header| IsBootstrappedResponse {
            header,
            bootstrapped: state.first.is_some(),
        })
    }

    async fn bootstrap(&self, request: Request<BootstrapRequest>) -> Result<Response<BootstrapResponse>, Status> {
        let BootstrapRequest { header, store, region } = request.into_inner();
        {
            let mut state = self.shared.state.lock();
            state.brought.extend(region.clone());
            if state.breaks_at_bootstrap {
                return Err(Status::invalid_argument("the script breaks here"));
            }
        }
        self.answer("Bootstrap", header, |state, header| {
            let outcome = state.bootstrap(store.unwrap_or_default(), region.unwrap_or_default());
            let refusal = |kind: ErrorType| (kind, "not this time".to_owned());
            let header = outcome.map_or_else(|kind| header_of(state, Some(refusal(kind))), |()| header);
            BootstrapResponse { header }
        })
    }

    async fn put_store(&self, request: Request<PutStoreRequest>) -> Result<Response<PutStoreResponse>, Status> {
        let PutStoreRequest { header, store } = request.into_inner();
        {
            let state = self.shared.state.lock();
            if state.breaks_behind_bootstrap && state.first.is_some() {
                return Err(Status::invalid_argument("the script breaks here"));
            }
        }
        self.answer("PutStore", header, |state, header| {
            if state.first.is_none() {
                let refusal = (ErrorType::NotBootstrapped, "cluster is not bootstrapped".to_owned());
                return PutStoreResponse { header: header_of(state, Some(refusal)) };
            }
            state.put_store(store.unwrap_or_default());
            PutStoreResponse { header }
        })
    }

    async fn get_store(&self, request: Request<GetStoreRequest>) -> Result<Response<GetStoreResponse>, Status> {
        let request = request.into_inner();
        self.answer("GetStore", request.header, |state, header| match state.stores.get(&request.store_id) {
            Some(store) => GetStoreResponse { header, store: Some(store.clone()), stats: None },
            None => {
                let unknown = (ErrorType::Unknown, format!("invalid store ID {}, not found", request.store_id));
                GetStoreResponse { header: header_of(state, Some(unknown)), ..Default::default() }
            }
        })
    }

    async fn get_all_stores(
        &self,
        request: Request<GetAllStoresRequest>,
    ) -> Result<Response<GetAllStoresResponse>, Status> {
        self.answer("GetAllStores", request.into_inner().header, |state, header| GetAllStoresResponse {
            header,
            stores: state.stores.values().cloned().collect(),
        })
    }

    async fn get_cluster_config(
        &self,
        request: Request<GetClusterConfigRequest>,
    ) -> Result<Response<GetClusterConfigResponse>, Status> {
        self.answer("GetClusterConfig", request.into_inner().header, |state, header| GetClusterConfigResponse {
            header,
            cluster: Some(metapb::Cluster { id: state.cluster, max_peer_count: 3 }),
        })
    }

    async fn store_heartbeat(
        &self,
        request: Request<StoreHeartbeatRequest>,
    ) -> Result<Response<StoreHeartbeatResponse>, Status> {
        let StoreHeartbeatRequest { header, stats, .. } = request.into_inner();
        self.answer("StoreHeartbeat", header, |state, header| {
            let stats = stats.unwrap_or_default();
            state.inspect_store(&stats);
            state.stats.push(stats);
            StoreHeartbeatResponse { header, cluster_version: "8.5.6".to_owned(), ..Default::default() }
        })
    }

    async fn get_region(&self, request: Request<GetRegionRequest>) -> Result<Response<GetRegionResponse>, Status> {
        let GetRegionRequest { header, region_key, .. } = request.into_inner();
        self.answer("GetRegion", header, |state, header| region_answer(header, state.region_at(&region_key)))
    }

    async fn get_region_by_id(
        &self,
        request: Request<GetRegionByIdRequest>,
    ) -> Result<Response<GetRegionResponse>, Status> {
        let request = request.into_inner();
        self.answer("GetRegionByID", request.header, |state, header| {
            let found = state.regions.get(&request.region_id);
            region_answer(header, found.and_then(|known| Some((known.region.clone()?, known.leader))))
        })
    }

    async fn ask_split(&self, request: Request<AskSplitRequest>) -> Result<Response<AskSplitResponse>, Status> {
        let header = request.into_inner().header;
        self.answer("AskSplit", header, |state, header| {
            state.complain("the deprecated AskSplit is used");
            AskSplitResponse { header, ..Default::default() }
        })
    }

    async fn ask_batch_split(
        &self,
        request: Request<AskBatchSplitRequest>,
    ) -> Result<Response<AskBatchSplitResponse>, Status> {
        let request = request.into_inner();
        self.answer("AskBatchSplit", request.header.clone(), |state, header| {
            let peers = request.region.as_ref().map_or(0, |region| region.peers.len());
            let mut ids = Vec::new();
            for _ in 0..request.split_count {
                let new_region_id = state.next_id();
                ids.push(SplitId { new_region_id, new_peer_ids: (0..peers).map(|_| state.next_id()).collect() });
            }
            state.asked_splits.push(request);
            AskBatchSplitResponse { header, ids }
        })
    }

    async fn report_batch_split(
        &self,
        request: Request<ReportBatchSplitRequest>,
    ) -> Result<Response<ReportBatchSplitResponse>, Status> {
        let ReportBatchSplitRequest { header, regions } = request.into_inner();
        self.answer("ReportBatchSplit", header, |state, header| {
            state.reported_splits.push(regions);
            ReportBatchSplitResponse { header }
        })
    }

    async fn region_heartbeat(
        &self,
        request: Request<Streaming<RegionHeartbeatRequest>>,
    ) -> Result<Response<BoxStream<RegionHeartbeatResponse>>, Status> {
        let mut heartbeats = request.into_inner();
        let number = {
            let mut state = self.shared.state.lock();
            if state.leader != self.at {
                return Err(Status::unavailable("not leader"));
            }
            state.opened += 1;
            state.opened
        };
        // As the real one: not even the stream's opening is answered before a heartbeat came.
        let first = heartbeats.message().await?.ok_or_else(|| Status::aborted("no heartbeat came"))?;
        let (orders, answers) = mpsc::unbounded_channel();
        let member = self.clone();
        tokio::spawn(async move {
            let mut next = Some(first);
            while let Some(heartbeat) = next {
                if !member.take(heartbeat, number, &orders) {
                    let _ = orders.send(Err(Status::unavailable("not leader")));
                    return;
                }
                next = heartbeats.message().await.ok().flatten();
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(answers))))
    }
}
