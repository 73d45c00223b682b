//! `raftyard playground`: a coordinator and stores in this process, a load, and a prompt.
//!
//! The thread that runs it stays outside of any tokio runtime, because starting and ending a node blocks; what a client
//! does runs on a small runtime of the playground's own.
//!
//! Reading order: [`run`], [`cluster`], [`session`], [`prompt`], [`moves`], [`network`], [`load`], then the helpers.

mod cluster;
mod console;
mod data_dir;
mod error;
mod interrupt;
mod keys;
mod load;
mod moves;
mod network;
mod ports;
mod progress;
mod prompt;
mod session;
mod status;
mod tables;
mod watch;
pub mod words;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use observe::{LogConfig, Logging};
use slog::{error, info};
use types::limits::MAX_VALUE_BYTES;
use types::seed::Seed;

use cluster::{Cluster, ClusterPlan, Surroundings};
use data_dir::DataDir;
pub use error::PlaygroundError;
use interrupt::Interrupt;
use load::Load;
use session::Session;

use crate::commands::signals::Signals;

/// Most stores: each has engines and threads of its own.
const MAX_STORES: usize = 32;

/// Threads that run clients.
const CLIENT_THREADS: usize = 2;

/// The flags of `raftyard playground`.
#[derive(Clone, Debug, Args)]
pub struct PlaygroundArgs {
    /// Stores.
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u16).range(1..=MAX_STORES as i64))]
    stores: u16,
    /// Regions that a fresh cluster begins with.
    #[arg(long, default_value = "16",
        value_parser = clap::value_parser!(u32).range(1..=coordinator::config::MAX_INITIAL_REGIONS as i64))]
    regions: u32,
    /// Where the data stays; without it, in a directory that is removed at the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Write so many keys through the public protocol and read every one of them back.
    #[arg(long, value_name = "KEYS", default_value = "0")]
    load: u64,
    /// Bytes of each value of the load.
    #[arg(long, value_name = "BYTES", default_value = "128",
        value_parser = clap::value_parser!(u32).range(1..=MAX_VALUE_BYTES as i64))]
    value_size: u32,
    /// End after the load, with status 0 if every key was read back.
    #[arg(long)]
    exit: bool,
}

/// Runs a playground to its end.
///
/// # Errors
/// When it cannot start or stop, or the load failed. That the process was asked to end is one only when it was to end
/// by itself.
pub fn run(args: &PlaygroundArgs) -> Result<(), PlaygroundError> {
    let data_dir = DataDir::open(args.data_dir.as_deref())?;
    let log_file = data_dir.path().join("playground.log");
    let logging = Logging::start(&LogConfig { file: Some(log_file.clone()), ..LogConfig::default() })?;
    let logger = logging.logger().clone();
    let interrupt = Interrupt(Signals::listen(&logger).map_err(PlaygroundError::Threads)?);
    info!(logger, "raftyard playground"; "version" => env!("CARGO_PKG_VERSION"), "args" => ?args);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(CLIENT_THREADS).thread_name("playground").enable_all().build();
    let runtime = runtime.map_err(PlaygroundError::Threads)?;
    let around = Surroundings { runtime: runtime.handle().clone(), interrupt, logger: logger.clone() };

    writeln!(io::stdout(), "data in {}, log in {}", data_dir.path().display(), log_file.display())?;
    let result = play(args, &data_dir, around);
    if let Err(error) = &result {
        error!(logger, "the playground ends by an error"; "reason" => %error, "code" => %error.code());
    }
    match result {
        Err(PlaygroundError::Interrupted(_)) if !args.exit => Ok(()),
        result => result,
    }
}

fn play(args: &PlaygroundArgs, data_dir: &DataDir, around: Surroundings) -> Result<(), PlaygroundError> {
    let plan = ClusterPlan {
        stores: args.stores.into(),
        regions: args.regions as usize,
        data_dir: data_dir.path().to_owned(),
    };
    let cluster = Cluster::start(&plan, around.clone())?;
    let mut session = Session::begin(cluster, around)?;
    let played = load_and_run(args, &mut session);
    let ended = session.end();
    played.and(ended)
}

fn load_and_run(args: &PlaygroundArgs, session: &mut Session) -> Result<(), PlaygroundError> {
    let run = Seed(runtime::entropy_seed());
    let load = Load { keys: args.load, value_bytes: args.value_size as usize, run };
    let loaded = if args.load > 0 { session.load(load) } else { Ok(()) };
    session.show()?;
    match loaded {
        Err(error) if args.exit || matches!(error, PlaygroundError::Interrupted(_)) => Err(error),
        Ok(()) if args.exit => Ok(()),
        loaded => {
            if let Err(error) = &loaded {
                writeln!(io::stdout(), "the load failed: {error} ({})", error.code())?;
            }
            session.run().and(loaded)
        }
    }
}
