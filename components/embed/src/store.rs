//! The store as a program that embeds it sees it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::StoreIdent;
use engine_rocks::{RocksLogEngine, RocksStateEngine};
use observe::{Registry, StoreMetrics};
use proto::log::Operation as KeyOperation;
use runtime::clock::{Clock, MonotonicClock};
use runtime::spawn::ThreadSpawner;
use slog::{info, o};
use snapshot::Directory;
use store::{Engines, RegionView, RunningStore, StopProgress, StoreError, StoreHandle, StoreObserver, Surroundings};
use types::{ColumnFamily, CommandOutput, KeyRange, RegionDescriptor, RegionId, RequestError, Responder, StoreId};

use crate::config::Config;
use crate::error::Error;
use crate::ids::IdAllocator;
use crate::network::Network;
use crate::operation::Operation;
use crate::pulse::{Beat, Timers};
use crate::request::{Pair, RegionRequest, RegionResponse, successor};
use crate::routing::{Place, Routing, Unknown};
use crate::snapshot::Snapshot;

/// Most keys at which one region is cut at once: the store cuts at more, this keeps each step short.
const KEYS_PER_SPLIT: usize = 64;

/// Most pairs that one piece of a scan brings back.
const SCAN_PIECE: usize = 1024;

/// One member of a static cluster. Cheap to share behind an `Arc`; dropping it stops the member as a crash would, which
/// loses nothing that was acknowledged.
///
/// ```
/// use std::sync::Arc;
/// use embed::{Config, LocalNetwork, Store};
/// use types::StoreId;
///
/// # fn main() -> Result<(), embed::Error> {
/// let data = tempfile::tempdir().expect("a directory for three stores");
/// let network = Arc::new(LocalNetwork::new());
/// let members = [1, 2, 3].map(StoreId);
/// let mut stores = Vec::new();
/// for id in members {
///     let config = Config::new(id, data.path().join(id.to_string()), network.clone())
///         .members(members)
///         .split_keys(["g", "p"])
///         .first_start(true);
///     stores.push(Store::open(config)?);
/// }
/// stores[0].put("fruit", "apple").wait()?;
/// assert_eq!(stores[2].get("fruit").wait()?.as_deref(), Some(&b"apple"[..]));
/// # Ok(())
/// # }
/// ```
pub struct Store {
    running: Option<RunningStore>,
    routing: Routing,
    metrics: Registry,
    /// Ends the waits of operations that are still under way when the store is gone.
    _beat: Option<Beat>,
}

/// A store that is open already and that somebody else drives, for [`Store::attach`].
pub struct Attached {
    /// The store.
    pub store: StoreHandle,
    /// How it reaches the other members.
    pub network: Arc<dyn Network>,
    /// What its operations wait by.
    pub timers: Timers,
    /// How long an operation may take, retries included.
    pub timeout: Duration,
    /// What the store counts.
    pub metrics: Registry,
}

/// How an embedded store's scan goes.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions {
    /// Where to look; `default` unless said otherwise.
    pub family: ColumnFamily,
    /// The most pairs to return.
    pub limit: usize,
    /// From the last key to the first.
    pub reverse: bool,
    /// Leave the values out.
    pub key_only: bool,
}

impl Default for ScanOptions {
    /// The first 1,024 pairs, forwards.
    fn default() -> Self {
        Self { family: ColumnFamily::Default, limit: 1024, reverse: false, key_only: false }
    }
}

/// How a compare-and-swap ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// Whether the value was the expected one, and was swapped.
    pub swapped: bool,
    /// The value before.
    pub previous: Option<Bytes>,
}

/// Puts, deletes and delete-ranges that happen together.
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    operations: Vec<KeyOperation>,
}

impl WriteBatch {
    /// A batch without operations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key's value.
    #[must_use]
    pub fn put(mut self, family: ColumnFamily, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.operations.push(apply::build::put(family, key, value));
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn delete(mut self, family: ColumnFamily, key: impl Into<Bytes>) -> Self {
        self.operations.push(apply::build::delete(family, key));
        self
    }

    /// Removes the keys of a range.
    #[must_use]
    pub fn delete_range(mut self, family: ColumnFamily, range: KeyRange) -> Self {
        self.operations.push(apply::build::delete_range(family, range));
        self
    }
}

impl Store {
    /// Opens a member: creates it on the first start of its cluster, and goes on from its data directory later.
    ///
    /// Returns when the member runs; it serves as soon as a majority of the members does.
    ///
    /// # Errors
    /// See [`Error`]: a wrong configuration, a directory that belongs to another member or is in use, damaged data.
    pub fn open(config: Config) -> Result<Self, Error> {
        let regions = ::store::layout::static_regions(&config.members, &config.split_keys).map_err(Error::Config)?;
        if !config.members.contains(&config.store) {
            return Err(Error::Config(format!("store {} is not among the members", config.store)));
        }
        let engines = open_engines(&config)?;
        bring_up(&config, &engines, &regions)?;

        let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
        let metrics = Registry::new();
        let logger = config.logger.new(o!("component" => "store"));
        let around = Surroundings {
            outbox: config.network.outbox(config.store),
            carrier: config.network.carrier(config.store),
            observer: Arc::new(Unobserved),
            clock: Arc::clone(&clock),
            metrics: Arc::new(StoreMetrics::new(&metrics, config.store)),
            logger,
        };
        let mut store_config = config.store_config.clone();
        store_config.region.seed = types::seed::Seed(runtime::clock::entropy_seed());
        let store = ::store::Store::open(store_config, engines, around)?;
        let handle = store.handle();
        let ids = IdAllocator::new(
            handle.downgrade(),
            Arc::clone(&config.network),
            &regions,
            Arc::clone(&clock),
            config.logger.clone(),
        );
        handle.attach_split_ids(Arc::new(ids));
        let running = store.start(&ThreadSpawner)?;
        config.network.join(handle.clone());
        let beat = Beat::start(&ThreadSpawner, config.store, clock)?;
        let routing = Routing { store: handle, network: config.network, pulse: beat.pulse(), timeout: config.timeout };
        Ok(Self { running: Some(running), routing, metrics, _beat: Some(beat) })
    }

    /// The facade over a store that somebody else drives, such as a simulator: the same operations, routing and retries,
    /// and no thread.
    pub fn attach(attached: Attached) -> Self {
        let Attached { store, network, timers, timeout, metrics } = attached;
        let routing = Routing { store, network, pulse: timers.pulse(), timeout };
        Self { running: None, routing, metrics, _beat: None }
    }

    /// Sets a key's value in column family `default`.
    pub fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Operation<()> {
        let key = key.into();
        let operation = apply::build::put(ColumnFamily::Default, key.clone(), value);
        self.write(key, operation)
    }

    /// Removes a key from column family `default`.
    pub fn delete(&self, key: impl Into<Bytes>) -> Operation<()> {
        let key = key.into();
        let operation = apply::build::delete(ColumnFamily::Default, key.clone());
        self.write(key, operation)
    }

    /// The value of a key of column family `default`.
    pub fn get(&self, key: impl Into<Bytes>) -> Operation<Option<Bytes>> {
        self.get_from(ColumnFamily::Default, key)
    }

    /// The value of a key.
    pub fn get_from(&self, family: ColumnFamily, key: impl Into<Bytes>) -> Operation<Option<Bytes>> {
        let (routing, key) = (self.routing.clone(), key.into());
        Operation::new(async move {
            let build = |_: &RegionDescriptor| Ok(RegionRequest::Get { family, key: key.clone() });
            match routing.request(Place::At(&key), routing.deadline(), Unknown::Ask, build).await? {
                (_, RegionResponse::Value(value)) => Ok(value),
                (_, other) => Err(unexpected(&other)),
            }
        })
    }

    /// Applies a batch atomically. All of its keys must lie in one region.
    pub fn batch(&self, batch: WriteBatch) -> Operation<()> {
        let routing = self.routing.clone();
        Operation::new(async move {
            let mut command = apply::build::batch(batch.operations);
            apply::spare_reserved(&mut command);
            let keys = apply::check_command(&command)
                .map_err(|error| Error::Refused(RequestError::Invalid { reason: error.to_string() }))?;
            let build = |region: &RegionDescriptor| {
                check_enclosed(&routing, region, &keys)?;
                Ok(RegionRequest::Write(command.clone()))
            };
            let place = Place::At(&keys.start);
            expect_written(routing.request(place, routing.deadline(), Unknown::Tell, build).await?.1)
        })
    }

    /// Sets a key to `value` (`None`: removes it) if its value is `expected` (`None`: if there is none).
    pub fn compare_and_swap(
        &self,
        key: impl Into<Bytes>,
        expected: Option<Bytes>,
        value: Option<Bytes>,
    ) -> Operation<Swap> {
        let (routing, key) = (self.routing.clone(), key.into());
        Operation::new(async move {
            let command = apply::build::compare_and_swap(ColumnFamily::Default, key.clone(), expected, value);
            let build = |_: &RegionDescriptor| Ok(RegionRequest::Write(command.clone()));
            match routing.request(Place::At(&key), routing.deadline(), Unknown::Tell, build).await? {
                (_, RegionResponse::Written(CommandOutput::Compared { swapped, previous })) => {
                    Ok(Swap { swapped, previous })
                }
                (_, other) => Err(unexpected(&other)),
            }
        })
    }

    /// The pairs of a range in order, region by region: each region's part is linearizable by itself.
    pub fn scan(&self, range: KeyRange, options: ScanOptions) -> Operation<Vec<Pair>> {
        let routing = self.routing.clone();
        Operation::new(async move {
            let (deadline, mut pairs, mut left) = (routing.deadline(), Vec::new(), range);
            while pairs.len() < options.limit && !left.is_empty() {
                let limit = SCAN_PIECE.min(options.limit - pairs.len());
                let ScanOptions { family, reverse, key_only, .. } = options;
                let build = |_: &RegionDescriptor| {
                    Ok(RegionRequest::Scan { family, range: left.clone(), limit, reverse, key_only })
                };
                let place = if reverse { Place::EndOf(&left) } else { Place::At(&left.start) };
                let (region, response) = routing.request(place, deadline, Unknown::Ask, build).await?;
                let RegionResponse::Pairs { pairs: piece, exhausted } = response else {
                    return Err(unexpected(&response));
                };
                match rest(left, &region, piece.last(), exhausted, options.reverse) {
                    Some(rest) => left = rest,
                    None => left = KeyRange::new("\0", "\0"),
                }
                pairs.extend(piece);
            }
            Ok(pairs)
        })
    }

    /// Removes the keys of a range, region by region: each region's part is atomic by itself.
    pub fn delete_range(&self, family: ColumnFamily, range: KeyRange) -> Operation<()> {
        let routing = self.routing.clone();
        Operation::new(async move {
            let (deadline, mut left) = (routing.deadline(), range);
            while !left.is_empty() {
                let build = |region: &RegionDescriptor| {
                    let part = left.intersect(&region.range);
                    let command = apply::build::batch(vec![apply::build::delete_range(family, part)]);
                    Ok(RegionRequest::Write(command))
                };
                let place = Place::At(&left.start);
                let (region, response) = routing.request(place, deadline, Unknown::Tell, build).await?;
                expect_written(response)?;
                if region.range.end.is_empty() {
                    break;
                }
                left.start = region.range.end.clone();
            }
            Ok(())
        })
    }

    /// Cuts regions, so that one begins at each of the keys. Keys at which a region begins already count as done.
    ///
    /// The new regions have the members of those that they are cut off from, and are led where those are led. Other members
    /// see them as soon as they have applied the split. May be repeated when it fails: what was done stays done.
    ///
    /// # Errors
    /// `Refused` with `Invalid` when a key is longer than `types::limits::MAX_KEY_BYTES`, `Undetermined` when the time
    /// was over before the answer came.
    pub fn split<K: Into<Bytes>>(&self, keys: impl IntoIterator<Item = K>) -> Operation<()> {
        let (routing, mut left) = (self.routing.clone(), BTreeSet::from_iter(keys.into_iter().map(Into::into)));
        Operation::new(async move {
            let deadline = routing.deadline();
            // The key space begins at the empty key, and so does a region.
            left.remove(&Bytes::new());
            while let Some(first) = left.first().cloned() {
                let chosen = |region: &RegionDescriptor| -> Vec<Bytes> {
                    let inside = left.iter().filter(|key| region.range.contains(key));
                    inside.take(KEYS_PER_SPLIT).cloned().collect()
                };
                let build = |region: &RegionDescriptor| Ok(RegionRequest::Split { keys: chosen(region) });
                let (region, response) = routing.request(Place::At(&first), deadline, Unknown::Repeat, build).await?;
                let RegionResponse::Split(_) = response else { return Err(unexpected(&response)) };
                for key in chosen(&region) {
                    left.remove(&key);
                }
            }
            Ok(())
        })
    }

    /// A linearizable snapshot of the region that holds a key.
    pub fn snapshot(&self, key: impl Into<Bytes>) -> Operation<Snapshot> {
        let (routing, key) = (self.routing.clone(), key.into());
        Operation::new(async move { Ok(Snapshot(routing.snapshot(&key, routing.deadline()).await?)) })
    }

    /// Makes another member lead a region. Only at the member that leads it.
    pub fn transfer_leader(&self, region: RegionId, to: StoreId) -> Operation<()> {
        let routing = self.routing.clone();
        Operation::new(async move {
            let (sender, receiver) = futures::channel::oneshot::channel();
            let responder = Responder::new(move |result| {
                // Whoever dropped the operation does not want to know.
                let _ = sender.send(result);
            });
            routing.store.transfer_leader(region, to, responder);
            let gone = |_| Error::Undetermined("the store is gone".to_owned());
            receiver.await.map_err(gone)?.map_err(Error::Refused)
        })
    }

    /// Every region, ordered by start key, as this member sees it.
    pub fn regions(&self) -> Vec<RegionView> {
        self.routing.store.regions()
    }

    /// The store behind the facade, for those who build a layer of their own on regions.
    pub fn handle(&self) -> &StoreHandle {
        &self.routing.store
    }

    /// What the store counts.
    pub fn metrics(&self) -> &Registry {
        &self.metrics
    }

    /// Stops the member gracefully: hands its leaders over, executes what is committed, and makes it durable, so that
    /// the next start has nothing to replay. An [attached](Self::attach) store only leaves the network: its driver stops it.
    ///
    /// # Errors
    /// When the last flush fails; nothing that was acknowledged is lost by that.
    pub fn close(mut self, progress: &mut dyn FnMut(StopProgress)) -> Result<(), Error> {
        let result = self.running.take().map_or(Ok(()), |running| running.stop(progress));
        self.routing.network.leave(self.routing.store.ident().store);
        Ok(result?)
    }

    fn write(&self, key: Bytes, operation: KeyOperation) -> Operation<()> {
        let routing = self.routing.clone();
        Operation::new(async move {
            let command = apply::build::batch(vec![operation]);
            let build = |_: &RegionDescriptor| Ok(RegionRequest::Write(command.clone()));
            expect_written(routing.request(Place::At(&key), routing.deadline(), Unknown::Tell, build).await?.1)
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.routing.network.leave(self.routing.store.ident().store);
    }
}

fn open_engines(config: &Config) -> Result<Engines, Error> {
    let path = |name: &str| Path::new(&config.data_dir).join(name);
    let log = RocksLogEngine::open(&path("log"), &config.log_engine, config.logger.clone())?;
    let state = RocksStateEngine::open(&path("state"), &config.state_engine, config.logger.clone())?;
    let files = Directory::open(&path("snapshots")).map_err(StoreError::from)?;
    Ok(Engines { log: Arc::new(log), state: Arc::new(state), files: Arc::new(files) })
}

/// Bootstraps an empty store on the cluster's first start; checks that one which is there is the one that is meant.
fn bring_up(config: &Config, engines: &Engines, regions: &[RegionDescriptor]) -> Result<(), Error> {
    match ::store::bootstrapped(engines)? {
        Some(StoreIdent { cluster, store, .. }) if (cluster, store) == (config.cluster, config.store) => Ok(()),
        Some(found) => {
            let cause = format!(
                "{} belongs to store {} of cluster {}, not to store {} of cluster {}",
                config.data_dir.display(),
                found.store,
                found.cluster,
                config.store,
                config.cluster
            );
            Err(StoreError::Ident { cause }.into())
        }
        None if !config.first_start => Err(Error::NotBootstrapped(config.data_dir.display().to_string())),
        None => {
            let instance = runtime::clock::entropy_seed().into();
            let ident = StoreIdent { cluster: config.cluster, store: config.store, instance };
            ::store::bootstrap(engines, ident, regions)?;
            info!(config.logger, "store bootstrapped"; "store_id" => config.store.0, "regions" => regions.len());
            Ok(())
        }
    }
}

fn check_enclosed(routing: &Routing, region: &RegionDescriptor, keys: &KeyRange) -> Result<(), Error> {
    if region.range.encloses(keys) {
        return Ok(());
    }
    let border = region.range.end.clone();
    let second = routing.store.region_at(&border).map_or(0, |view| view.descriptor.id.0);
    let key = types::range::HexKey(&border).to_string();
    Err(Error::AcrossRegions { first: region.id.0, second, key })
}

/// What is left of a range behind a piece; `None` when nothing is.
fn rest(
    left: KeyRange,
    region: &RegionDescriptor,
    last: Option<&Pair>,
    exhausted: bool,
    reverse: bool,
) -> Option<KeyRange> {
    let rest = match (reverse, exhausted, last) {
        (false, false, Some((key, _))) => KeyRange { start: successor(key), ..left },
        (true, false, Some((key, _))) => KeyRange { end: key.clone(), ..left },
        (false, ..) if region.range.end.is_empty() => return None,
        (false, ..) => KeyRange { start: region.range.end.clone(), ..left },
        (true, ..) if region.range.start.is_empty() => return None,
        (true, ..) => KeyRange { end: region.range.start.clone(), ..left },
    };
    // An empty end means "no upper bound": a reverse scan that has arrived at the first key is over.
    let is_over = rest.is_empty() || (reverse && rest.end.is_empty());
    (!is_over).then_some(rest)
}

fn expect_written(response: RegionResponse) -> Result<(), Error> {
    match response {
        RegionResponse::Written(_) => Ok(()),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(response: &RegionResponse) -> Error {
    Error::Undetermined(format!("the leader's store gave an answer of another kind: {response:?}"))
}

/// Nobody watches an embedded store; it answers for itself.
struct Unobserved;

impl StoreObserver for Unobserved {
    fn region_changed(&self, _: &RegionView) {}

    fn store_failed(&self, _: &StoreError) {}
}
