//! Flags that stores and coordinators share.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use server::config::{Config, SAMPLE};

use super::{Failure, logging};

/// Flags that every process has. They override the environment, which overrides the file.
#[derive(Clone, Debug, Default, Args)]
pub struct ProcessArgs {
    /// The configuration file.
    #[arg(short = 'C', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen for clients and stores.
    #[arg(long, value_name = "HOST:PORT")]
    addr: Option<String>,
    /// Where others reach this process, when that is not --addr.
    #[arg(long, value_name = "HOST:PORT")]
    advertise_addr: Option<String>,
    /// Where to listen for status requests over HTTP.
    #[arg(long, value_name = "HOST:PORT")]
    status_addr: Option<String>,
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// What is logged: debug, info, warn, error, and what is graver.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// The file to append the log to, instead of standard error.
    #[arg(long, value_name = "FILE")]
    log_file: Option<String>,
    /// Check the configuration and end.
    #[arg(long)]
    config_check: bool,
    /// Print every setting with its default and end.
    #[arg(long)]
    print_sample_config: bool,
}

/// Where a kind of process keeps its addresses and its data directory in the configuration.
pub struct Place<'a> {
    /// Where to listen.
    pub addr: &'a mut String,
    /// Where others reach it.
    pub advertise_addr: &'a mut String,
    /// Where to listen for status requests.
    pub status_addr: &'a mut String,
    /// The data directory.
    pub data_dir: &'a mut PathBuf,
}

impl ProcessArgs {
    /// The configuration to run with; `None` when the flags ask only for something to be printed, which is done then.
    /// `apply` writes the process's own flags over the file's and the environment's settings.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn resolve(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
        apply: impl FnOnce(&mut Config),
    ) -> Result<Option<Config>, Failure> {
        if self.print_sample_config {
            io::stdout().write_all(SAMPLE.as_bytes())?;
            return Ok(None);
        }
        let mut config = Config::load(self.config.as_deref(), environment)?;
        set(&mut config.log.level, &self.log_level);
        set(&mut config.log.file, &self.log_file);
        apply(&mut config);
        config.validate()?;
        logging::log_config(&config.log)?;
        if self.config_check {
            writeln!(io::stdout(), "config check successful")?;
            return Ok(None);
        }
        Ok(Some(config))
    }

    /// Writes the addresses and the data directory to where this kind of process keeps them.
    pub fn place(&self, place: Place<'_>) {
        set(place.addr, &self.addr);
        set(place.advertise_addr, &self.advertise_addr);
        set(place.status_addr, &self.status_addr);
        set(place.data_dir, &self.data_dir);
    }
}

/// Overrides a setting by a flag that was given.
pub fn set<T: Clone>(setting: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        setting.clone_from(value);
    }
}

/// The process's environment. A value that is not text is taken as near to it as can be, and fails its check then.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}
