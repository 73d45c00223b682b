//! Three members of a static cluster on real disks, in one process.

#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;

use embed::{Config, LocalNetwork, Network, Store};
use region::Role;
use tempfile::TempDir;
use types::{RegionId, StoreId};

pub const MEMBERS: [StoreId; 3] = [StoreId(1), StoreId(2), StoreId(3)];

pub struct Members {
    pub data: TempDir,
    pub network: Arc<LocalNetwork>,
    pub stores: Vec<Store>,
    configure: fn(Config) -> Config,
}

impl Members {
    /// Members as `configure` makes them of the default, on a network of their own.
    pub fn start(configure: fn(Config) -> Config) -> Self {
        let (data, network) = (tempfile::tempdir().unwrap(), Arc::new(LocalNetwork::new()));
        let mut members = Self { data, network, stores: Vec::new(), configure };
        members.open(true);
        members
    }

    fn open(&mut self, first: bool) {
        let open = |id: &StoreId| {
            let config = Config::new(*id, self.data.path().join(id.to_string()), self.network.clone());
            Store::open((self.configure)(config.members(MEMBERS)).first_start(first)).unwrap()
        };
        self.stores = MEMBERS.iter().map(open).collect();
    }

    /// Stops all members as a crash would, and opens them again.
    pub fn restart(&mut self) {
        self.stores.clear();
        self.open(false);
    }

    /// The member that leads a region, by its place, as soon as there is one.
    pub fn leader(&self, region: RegionId) -> usize {
        let leads = |store: &Store| store.handle().region(region).is_some_and(|view| view.role == Role::Leader);
        wait_for("a leader", || self.stores.iter().position(leads))
    }
}

/// Looks again and again until there is something to see; a broken build alone reaches the end of its patience.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = std::time::Instant::now();
    while started.elapsed().as_secs() < 60 {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::yield_now();
    }
    panic!("{what} did not come")
}

pub fn network(members: &Members) -> Arc<dyn Network> {
    members.network.clone()
}
