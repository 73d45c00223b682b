//! Clients that each talk to one store, and ask it about every region, whether it leads or not.
//!
//! Other clients follow the leader that they know of. These meet a leader that has been replaced and does not know it at
//! the same time as the new one, which is when stale reads happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::RegionRoute;
use proto::kvrpcpb::{Context, RawGetRequest, RawPutRequest};
use proto::metapb;
use proto::tikvpb::tikv_client::TikvClient;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use types::seed::Rng;
use types::{RegionDescriptor, StoreId};

use crate::history::{History, Operations};
use crate::support::Cluster;

/// Probes of each store.
const PER_STORE: u64 = 6;
/// Long enough to be answered by a store that was paused for a moment.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1500);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A probe whose request was refused does not flood the store with further ones.
const PAUSE: Duration = Duration::from_millis(2);

/// Probes at work. End them by [`finish`](Self::finish).
pub struct Probes {
    running: JoinSet<()>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    history: History,
    is_over: AtomicBool,
    answered: AtomicU64,
}

impl Probes {
    /// Starts probes of every store of a cluster that serves.
    pub async fn start(cluster: &Cluster) -> Self {
        let shared = Arc::new(Shared::default());
        let mut running = JoinSet::new();
        let pd = cluster.pd().await;
        let regions: Vec<_> =
            cluster.routes().await.into_iter().map(|RegionRoute { descriptor, .. }| descriptor).collect();
        let stores = pd.get_all_stores().await.unwrap();
        for (number, store) in (0..PER_STORE).flat_map(|_| &stores).enumerate() {
            let endpoint = Endpoint::from_shared(format!("http://{}", store.address)).unwrap();
            let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(ANSWER_TIMEOUT).connect_lazy();
            let probe = Probe {
                number: number as u64,
                stub: TikvClient::new(channel),
                targets: regions.iter().map(|region| Target::new(region, StoreId(store.id))).collect(),
                rng: Rng::new(number as u64),
                shared: Arc::clone(&shared),
            };
            running.spawn(probe.work());
        }
        Self { running, shared }
    }

    /// Ends the probes. Returns what they saw, and how many requests were answered.
    pub async fn finish(mut self) -> (Operations, u64) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.running.join_next().await {
            ended.expect("a probe does not panic");
        }
        let shared = Arc::into_inner(self.shared).expect("the probes have ended");
        (shared.history.into_operations(), shared.answered.into_inner())
    }
}

/// A region's register, and how one store is asked about it.
struct Target {
    key: String,
    context: Context,
}

impl Target {
    fn new(region: &RegionDescriptor, store: StoreId) -> Self {
        let peer = region.peer_on(store).expect("every store has a peer of every region");
        let context = Context {
            region_id: region.id.0,
            region_epoch: Some(region.epoch.into()),
            peer: Some(metapb::Peer { id: peer.id.0, store_id: store.0, ..metapb::Peer::default() }),
            ..Context::default()
        };
        let start = String::from_utf8(region.range.start.to_vec()).expect("the shape's split keys are text");
        Self { key: format!("{start}-probed"), context }
    }
}

struct Probe {
    number: u64,
    stub: TikvClient<Channel>,
    targets: Vec<Target>,
    rng: Rng,
    shared: Arc<Shared>,
}

impl Probe {
    async fn work(mut self) {
        for number in 0_u64.. {
            if self.shared.is_over.load(Ordering::Relaxed) {
                return;
            }
            let target = (number % self.targets.len() as u64) as usize;
            let served = if self.rng.one_in(3) { self.put(target, number).await } else { self.get(target).await };
            match served {
                Ok(true) => drop(self.shared.answered.fetch_add(1, Ordering::Relaxed)),
                Ok(false) | Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// False when the store refuses.
    async fn get(&mut self, target: usize) -> Result<bool, Status> {
        let Target { key, context } = &self.targets[target];
        let request = RawGetRequest { context: Some(context.clone()), key: key.clone().into(), ..Default::default() };
        let begin = self.shared.history.begin();
        let answer = self.stub.raw_get(request).await?.into_inner();
        if answer.region_error.is_some() || !answer.error.is_empty() {
            return Ok(false);
        }
        let value = (!answer.not_found).then(|| String::from_utf8_lossy(&answer.value).into_owned());
        self.shared.history.read(begin, [(key.clone(), value)]);
        Ok(true)
    }

    async fn put(&mut self, target: usize, number: u64) -> Result<bool, Status> {
        let Target { key, context } = &self.targets[target];
        let value = format!("{}.{number}", self.number);
        let (context, key) = (Some(context.clone()), key.clone());
        let request =
            RawPutRequest { context, key: key.clone().into(), value: value.clone().into(), ..Default::default() };
        let begin = self.shared.history.begin();
        let result = self.stub.raw_put(request).await;
        let answer = result.as_ref().ok().map(|answer| answer.get_ref());
        if answer.and_then(|answer| answer.region_error.as_ref()).is_some_and(|error| error.not_leader.is_some()) {
            // It said so before it proposed anything.
            return Ok(false);
        }
        let is_done = answer.is_some_and(|answer| answer.region_error.is_none() && answer.error.is_empty());
        self.shared.history.wrote(begin, [(key, value)], is_done);
        result.map(|_| is_done)
    }
}
