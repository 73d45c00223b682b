//! A coordinator's process makes a cluster.

use std::path::Path;

use client::{PdClient, PdConfig};
use observe::Registry;
use server::config::Config;
use server::node::CoordinatorNode;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::child::{Life, at_every_point, child_part, done, live, points, report};
use crate::disk;

/// A point that a start passes more often than this is passed for the same reason again.
const MOST_TIMES: usize = 5;
/// Short, so that a lone coordinator elects itself at once.
const TICK_MS: u64 = 5;
/// Ids that a child asks for.
const IDS: usize = 3;

/// What a child does: serves, and says which ids it was given.
fn serve(directory: &Path) -> ! {
    let mut config = Config::default();
    let settings = &mut config.coordinator;
    (settings.addr, settings.status_addr) = ("127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned());
    settings.data_dir = directory.to_owned();
    config.raftstore.tick_ms = TICK_MS;
    let node = CoordinatorNode::start(&config, &Registry::new(), &observe::discard_logger()).unwrap();
    Runtime::new().unwrap().block_on(async {
        let config = PdConfig::new([node.address()]);
        let pd = PdClient::connect(config, observe::discard_logger()).await.unwrap();
        for _ in 0..IDS {
            report(&format!("id {}", pd.alloc_id().await.unwrap()));
        }
    });
    done();
}

fn ids(life: &Life) -> Vec<u64> {
    life.said_of("id").map(|id| id.parse().unwrap()).collect()
}

#[test]
fn a_cluster_is_made_wherever_its_coordinator_died() {
    let test = "coordinating::a_cluster_is_made_wherever_its_coordinator_died";
    if let Some((directory, _)) = child_part() {
        serve(&directory);
    }
    let words = ["role", "file", "format", "log", "engines", "state", "cluster", "bootstrap", "open"];
    at_every_point(&points(&words), MOST_TIMES, |point, nth| {
        let directory = TempDir::new().unwrap();
        let lives = [Some((point, nth)), None, Some((point, nth)), None];
        let (mut given, mut ident) = (Vec::new(), None);
        for (number, death) in lives.into_iter().enumerate() {
            let life = live(test, directory.path(), "", death);
            if number == 0 && !life.was_cut_short {
                return false;
            }
            assert_eq!(ids(&life).len(), if life.was_cut_short { 0 } else { IDS });
            given.extend(ids(&life));
            let found = disk::ident(directory.path());
            assert!(ident.is_none() || ident == found, "{ident:?} became {found:?} after {point}");
            ident = found;
        }
        assert!(ident.is_some());
        assert!(given.is_sorted_by(|earlier, later| earlier < later), "ids were given twice after {point}: {given:?}");
        true
    });
}
