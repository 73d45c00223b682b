//! A store's process joins a cluster.

use std::fs;
use std::path::Path;

use client::{PdClient, PdConfig, PdError, RawClient};
use engine::StoreIdent;
use observe::Registry;
use proto::pdpb::ErrorType;
use server::config::Config;
use server::node::{CoordinatorNode, StoreNode};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::child::{at_every_point, child_part, done, live, points, report};
use crate::disk;
use crate::ports::free_address;

/// A point that a start passes more often than this is passed for the same reason again.
const MOST_TIMES: usize = 5;
/// Short, so that regions of one peer elect it at once.
const TICK_MS: u64 = 5;
/// A key of each region.
const KEYS: [&str; 3] = ["apple", "kiwi", "quince"];

/// What a child does: starts, serves, and says what was acknowledged. `argument` is the coordinator's address, the
/// store's own, and a value.
fn serve(directory: &Path, argument: &str) -> ! {
    let [coordinator, address, value] = argument.split(' ').collect::<Vec<_>>()[..] else { panic!("{argument}") };
    let mut config = Config::default();
    config.raftstore.tick_ms = TICK_MS;
    config.server.addr = address.to_owned();
    config.server.status_addr = "127.0.0.1:0".to_owned();
    config.server.data_dir = directory.to_owned();
    config.server.pd_endpoints = vec![coordinator.to_owned()];
    let _node = StoreNode::start(&config, &Registry::new(), &observe::discard_logger()).unwrap();
    Runtime::new().unwrap().block_on(async {
        let client = RawClient::connect([coordinator.to_owned()]).await.unwrap();
        for key in KEYS {
            let before = client.get(key).await.unwrap();
            report(&format!(
                "read {key} {}",
                before.map_or("".into(), |value| String::from_utf8_lossy(&value).into_owned())
            ));
            client.put(key, value.to_owned()).await.unwrap();
            report(&format!("wrote {key} {value}"));
        }
    });
    done();
}

/// A cluster that waits for its one store.
struct Cluster {
    coordinator: CoordinatorNode,
    address: String,
    directory: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let mut config = Config::default();
        config.raftstore.tick_ms = TICK_MS;
        let settings = &mut config.coordinator;
        (settings.addr, settings.status_addr) = ("127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned());
        (settings.data_dir, settings.replicas) = (directory.path().join("coordinator"), 1);
        settings.split_keys = ["g", "p"].map(str::to_owned).to_vec();
        let coordinator = CoordinatorNode::start(&config, &Registry::new(), &observe::discard_logger()).unwrap();
        Self { coordinator, address: free_address(), directory }
    }

    fn store_directory(&self) -> std::path::PathBuf {
        self.directory.path().join("store")
    }

    fn argument(&self, value: &str) -> String {
        format!("{} {} {value}", self.coordinator.address(), self.address)
    }

    /// Who the store set out to be, or is.
    fn ident(&self) -> Option<StoreIdent> {
        let intent = fs::read(self.store_directory().join("JOINING")).ok();
        let intent = intent.map(|bytes| StoreIdent::decode(&bytes).unwrap());
        let made = disk::ident(&self.store_directory());
        assert!(intent.is_none() || made.is_none() || intent == made, "{intent:?} became {made:?}");
        made.or(intent)
    }

    /// The ids of the stores that the coordinator knows; none until the first has all that it needs.
    fn members(&self) -> Vec<u64> {
        let logger = observe::discard_logger();
        Runtime::new().unwrap().block_on(async {
            let pd = PdClient::connect(PdConfig::new([self.coordinator.address()]), logger).await.unwrap();
            match pd.get_all_stores().await {
                Ok(stores) => stores.into_iter().map(|store| store.id).collect(),
                Err(PdError::Refused { kind: ErrorType::NotBootstrapped, .. }) => Vec::new(),
                Err(error) => panic!("{error}"),
            }
        })
    }
}

#[test]
fn a_store_joins_wherever_it_died_before() {
    let test = "joining::a_store_joins_wherever_it_died_before";
    if let Some((directory, argument)) = child_part() {
        serve(&directory, &argument);
    }
    let words = ["role", "file", "format", "log", "engines", "state", "join", "bootstrap", "open"];
    at_every_point(&points(&words), MOST_TIMES, |point, nth| {
        let cluster = Cluster::new();
        let directory = cluster.store_directory();
        let first = live(test, &directory, &cluster.argument("never"), Some((point, nth)));
        if !first.was_cut_short {
            return false;
        }
        assert!(first.said.is_empty(), "{point} is passed before the store serves: {:?}", first.said);
        let (intended, known) = (cluster.ident(), cluster.members());
        assert!(known.is_empty() || intended.is_some(), "{known:?} is known, and forgot at {point} who it is");

        let second = live(test, &directory, &cluster.argument("second"), None);
        assert_eq!(second.said_of("wrote").count(), KEYS.len());
        let made = cluster.ident().expect("the store is made");
        assert!(intended.is_none_or(|intended| intended == made), "{intended:?} became {made:?} after {point}");
        assert_eq!(cluster.members(), [made.store.0], "after {point}");
        assert!(!directory.join("JOINING").exists(), "the intent is forgotten");

        // It dies there at a restart, too, if it comes by.
        live(test, &directory, &cluster.argument("second"), Some((point, nth)));
        let last = live(test, &directory, &cluster.argument("last"), None);
        let read: Vec<_> = last.said_of("read").collect();
        assert_eq!(read, KEYS.map(|key| format!("{key} second")), "after {point}");
        assert_eq!((cluster.ident(), cluster.members()), (Some(made), vec![made.store.0]), "after {point}");
        true
    });
}
