//! Three stores in one process whose regions are probed: every probe writes one key, one write at a time, as fast as it is
//! answered, and notes when.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use embed::{Config, LocalNetwork, Store};
use parking_lot::{Mutex, RwLock};
use region::Role;
use runtime::spawn::{Joinable, Spawner, ThreadSpawner};
use store::{RegionView, StoreHandle};
use types::{ColumnFamily, NewRegion, PeerId, RegionId, RequestHeader, Responder, SplitPlan, StoreId, WriteResult};

use crate::harness::sample::REPLICAS;
use crate::harness::wait;

/// How long a probe waits before it looks for a leader again.
const LOOK: Duration = Duration::from_micros(300);
/// Longest that anything here may take; only a hang meets it.
const LIMIT: Duration = Duration::from_secs(60);

type Handles = Arc<RwLock<Vec<Option<StoreHandle>>>>;

/// Stores that can be killed one by one.
pub struct Probed {
    directory: PathBuf,
    network: Arc<LocalNetwork>,
    split_keys: Vec<Bytes>,
    stores: Vec<Option<Store>>,
    handles: Handles,
    next_id: u64,
}

impl Probed {
    /// Opens fresh stores; every region has a leader when this returns.
    ///
    /// # Errors
    /// When a store cannot be opened, or leaders do not come about.
    pub fn open(directory: PathBuf, split_keys: Vec<Bytes>) -> Result<Self, String> {
        let mut probed = Self {
            directory,
            network: Arc::new(LocalNetwork::new()),
            split_keys,
            stores: (0..REPLICAS).map(|_| None).collect(),
            handles: Arc::new(RwLock::new(vec![None; REPLICAS])),
            // Above every id of the static layout.
            next_id: 1 << 40,
        };
        (0..REPLICAS).try_for_each(|at| probed.start(at))?;
        probed.wait_for_leaders()?;
        Ok(probed)
    }

    /// Opens a store of the cluster.
    ///
    /// # Errors
    /// Its own.
    pub fn start(&mut self, at: usize) -> Result<(), String> {
        let store = StoreId(at as u64 + 1);
        let config = Config::new(store, self.directory.join(format!("store-{store}")), self.network.clone())
            .members((1..=REPLICAS as u64).map(StoreId))
            .split_keys(self.split_keys.clone())
            .first_start(true);
        let store = Store::open(config).map_err(|error| error.to_string())?;
        self.handles.write()[at] = Some(store.handle().clone());
        self.stores[at] = Some(store);
        Ok(())
    }

    /// Ends a store as a crash would.
    pub fn kill(&mut self, at: usize) {
        self.handles.write()[at] = None;
        self.stores[at] = None;
    }

    /// Waits until every region that any store knows has a leader.
    ///
    /// # Errors
    /// When that does not come about.
    pub fn wait_for_leaders(&self) -> Result<(), String> {
        wait::until("a leader of every region", LIMIT, || {
            let handles = self.handles.read();
            let views = |handle: &StoreHandle| handle.regions();
            let all: Vec<RegionView> = handles.iter().flatten().flat_map(views).collect();
            let led = |id: RegionId| all.iter().any(|view| view.descriptor.id == id && view.role == Role::Leader);
            !all.is_empty() && all.iter().all(|view| led(view.descriptor.id))
        })
    }

    /// The place of the store that leads a key's region, and the region.
    ///
    /// # Errors
    /// When nobody leads it for long.
    pub fn leader(&self, key: &[u8]) -> Result<(usize, RegionView), String> {
        let mut found = None;
        wait::until("a leader", LIMIT, || {
            found = leader(&self.handles, key);
            found.is_some()
        })?;
        found.map(|(at, _, view)| (at, view)).ok_or_else(|| "no leader".to_owned())
    }

    /// Moves the leadership of a key's region to the next store.
    ///
    /// # Errors
    /// When it was refused.
    pub fn move_leader(&self, key: &[u8]) -> Result<(), String> {
        let (at, view) = self.leader(key)?;
        let to = StoreId(((at + 1) % REPLICAS) as u64 + 1);
        let handle = self.handles.read()[at].clone().ok_or("the leader's store is gone")?;
        let (sender, receiver) = channel();
        handle.transfer_leader(
            view.descriptor.id,
            to,
            Responder::new(move |result| {
                let _ = sender.send(result);
            }),
        );
        receiver.recv().map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())
    }

    /// Cuts a key's region in two, right at the key.
    ///
    /// # Errors
    /// When it was refused.
    pub fn split(&mut self, key: &[u8]) -> Result<(), String> {
        let (at, view) = self.leader(key)?;
        let peers = view.descriptor.peers.len() as u64;
        let (id, first_peer) = (self.next_id, self.next_id + 1);
        self.next_id += 1 + peers;
        let new = NewRegion {
            key: Bytes::copy_from_slice(key),
            id: RegionId(id),
            peers: (0..peers).map(|peer| PeerId(first_peer + peer)).collect(),
        };
        let plan = SplitPlan { regions: vec![new], right_derive: true };
        let handle = self.handles.read()[at].clone().ok_or("the leader's store is gone")?;
        let (sender, receiver) = channel();
        let responder =
            Responder::new(move |result: Result<_, types::RequestError>| drop(sender.send(result.map(|_| ()))));
        handle.split(view.descriptor.id, view.descriptor.epoch, plan, responder);
        receiver.recv().map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())
    }

    /// Begins to probe a key.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn probe(&self, key: Bytes) -> Result<Probe, String> {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<Instant>>>::default());
        let (handles, stopped, answers) = (Arc::clone(&self.handles), Arc::clone(&stop), Arc::clone(&answered));
        let work = move || {
            while !stopped.load(Ordering::Relaxed) {
                match write(&handles, &key) {
                    true => answers.lock().push(Instant::now()),
                    false => wait::pause(LOOK),
                }
            }
        };
        let thread = ThreadSpawner.spawn("probe", Box::new(work)).map_err(|error| error.to_string())?;
        Ok(Probe { stop, answered, thread })
    }
}

/// A key that is being written.
pub struct Probe {
    stop: Arc<AtomicBool>,
    answered: Arc<Mutex<Vec<Instant>>>,
    thread: Box<dyn Joinable>,
}

impl Probe {
    /// Stops; gives the longest time without an acknowledgement from `since` on.
    ///
    /// # Errors
    /// When the probe panicked.
    pub fn longest_gap(self, since: Instant) -> Result<Duration, String> {
        self.stop.store(true, Ordering::Relaxed);
        if !self.thread.join() {
            return Err("a probe panicked".to_owned());
        }
        let answered = self.answered.lock();
        let gaps = answered.windows(2).filter(|pair| pair[1] > since).map(|pair| pair[1] - pair[0]);
        Ok(gaps.max().unwrap_or(LIMIT))
    }
}

fn leader(handles: &Handles, key: &[u8]) -> Option<(usize, StoreHandle, RegionView)> {
    let handles = handles.read();
    let led = handles.iter().enumerate().filter_map(|(at, handle)| {
        let view = handle.as_ref()?.region_at(key).filter(|view| view.role == Role::Leader)?;
        Some((at, handle.clone()?, view))
    });
    led.max_by_key(|(.., view)| view.term)
}

/// Writes a key once; whether it was acknowledged.
fn write(handles: &Handles, key: &Bytes) -> bool {
    let Some((_, handle, view)) = leader(handles, key) else { return false };
    let header =
        RequestHeader { region_id: view.descriptor.id, epoch: view.descriptor.epoch, ..RequestHeader::default() };
    let put = apply::build::put(ColumnFamily::Default, key.clone(), Bytes::from_static(&[7; 64]));
    let (sender, receiver) = channel();
    let responder = Responder::new(move |result: WriteResult| {
        // The probe waits for the answer.
        let _ = sender.send(result.is_ok());
    });
    handle.write(header, apply::build::batch(vec![put]), responder);
    drop(handle);
    receiver.recv().unwrap_or(false)
}
