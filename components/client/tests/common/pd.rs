//! A placement driver that knows what the shared state says.

use std::sync::Arc;

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use proto::coordinator::coordinator_server::Coordinator;
use proto::coordinator::{ConfirmBootstrapRequest, ConfirmBootstrapResponse, GetLayoutRequest, GetLayoutResponse};
use proto::pdpb::pd_server::Pd;
use proto::pdpb::{self, RegionHeartbeatRequest, RegionHeartbeatResponse, ResponseHeader};
use proto::{metapb, pdpb::ErrorType};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::{CLUSTER, Region, Shared};

/// What a placement driver does beside answering from the state.
#[derive(Clone, Default)]
pub struct FakePd {
    state: Shared,
    pub own: Arc<Mutex<Own>>,
}

/// One member's own state.
#[derive(Default)]
pub struct Own {
    /// The URL of the leader; absent while there is none.
    pub leader_url: Option<String>,
    /// Answers of other calls than GetMembers: not the leader.
    pub is_follower: bool,
    /// The cluster that it claims to be of; [`CLUSTER`] when zero.
    pub cluster_id: u64,
    pub last_id: u64,
    /// Whether it knows about allocating ids in batches.
    pub allocates_batches: bool,
    pub heartbeats: Vec<RegionHeartbeatRequest>,
    /// Ends the open streams of heartbeats when dropped.
    pub streams: Vec<mpsc::Sender<Result<RegionHeartbeatResponse, Status>>>,
    pub layout: Option<Vec<metapb::Region>>,
    pub confirmed: Vec<ConfirmBootstrapRequest>,
    /// What was said to be split.
    pub reported_splits: Vec<Vec<u64>>,
    /// Peer ids that it leaves out of what it gives for splits.
    pub withholds_peers: usize,
    pub calls: usize,
    /// How often it was asked who leads.
    pub searches: usize,
}

impl FakePd {
    pub fn new(state: Shared) -> Self {
        Self { state, own: Arc::default() }
    }

    fn header(&self, error: Option<pdpb::Error>) -> Option<ResponseHeader> {
        let own = self.own.lock().cluster_id;
        Some(ResponseHeader { cluster_id: if own == 0 { CLUSTER } else { own }, error })
    }

    /// Lets a call pass whose header is right.
    fn check(&self, header: Option<pdpb::RequestHeader>) -> Result<(), Status> {
        self.own.lock().calls += 1;
        if self.own.lock().is_follower {
            return Err(Status::unavailable("not leader"));
        }
        match header {
            Some(header) if header.cluster_id == CLUSTER => Ok(()),
            _ => Err(Status::failed_precondition("mismatch cluster id")),
        }
    }

    fn answer(&self, region: Option<Region>) -> Response<pdpb::GetRegionResponse> {
        Response::new(pdpb::GetRegionResponse {
            header: self.header(None),
            region: region.as_ref().map(|region| (&region.descriptor).into()),
            leader: region.map(|region| region.leader.into()),
            ..Default::default()
        })
    }
}

#[tonic::async_trait]
impl Pd for FakePd {
    async fn get_members(
        &self,
        _request: Request<pdpb::GetMembersRequest>,
    ) -> Result<Response<pdpb::GetMembersResponse>, Status> {
        self.own.lock().searches += 1;
        let url = self.own.lock().leader_url.clone();
        let leader = pdpb::Member { member_id: 1, client_urls: url.into_iter().collect(), ..Default::default() };
        let (header, members) = (self.header(None), vec![leader.clone()]);
        Ok(Response::new(pdpb::GetMembersResponse { header, members, leader: Some(leader), ..Default::default() }))
    }

    async fn alloc_id(
        &self,
        request: Request<pdpb::AllocIdRequest>,
    ) -> Result<Response<pdpb::AllocIdResponse>, Status> {
        let request = request.into_inner();
        self.check(request.header)?;
        let header = self.header(None);
        let mut own = self.own.lock();
        let count = if own.allocates_batches { request.count } else { 1 };
        own.last_id += u64::from(count);
        let answer =
            pdpb::AllocIdResponse { header, id: own.last_id, count: if own.allocates_batches { count } else { 0 } };
        Ok(Response::new(answer))
    }

    async fn is_bootstrapped(
        &self,
        request: Request<pdpb::IsBootstrappedRequest>,
    ) -> Result<Response<pdpb::IsBootstrappedResponse>, Status> {
        self.check(request.into_inner().header)?;
        Ok(Response::new(pdpb::IsBootstrappedResponse { header: self.header(None), bootstrapped: true }))
    }

    async fn bootstrap(
        &self,
        request: Request<pdpb::BootstrapRequest>,
    ) -> Result<Response<pdpb::BootstrapResponse>, Status> {
        self.check(request.into_inner().header)?;
        let error = pdpb::Error { r#type: ErrorType::AlreadyBootstrapped.into(), message: "it is".to_owned() };
        Ok(Response::new(pdpb::BootstrapResponse { header: self.header(Some(error)) }))
    }

    async fn put_store(
        &self,
        request: Request<pdpb::PutStoreRequest>,
    ) -> Result<Response<pdpb::PutStoreResponse>, Status> {
        let request = request.into_inner();
        self.check(request.header)?;
        let store = request.store.unwrap();
        self.state.lock().addresses.insert(store.id.into(), store.address);
        Ok(Response::new(pdpb::PutStoreResponse { header: self.header(None) }))
    }

    async fn get_store(
        &self,
        request: Request<pdpb::GetStoreRequest>,
    ) -> Result<Response<pdpb::GetStoreResponse>, Status> {
        let request = request.into_inner();
        self.check(request.header)?;
        let address = self.state.lock().addresses.get(&request.store_id.into()).cloned();
        let unknown = || pdpb::Error { r#type: ErrorType::Unknown.into(), message: "no such store".to_owned() };
        let header = self.header(address.is_none().then(unknown));
        let store = address.map(|address| metapb::Store { id: request.store_id, address, ..Default::default() });
        Ok(Response::new(pdpb::GetStoreResponse { header, store, stats: None }))
    }

    async fn get_all_stores(
        &self,
        request: Request<pdpb::GetAllStoresRequest>,
    ) -> Result<Response<pdpb::GetAllStoresResponse>, Status> {
        self.check(request.into_inner().header)?;
        let stores = self.state.lock().addresses.clone();
        let stores = stores.into_iter().map(|(id, address)| metapb::Store { id: id.0, address, ..Default::default() });
        Ok(Response::new(pdpb::GetAllStoresResponse { header: self.header(None), stores: stores.collect() }))
    }

    async fn store_heartbeat(
        &self,
        request: Request<pdpb::StoreHeartbeatRequest>,
    ) -> Result<Response<pdpb::StoreHeartbeatResponse>, Status> {
        self.check(request.into_inner().header)?;
        Ok(Response::new(pdpb::StoreHeartbeatResponse { header: self.header(None), ..Default::default() }))
    }

    async fn get_region(
        &self,
        request: Request<pdpb::GetRegionRequest>,
    ) -> Result<Response<pdpb::GetRegionResponse>, Status> {
        let request = request.into_inner();
        self.check(request.header)?;
        let mut state = self.state.lock();
        state.lookups += 1;
        let region = state.pd_regions.iter().find(|region| region.descriptor.range.contains(&request.region_key));
        Ok(self.answer(region.cloned()))
    }

    async fn get_prev_region(
        &self,
        request: Request<pdpb::GetRegionRequest>,
    ) -> Result<Response<pdpb::GetRegionResponse>, Status> {
        let request = request.into_inner();
        self.check(request.header)?;
        let mut state = self.state.lock();
        state.lookups += 1;
        let after = state.pd_regions.iter().position(|region| region.descriptor.range.contains(&request.region_key));
        let region = after.and_then(|after| state.pd_regions.get(after.checked_sub(1)?));
        Ok(self.answer(region.cloned()))
    }

    async fn get_region_by_id(
        &self,
        request: Request<pdpb::GetRegionByIdRequest>,
    ) -> Result<Response<pdpb::GetRegionResponse>, Status> {
        let request = request.into_inner();
        self.check(request.header)?;
        let state = self.state.lock();
        let region = state.pd_regions.iter().find(|region| region.descriptor.id.0 == request.region_id);
        Ok(self.answer(region.cloned()))
    }

    async fn scan_regions(
        &self,
        request: Request<pdpb::ScanRegionsRequest>,
    ) -> Result<Response<pdpb::ScanRegionsResponse>, Status> {
        let request = request.into_inner();
        self.check(request.header)?;
        let range = types::KeyRange { start: request.start_key, end: request.end_key };
        let state = self.state.lock();
        let regions = state.pd_regions.iter().filter(|region| region.descriptor.range.overlaps(&range));
        let regions = regions.take(request.limit as usize).map(|region| pdpb::Region {
            region: Some((&region.descriptor).into()),
            // Nobody leads the first one.
            leader: Some(if region.descriptor.id.0 == 1 { Default::default() } else { region.leader.into() }),
            ..Default::default()
        });
        let regions = regions.collect();
        Ok(Response::new(pdpb::ScanRegionsResponse { header: self.header(None), regions, ..Default::default() }))
    }

    async fn ask_batch_split(
        &self,
        request: Request<pdpb::AskBatchSplitRequest>,
    ) -> Result<Response<pdpb::AskBatchSplitResponse>, Status> {
        let request = request.into_inner();
        self.check(request.header)?;
        let header = self.header(None);
        let mut own = self.own.lock();
        let peers = request.region.unwrap().peers.len() - own.withholds_peers;
        let mut next = || {
            own.last_id += 1;
            own.last_id
        };
        let ids = (0..request.split_count)
            .map(|_| pdpb::SplitId { new_region_id: next(), new_peer_ids: (0..peers).map(|_| next()).collect() });
        Ok(Response::new(pdpb::AskBatchSplitResponse { header, ids: ids.collect() }))
    }

    async fn report_batch_split(
        &self,
        request: Request<pdpb::ReportBatchSplitRequest>,
    ) -> Result<Response<pdpb::ReportBatchSplitResponse>, Status> {
        let request = request.into_inner();
        self.check(request.header)?;
        self.own.lock().reported_splits.push(request.regions.iter().map(|region| region.id).collect());
        Ok(Response::new(pdpb::ReportBatchSplitResponse { header: self.header(None) }))
    }

    async fn region_heartbeat(
        &self,
        request: Request<Streaming<RegionHeartbeatRequest>>,
    ) -> Result<Response<BoxStream<RegionHeartbeatResponse>>, Status> {
        let mut heartbeats = request.into_inner();
        // As the real one: not even the stream's opening is answered before a heartbeat came.
        let first = heartbeats.message().await?.ok_or_else(|| Status::aborted("no heartbeat came"))?;
        let (orders, answers) = mpsc::channel(16);
        self.own.lock().streams.push(orders);
        let (own, header) = (Arc::clone(&self.own), self.header(None));
        let heartbeats = stream::once(async { Ok(first) }).chain(heartbeats).filter_map(move |heartbeat| {
            let (own, header) = (Arc::clone(&own), header.clone());
            async move {
                let heartbeat: RegionHeartbeatRequest = heartbeat.ok()?;
                let region_id = heartbeat.region.as_ref().map_or(0, |region| region.id);
                own.lock().heartbeats.push(heartbeat);
                Some(Ok(RegionHeartbeatResponse { header, region_id, ..Default::default() }))
            }
        });
        let answers = ReceiverStream::new(answers);
        // The stream ends with the first of the two.
        let both = stream::select(heartbeats.map(Some), answers.map(Some).chain(stream::iter([None])));
        Ok(Response::new(Box::pin(
            both.take_while(|next| std::future::ready(next.is_some())).filter_map(std::future::ready),
        )))
    }
}

#[tonic::async_trait]
impl Coordinator for FakePd {
    async fn get_layout(&self, request: Request<GetLayoutRequest>) -> Result<Response<GetLayoutResponse>, Status> {
        let request = request.into_inner();
        if request.cluster_id != CLUSTER || request.instance != 9 {
            return Err(Status::permission_denied("another instance"));
        }
        let layout = self.own.lock().layout.clone();
        let ready = layout.is_some();
        Ok(Response::new(GetLayoutResponse { ready, regions: layout.unwrap_or_default() }))
    }

    async fn confirm_bootstrap(
        &self,
        request: Request<ConfirmBootstrapRequest>,
    ) -> Result<Response<ConfirmBootstrapResponse>, Status> {
        self.own.lock().confirmed.push(request.into_inner());
        Ok(Response::new(ConfirmBootstrapResponse {}))
    }
}
