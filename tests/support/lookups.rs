//! Asks where keys lie in the ways of the newest clients, `BatchScanRegions` and `QueryRegion`, over and over while regions split
//! and move. No client that these tests run uses them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use client::{PdClient, PdConfig};
use futures::stream;
use proto::metapb;
use proto::pdpb::pd_client::PdClient as PdStub;
use proto::pdpb::{BatchScanRegionsRequest, KeyRange, QueryRegionRequest, QueryRegionResponse, RequestHeader};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use types::seed::Rng;

/// Keys that are asked for together.
const KEYS_PER_QUESTION: u64 = 4;

/// A task that asks until it is finished.
pub struct Lookups {
    task: JoinHandle<()>,
    is_over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
}

impl Lookups {
    /// Starts a task that asks the placement driver at an address.
    pub async fn start(address: &str, seed: u64) -> Self {
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let pd = PdClient::connect(PdConfig::new([address]), logger).await.expect("the coordinator serves");
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let stub = PdStub::new(endpoint.connect().await.expect("the coordinator serves"));
        let header = RequestHeader { cluster_id: pd.cluster_id().0, ..RequestHeader::default() };
        let mut asker = Asker { stub, header, rng: Rng::new(seed) };
        let (is_over, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (over, counted) = (Arc::clone(&is_over), Arc::clone(&answers));
        let task = tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                asker.scan().await;
                asker.query().await;
                counted.fetch_add(2, Ordering::Relaxed);
            }
        });
        Self { task, is_over, answers }
    }

    /// Ends the task. How many answers it had.
    ///
    /// # Panics
    /// When one of them was wrong.
    pub async fn finish(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        self.answers.load(Ordering::Relaxed)
    }
}

struct Asker {
    stub: PdStub<Channel>,
    header: RequestHeader,
    rng: Rng,
}

impl Asker {
    fn key(&mut self) -> Bytes {
        let length = self.rng.below(4);
        (0..length).map(|_| b'a' + self.rng.below(26) as u8).collect()
    }

    fn keys(&mut self) -> Vec<Bytes> {
        let mut keys: Vec<_> = (0..KEYS_PER_QUESTION).map(|_| self.key()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// All of the regions of some ranges with gaps between them are wanted: each once, in order, and every key in one.
    async fn scan(&mut self) {
        let keys = self.keys();
        let ranges = keys.chunks_exact(2).map(|pair| KeyRange { start_key: pair[0].clone(), end_key: pair[1].clone() });
        let ranges: Vec<_> = ranges.collect();
        if ranges.is_empty() {
            return;
        }
        let request = BatchScanRegionsRequest {
            header: Some(self.header.clone()),
            ranges: ranges.clone(),
            contain_all_key_range: true,
            ..Default::default()
        };
        let answer = self.stub.batch_scan_regions(request).await.expect("the coordinator serves").into_inner();
        let error = answer.header.unwrap_or_default().error;
        assert!(error.is_none(), "{error:?} for {ranges:?}");
        let regions: Vec<_> = answer.regions.into_iter().filter_map(|region| region.region).collect();
        for pair in regions.windows(2) {
            let is_apart = !pair[0].end_key.is_empty() && pair[0].end_key <= pair[1].start_key;
            assert!(is_apart, "{:?} before {:?}", pair[0], pair[1]);
        }
        for range in &ranges {
            let mut covered = Some(range.start_key.clone());
            for region in &regions {
                if covered.as_ref().is_some_and(|covered| holds(region, covered)) {
                    covered = Some(region.end_key.clone()).filter(|end| !end.is_empty());
                }
            }
            let is_covered = covered.as_ref().is_none_or(|covered| *covered >= range.end_key);
            assert!(is_covered, "{range:?} is covered up to {covered:?} by {regions:?}");
        }
    }

    /// Regions by key and by the key behind them in one question.
    async fn query(&mut self) {
        let keys = self.keys();
        let request = QueryRegionRequest {
            header: Some(self.header.clone()),
            keys: keys.clone(),
            prev_keys: keys.clone(),
            ..Default::default()
        };
        let answer = self.ask(request).await;
        assert_eq!([answer.key_id_map.len(), answer.prev_key_id_map.len()], [keys.len(); 2]);
        let ids = answer.regions_by_id.keys().copied().collect();
        let again = self.ask(QueryRegionRequest { header: Some(self.header.clone()), ids, ..Default::default() }).await;
        // While a split is reported, the parent may answer for what it has lost already, as it was. That is no region that
        // others could lie beside.
        let is_current = |region: &&metapb::Region| found(&again, region.id) == Some(*region);
        for (at, key) in keys.iter().enumerate() {
            let region = found(&answer, answer.key_id_map[at]);
            let region = region.unwrap_or_else(|| panic!("no region holds {key:?}: {answer:?}"));
            assert!(holds(region, key), "{region:?} does not hold {key:?}");
            match found(&answer, answer.prev_key_id_map[at]) {
                None => assert!(region.start_key.is_empty(), "no region is before {region:?}"),
                Some(previous) if is_current(&previous) && is_current(&region) => {
                    assert_eq!(previous.end_key, region.start_key, "{previous:?} is before {region:?}");
                }
                Some(_) => {}
            }
        }
    }

    async fn ask(&mut self, request: QueryRegionRequest) -> QueryRegionResponse {
        let answers = self.stub.query_region(stream::iter([request])).await.expect("the coordinator serves");
        let mut answers = answers.into_inner();
        let answer = answers.message().await.expect("the coordinator serves").expect("one answer");
        let end = answers.message().await.expect("the coordinator serves");
        assert!(end.is_none(), "one question had two answers: {answer:?} and {end:?}");
        let error = answer.header.as_ref().and_then(|header| header.error.as_ref());
        assert!(error.is_none(), "{error:?}");
        answer
    }
}

fn found(answer: &QueryRegionResponse, region: u64) -> Option<&metapb::Region> {
    answer.regions_by_id.get(&region)?.region.as_ref()
}

fn holds(region: &metapb::Region, key: &Bytes) -> bool {
    region.start_key <= *key && (region.end_key.is_empty() || *key < region.end_key)
}
