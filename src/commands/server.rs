//! `raftyard server`: a store as a process of its own.

use std::collections::BTreeMap;

use clap::Args;
use observe::Registry;
use server::config::Config;
use server::node::StoreNode;
use slog::{Logger, error, info};
use store::StopProgress;
use types::ErrorCode;

use super::process::{NodeEnd, run_node};
use super::process_args::{Place, ProcessArgs, environment, set};
use super::{Failure, logging};

/// The code of a store that ended because it could not go on; its message carries the cause's own.
const STORE_FAILED: ErrorCode = ErrorCode("RY-CLI-003");

/// The flags of `raftyard server`.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    #[command(flatten)]
    process: ProcessArgs,
    /// The coordinator's addresses, with commas between them.
    #[arg(long, visible_alias = "pd", value_name = "HOST:PORT,…", value_delimiter = ',')]
    pd_endpoints: Option<Vec<String>>,
    /// What the store is to placement.
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',', value_parser = label)]
    labels: Option<Vec<(String, String)>>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label is written KEY=VALUE".to_owned()),
    }
}

impl ServerArgs {
    fn apply(&self, config: &mut Config) {
        let server = &mut config.server;
        self.process.place(Place {
            addr: &mut server.addr,
            advertise_addr: &mut server.advertise_addr,
            status_addr: &mut server.status_addr,
            data_dir: &mut server.data_dir,
        });
        set(&mut server.pd_endpoints, &self.pd_endpoints);
        let labels = self.labels.as_ref().map(|labels| labels.iter().cloned().collect::<BTreeMap<_, _>>());
        set(&mut server.labels, &labels);
    }
}

/// Runs a store until it is asked to end.
///
/// # Errors
/// When it cannot start, or cannot go on.
pub fn run(args: &ServerArgs) -> Result<(), Failure> {
    let Some(config) = args.process.resolve(environment(), |config| args.apply(config))? else {
        return Ok(());
    };
    let logging = logging::start(&config.log)?;
    let logger = logging.logger();
    info!(logger, "raftyard server"; "version" => env!("CARGO_PKG_VERSION"), "data_dir" => %config.server.data_dir.display());
    let start = {
        let logger = logger.clone();
        move || StoreNode::start(&config, &Registry::new(), &logger)
    };
    match run_node(logger, start, StoreNode::failure)? {
        None => Ok(()),
        Some((node, NodeEnd::Signal(_))) => Ok(node.stop(&mut |progress| log_progress(logger, progress))?),
        Some((node, NodeEnd::Failed(reason))) => {
            error!(logger, "the store cannot go on"; "reason" => &reason);
            node.kill();
            Err(Failure::failed(format!("the store cannot go on: {reason}"), STORE_FAILED))
        }
    }
}

fn log_progress(logger: &Logger, progress: StopProgress) {
    match progress {
        StopProgress::Leaders(left) => info!(logger, "stopping: handing leaders over"; "left" => left),
        StopProgress::Draining => info!(logger, "stopping: executing what is committed"),
        StopProgress::Flushing => info!(logger, "stopping: making the state engine durable"),
        StopProgress::Stopped => info!(logger, "stopping: done"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        args: ServerArgs,
    }

    fn resolve(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Config, Failure> {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), file).unwrap();
        let config_flag = ["server", "--config", path.path().to_str().unwrap()];
        let Flags { args } = Flags::try_parse_from(config_flag.iter().chain(flags)).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Ok(args.process.resolve(environment, |config| args.apply(config))?.unwrap())
    }

    #[test]
    fn flags_override_the_environment_which_overrides_the_file() {
        let file =
            "[server]\naddr = 'file:1'\nstatus-addr = 'file:2'\nadvertise-addr = 'file:3'\n[log]\nlevel = 'debug'";
        let environment = [("RAFTYARD__SERVER__STATUS_ADDR", "env:2"), ("RAFTYARD__SERVER__ADVERTISE_ADDR", "env:3")];
        let config = resolve(file, &environment, &["--advertise-addr", "flag:3", "--log-level", "warn"]).unwrap();
        assert_eq!(config.server.addr, "file:1");
        assert_eq!(config.server.status_addr, "env:2");
        assert_eq!(config.server.advertise_addr, "flag:3");
        assert_eq!(config.log.level, "warn");
    }

    #[test]
    fn lists_are_taken_apart() {
        let flags = ["--pd-endpoints", "a:1,b:2", "--labels", "zone=z1,disk=ssd", "--data-dir", "/d"];
        let config = resolve("[server.labels]\nrack = 'r'", &[], &flags).unwrap();
        assert_eq!(config.server.pd_endpoints, ["a:1", "b:2"]);
        let labels: Vec<_> = config.server.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["disk=ssd", "zone=z1"], "the flag replaces the file's labels");
        assert_eq!(config.server.data_dir, PathBuf::from("/d"));
        assert!(Flags::try_parse_from(["server", "--labels", "zone"]).is_err());
    }

    #[test]
    fn a_bad_flag_is_a_configuration_error() {
        let failure = resolve("", &[], &["--addr", "http://a:1"]).unwrap_err();
        assert!(failure.to_string().contains("server.addr"), "{failure}");
        assert_eq!(failure.exit_code(), std::process::ExitCode::from(2));
    }
}
