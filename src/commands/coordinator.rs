//! `raftyard coordinator`: a coordinator as a process of its own.

use clap::Args;
use observe::Registry;
use server::config::Config;
use server::node::CoordinatorNode;
use slog::{error, info};
use types::ErrorCode;

use super::process::{NodeEnd, run_node};
use super::process_args::{Place, ProcessArgs, environment, set};
use super::{Failure, logging};

/// The code of a coordinator that ended because it could not go on; its message carries the cause's own.
const COORDINATOR_FAILED: ErrorCode = ErrorCode("RY-CLI-004");

/// The flags of `raftyard coordinator`.
#[derive(Clone, Debug, Args)]
pub struct CoordinatorArgs {
    #[command(flatten)]
    process: ProcessArgs,
    /// Replicas of each region of a fresh cluster.
    #[arg(long, value_name = "N")]
    replicas: Option<u32>,
    /// Stores that must have joined before a fresh cluster's regions are laid out; 0 for as many as replicas.
    #[arg(long, value_name = "N")]
    initial_stores: Option<u32>,
    /// Regions that a fresh cluster begins with, cut evenly over the first two bytes of the keys.
    #[arg(long, value_name = "N", conflicts_with = "split_keys")]
    initial_regions: Option<u32>,
    /// Where a fresh cluster's regions are cut instead: ascending keys, with commas between them.
    #[arg(long, value_name = "KEY,…", value_delimiter = ',')]
    split_keys: Option<Vec<String>>,
}

impl CoordinatorArgs {
    fn apply(&self, config: &mut Config) {
        let coordinator = &mut config.coordinator;
        self.process.place(Place {
            addr: &mut coordinator.addr,
            advertise_addr: &mut coordinator.advertise_addr,
            status_addr: &mut coordinator.status_addr,
            data_dir: &mut coordinator.data_dir,
        });
        set(&mut coordinator.replicas, &self.replicas);
        set(&mut coordinator.initial_stores, &self.initial_stores);
        if self.initial_regions.is_some() {
            // The file's split keys would win over the flag's number.
            coordinator.split_keys.clear();
        }
        set(&mut coordinator.initial_regions, &self.initial_regions);
        set(&mut coordinator.split_keys, &self.split_keys);
    }
}

/// Runs a coordinator until it is asked to end.
///
/// # Errors
/// When it cannot start, or cannot go on.
pub fn run(args: &CoordinatorArgs) -> Result<(), Failure> {
    let Some(config) = args.process.resolve(environment(), |config| args.apply(config))? else {
        return Ok(());
    };
    let logging = logging::start(&config.log)?;
    let logger = logging.logger();
    info!(logger, "raftyard coordinator";
        "version" => env!("CARGO_PKG_VERSION"), "data_dir" => %config.coordinator.data_dir.display());
    let start = {
        let logger = logger.clone();
        move || CoordinatorNode::start(&config, &Registry::new(), &logger)
    };
    match run_node(logger, start, CoordinatorNode::failure)? {
        None => Ok(()),
        Some((node, NodeEnd::Signal(_))) => Ok(node.stop()?),
        Some((node, NodeEnd::Failed(reason))) => {
            error!(logger, "the coordinator cannot go on"; "reason" => &reason);
            node.kill();
            Err(Failure::failed(format!("the coordinator cannot go on: {reason}"), COORDINATOR_FAILED))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        args: CoordinatorArgs,
    }

    #[test]
    fn flags_go_to_the_coordinators_section() {
        let flags = ["c", "--addr", "a:1", "--replicas", "1", "--initial-stores", "2", "--split-keys", "g,p"];
        let Flags { args } = Flags::try_parse_from(flags).unwrap();
        let config = args.process.resolve([], |config| args.apply(config)).unwrap().unwrap();
        let coordinator = &config.coordinator;
        assert_eq!((coordinator.addr.as_str(), coordinator.replicas, coordinator.initial_stores), ("a:1", 1, 2));
        assert_eq!(coordinator.split_keys, ["g", "p"]);
        assert_eq!(config.server.addr, Config::default().server.addr, "the store's address is left alone");
    }

    #[test]
    fn a_number_of_regions_replaces_split_keys() {
        let Flags { args } = Flags::try_parse_from(["c", "--initial-regions", "4"]).unwrap();
        let environment = [("RAFTYARD__COORDINATOR__SPLIT_KEYS".to_owned(), "['m']".to_owned())];
        let config = args.process.resolve(environment, |config| args.apply(config)).unwrap().unwrap();
        assert_eq!((config.coordinator.initial_regions, config.coordinator.split_keys.len()), (4, 0));
        assert!(Flags::try_parse_from(["c", "--initial-regions", "4", "--split-keys", "g"]).is_err());
    }
}
