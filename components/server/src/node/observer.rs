//! From the store's threads to the node's tasks.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use region::Inconsistency;
use slog::{Logger, error};
use store::{RegionView, StoreError, StoreObserver};
use tokio::sync::{Notify, watch};
use types::RegionId;

use crate::status::Differing;

/// Regions that somebody has to look at; bounded by the number of regions.
#[derive(Default)]
struct Noted {
    regions: Mutex<BTreeSet<RegionId>>,
    more: Notify,
}

impl Noted {
    fn add(&self, region: RegionId) {
        self.regions.lock().insert(region);
        self.more.notify_one();
    }

    /// Waits until there is one, and takes all. Loses none when it is cancelled.
    async fn take(&self) -> BTreeSet<RegionId> {
        loop {
            let regions = std::mem::take(&mut *self.regions.lock());
            if !regions.is_empty() {
                return regions;
            }
            self.more.notified().await;
        }
    }
}

/// What happened in the store that the node's tasks have to see to.
#[derive(Default)]
pub(super) struct News {
    changed: Noted,
    orphans: Noted,
    /// Regions whose replicas here differ from their leaders'.
    pub(super) differing: Differing,
}

impl News {
    /// Waits until the role, leader, term or descriptor of a region has changed, and takes all that have.
    pub(super) async fn take_changed(&self) -> BTreeSet<RegionId> {
        self.changed.take().await
    }

    /// Waits until a region misses its leader, and takes all that do.
    pub(super) async fn take_orphans(&self) -> BTreeSet<RegionId> {
        self.orphans.take().await
    }
}

/// Notes what happens in a store for the node's tasks.
pub(super) struct NodeObserver {
    news: Arc<News>,
    failure: watch::Sender<Option<String>>,
    logger: Logger,
}

impl NodeObserver {
    /// An observer, what it sees happen, and the failure it sees.
    pub(super) fn new(logger: Logger) -> (Self, Arc<News>, watch::Receiver<Option<String>>) {
        let (failure, failed) = watch::channel(None);
        let news = Arc::<News>::default();
        (Self { news: Arc::clone(&news), failure, logger }, news, failed)
    }
}

impl StoreObserver for NodeObserver {
    fn region_changed(&self, view: &RegionView) {
        self.news.changed.add(view.descriptor.id);
    }

    fn region_gone(&self, region: RegionId) {
        self.news.differing.forget(region);
    }

    fn leader_missing(&self, region: RegionId) {
        self.news.orphans.add(region);
    }

    fn replicas_differ(&self, found: &Inconsistency) {
        let region = &found.descriptor;
        error!(self.logger, "this store's replica differs from its leader's";
            "region_id" => region.id.0, "range" => %region.range, "peer_id" => found.peer.0, "index" => found.index.0,
            "hash" => format!("{:016x}", found.ours), "leaders_hash" => format!("{:016x}", found.leaders),
            "stores" => ?region.peers.iter().map(|peer| peer.store_id.0).collect::<Vec<_>>());
        self.news.differing.add(found.clone());
    }

    fn store_failed(&self, error: &StoreError) {
        self.failure.send_replace(Some(format!("{} ({})", error, error.code())));
    }
}
