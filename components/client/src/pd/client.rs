//! The calls.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use proto::coordinator::coordinator_client::CoordinatorClient;
use proto::coordinator::{ConfirmBootstrapRequest, GetLayoutRequest};
use proto::pdpb::pd_client::PdClient as Stub;
use proto::{metapb, pdpb};
use slog::Logger;
use tonic::transport::Channel;
use tonic::{Response, Status};
use types::{ClusterId, InstanceId, KeyRange, Peer, RegionDescriptor, RegionId, StoreId};

use crate::channel::MAX_ANSWER_BYTES;
use crate::pd::answer::{Answer, checked};
use crate::pd::config::PdConfig;
use crate::pd::error::PdError;
use crate::pd::heartbeats::RegionHeartbeats;
use crate::pd::leader::LeaderCaller;

/// A region and who leads it, as the placement driver knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionRoute {
    /// The region.
    pub descriptor: RegionDescriptor,
    /// Its leader as of its last heartbeat.
    pub leader: Option<Peer>,
}

/// A client of the placement driver; cheap to clone. Each call finds the leader by itself and ends by
/// [`PdConfig::request_timeout`].
#[derive(Clone)]
pub struct PdClient {
    caller: Arc<LeaderCaller>,
}

impl PdClient {
    /// Connects to the leader.
    ///
    /// # Errors
    /// [`PdError::Unreachable`] when no leader is found within the request timeout.
    pub async fn connect(config: PdConfig, logger: Logger) -> Result<Self, PdError> {
        Ok(Self { caller: Arc::new(LeaderCaller::connect(config, logger).await?) })
    }

    /// The cluster that the placement driver is of.
    pub fn cluster_id(&self) -> ClusterId {
        self.caller.cluster_id().into()
    }

    /// The placement driver's members.
    pub async fn get_members(&self) -> Result<pdpb::GetMembersResponse, PdError> {
        self.call("GetMembers", |mut pd, header| async move {
            pd.get_members(pdpb::GetMembersRequest { header: Some(header) }).await
        })
        .await
    }

    /// Takes ids that nothing else has: stores, regions and peers share one space.
    pub async fn alloc_ids(&self, count: u32) -> Result<RangeInclusive<u64>, PdError> {
        const CALL: &str = "AllocID";
        let answer = self
            .call(CALL, |mut pd, header| async move {
                pd.alloc_id(pdpb::AllocIdRequest { header: Some(header), count }).await
            })
            .await?;
        // A placement driver that does not know about batches gives one and leaves the count out.
        let given = answer.count.max(1);
        let first = (answer.id + 1).checked_sub(u64::from(given));
        match first {
            Some(first) if given == count && first > 0 => Ok(first..=answer.id),
            _ => {
                let problem = format!("{count} ids were asked for, {given} up to {} came", answer.id);
                Err(PdError::Answer { call: CALL, problem })
            }
        }
    }

    /// Takes one id.
    pub async fn alloc_id(&self) -> Result<u64, PdError> {
        Ok(*self.alloc_ids(1).await?.end())
    }

    /// Whether the cluster has its first region.
    pub async fn is_bootstrapped(&self) -> Result<bool, PdError> {
        let answer = self
            .call("IsBootstrapped", |mut pd, header| async move {
                pd.is_bootstrapped(pdpb::IsBootstrappedRequest { header: Some(header) }).await
            })
            .await?;
        Ok(answer.bootstrapped)
    }

    /// Gives the cluster its first store and region.
    ///
    /// # Errors
    /// [`PdError::Refused`] with `ALREADY_BOOTSTRAPPED` when another store was faster.
    pub async fn bootstrap(&self, store: &metapb::Store, region: &RegionDescriptor) -> Result<(), PdError> {
        self.call("Bootstrap", |mut pd, header| async move {
            let (store, region) = (Some(store.clone()), Some(region.into()));
            pd.bootstrap(pdpb::BootstrapRequest { header: Some(header), store, region }).await
        })
        .await?;
        Ok(())
    }

    /// Registers a store, or changes what is known of it.
    pub async fn put_store(&self, store: &metapb::Store) -> Result<(), PdError> {
        self.call("PutStore", |mut pd, header| async move {
            pd.put_store(pdpb::PutStoreRequest { header: Some(header), store: Some(store.clone()) }).await
        })
        .await?;
        Ok(())
    }

    /// A store.
    ///
    /// # Errors
    /// [`PdError::Refused`] when there is none with this id.
    pub async fn get_store(&self, store: StoreId) -> Result<metapb::Store, PdError> {
        const CALL: &str = "GetStore";
        let answer = self
            .call(CALL, |mut pd, header| async move {
                pd.get_store(pdpb::GetStoreRequest { header: Some(header), store_id: store.0 }).await
            })
            .await?;
        answer.store.ok_or_else(|| PdError::Answer { call: CALL, problem: "it has no store".to_owned() })
    }

    /// All stores that are not tombstones.
    pub async fn get_all_stores(&self) -> Result<Vec<metapb::Store>, PdError> {
        let answer = self
            .call("GetAllStores", |mut pd, header| async move {
                let request = pdpb::GetAllStoresRequest { header: Some(header), exclude_tombstone_stores: true };
                pd.get_all_stores(request).await
            })
            .await?;
        Ok(answer.stores)
    }

    /// Reports how a store is doing.
    pub async fn store_heartbeat(&self, stats: &pdpb::StoreStats) -> Result<pdpb::StoreHeartbeatResponse, PdError> {
        self.call("StoreHeartbeat", |mut pd, header| async move {
            pd.store_heartbeat(pdpb::StoreHeartbeatRequest { header: Some(header), stats: Some(stats.clone()) }).await
        })
        .await
    }

    /// The region that holds a key; `None` while none is known.
    pub async fn get_region(&self, key: &Bytes) -> Result<Option<RegionRoute>, PdError> {
        const CALL: &str = "GetRegion";
        let answer = self.call(CALL, |mut pd, header| async move { pd.get_region(by_key(header, key)).await }).await?;
        route(CALL, answer.region, answer.leader)
    }

    /// The region before the one that holds a key; `None` while none is known.
    pub async fn get_prev_region(&self, key: &Bytes) -> Result<Option<RegionRoute>, PdError> {
        const CALL: &str = "GetPrevRegion";
        let answer =
            self.call(CALL, |mut pd, header| async move { pd.get_prev_region(by_key(header, key)).await }).await?;
        route(CALL, answer.region, answer.leader)
    }

    /// A region by its id; `None` while it is not known.
    pub async fn get_region_by_id(&self, region: RegionId) -> Result<Option<RegionRoute>, PdError> {
        const CALL: &str = "GetRegionByID";
        let answer = self
            .call(CALL, |mut pd, header| async move {
                let request =
                    pdpb::GetRegionByIdRequest { header: Some(header), region_id: region.0, need_buckets: false };
                pd.get_region_by_id(request).await
            })
            .await?;
        route(CALL, answer.region, answer.leader)
    }

    /// Regions that hold a range, in the order of their keys; at most `limit` of them.
    pub async fn scan_regions(&self, range: &KeyRange, limit: u32) -> Result<Vec<RegionRoute>, PdError> {
        const CALL: &str = "ScanRegions";
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let answer = self
            .call(CALL, |mut pd, header| async move {
                let (start_key, end_key) = (range.start.clone(), range.end.clone());
                pd.scan_regions(pdpb::ScanRegionsRequest { header: Some(header), start_key, limit, end_key }).await
            })
            .await?;
        let routes = answer.regions.into_iter().map(|region| route(CALL, region.region, region.leader));
        Ok(routes.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// Opens a stream of region heartbeats that stays open until it is dropped. Must be called on a tokio runtime.
    pub fn region_heartbeats(&self) -> RegionHeartbeats {
        RegionHeartbeats::open(Arc::clone(&self.caller))
    }

    /// The regions that a fresh store is born with, or `None` while there are not enough stores to place them: ask
    /// again. Only our own coordinator knows this call.
    pub async fn get_layout(
        &self,
        store: StoreId,
        instance: InstanceId,
    ) -> Result<Option<Vec<RegionDescriptor>>, PdError> {
        const CALL: &str = "GetLayout";
        let cluster_id = self.caller.cluster_id();
        let request = GetLayoutRequest { cluster_id, store_id: store.0, instance: instance.0 };
        let answer = self
            .caller
            .call(CALL, |channel| async move {
                let mut coordinator = CoordinatorClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
                coordinator.get_layout(request).await
            })
            .await?;
        if !answer.ready {
            return Ok(None);
        }
        let regions = answer.regions.into_iter().map(|region| descriptor(CALL, region));
        Ok(Some(regions.collect::<Result<_, _>>()?))
    }

    /// Says that the regions of the layout are durable on the store. Only our own coordinator knows this call.
    pub async fn confirm_bootstrap(&self, store: StoreId, instance: InstanceId) -> Result<(), PdError> {
        let cluster_id = self.caller.cluster_id();
        let request = ConfirmBootstrapRequest { cluster_id, store_id: store.0, instance: instance.0 };
        self.caller
            .call("ConfirmBootstrap", |channel| async move {
                CoordinatorClient::new(channel).confirm_bootstrap(request).await
            })
            .await?;
        Ok(())
    }

    pub(super) async fn call<R, F, Fut>(&self, call: &'static str, send: F) -> Result<R, PdError>
    where
        R: Answer,
        F: Fn(Stub<Channel>, pdpb::RequestHeader) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let header = pdpb::RequestHeader { cluster_id: self.caller.cluster_id(), ..Default::default() };
        let send = |channel| send(Stub::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES), header.clone());
        checked(call, self.caller.call(call, send).await?)
    }
}

fn by_key(header: pdpb::RequestHeader, key: &Bytes) -> pdpb::GetRegionRequest {
    pdpb::GetRegionRequest { header: Some(header), region_key: key.clone(), need_buckets: false }
}

fn descriptor(call: &'static str, region: metapb::Region) -> Result<RegionDescriptor, PdError> {
    region.try_into().map_err(|error| PdError::Answer { call, problem: format!("{error}") })
}

fn route(
    call: &'static str,
    region: Option<metapb::Region>,
    leader: Option<metapb::Peer>,
) -> Result<Option<RegionRoute>, PdError> {
    let Some(region) = region else {
        return Ok(None);
    };
    let descriptor = descriptor(call, region)?;
    // A leader that is not known comes as an absent peer or as one without an id.
    let leader = leader.and_then(|peer| Peer::try_from(peer).ok()).filter(|peer| peer.id.0 != 0);
    Ok(Some(RegionRoute { descriptor, leader }))
}
