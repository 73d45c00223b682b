//! Clients at work while stores move, and what is judged in the end.

use client::RawClient;
use types::ColumnFamily;

use crate::contents::Contents;
use crate::history;
use crate::ledger::{Ledger, Page};
use crate::load::Load;
use crate::support::Cluster;
use crate::support::process::Process;

/// Requests that are answered after everything has moved, before it is looked at what was seen.
const REQUESTS_AFTER: u64 = 500;
/// What a store says when a comparison found that its replica is not what the others have.
const DIFFERS: &str = "this store's replica differs from its leader's";

/// Clients at work. End them by [`judge`](Self::judge).
pub struct Clients {
    load: Load,
    ledger: Ledger,
}

impl Clients {
    pub async fn start(cluster: &Cluster) -> Self {
        let clients = [cluster.tikv_client().await, cluster.tikv_client().await];
        let ours = cluster.raw_client_that_writes_once().await;
        Self { load: Load::start_on_moving_regions(&clients, 3, &ours), ledger: Ledger::start(&clients[0], 3) }
    }

    /// Waits until some requests were answered from now on.
    pub async fn progress(&self) {
        self.load.progress(REQUESTS_AFTER).await;
    }

    /// Ends the clients, and checks what they saw and what is there of it.
    ///
    /// # Panics
    /// When it is not linearizable, or something that was acknowledged is not there.
    pub async fn judge(self, cluster: &Cluster) -> Page {
        self.progress().await;
        let finished = self.load.finish(&cluster.tikv_client().await).await;
        let page = self.ledger.finish().await;
        let [acknowledged, unknown] = page.counts();
        println!("{}; errors: {}", finished.counts, finished.errors);
        println!("the ledger: {acknowledged} writes acknowledged, {unknown} of unknown outcome");
        history::check(&finished.operations).unwrap_or_else(|found| panic!("{found}"));
        let ours: RawClient = cluster.raw_client().await;
        page.check(&page.read(&ours).await).unwrap_or_else(|found| panic!("clients see: {found}"));
        page
    }
}

/// Checks that nobody has told of anything that must not be.
///
/// # Panics
/// When somebody has.
pub fn check_logs(cluster: &Cluster) {
    cluster.assert_no_panic();
    cluster.stores.iter().for_each(|store| store.assert_never_told(DIFFERS));
}

/// Stops those that run of some stores, and reads what they hold.
pub async fn stop(stores: &mut [Process]) -> Vec<Contents> {
    let running = stores.iter_mut().filter(|store| store.is_running());
    let mut running: Vec<_> = running.inspect(|store| store.terminate()).collect();
    for store in &mut running {
        let ended = store.end().await;
        assert!(ended.status.success(), "{} ended with {}:\n{}", store.name, ended.status, ended.log);
    }
    running.iter().map(|store| Contents::of(store)).collect()
}

/// Checks that replicas are the same on all disks, and hold what was acknowledged.
///
/// # Panics
/// When they are not.
pub fn check_same(stores: &[Contents], page: &Page) {
    for (number, other) in stores.iter().enumerate().skip(1) {
        stores[0].check_same(other).unwrap_or_else(|found| panic!("the first store and number {number}: {found}"));
    }
    page.check(&stores[0].family(ColumnFamily::Write)).unwrap_or_else(|found| panic!("the disks hold: {found}"));
    println!("{} stores hold the same {} keys", stores.len(), stores[0].keys());
}

/// Checks that stores hold nothing any more.
///
/// # Panics
/// When one does.
pub fn check_empty(stores: &[Contents]) {
    for store in stores {
        let regions = store.regions();
        assert!(regions.is_empty() && store.keys() == 0, "{} keys of {regions:?} were left behind", store.keys());
    }
    println!("{} stores hold nothing", stores.len());
}
