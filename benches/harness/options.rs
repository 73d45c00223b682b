//! What the caller wants measured, and how long.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Fewer rounds than this say nothing about spread; they are for trying a change out.
const ROUNDS: usize = 5;
const SECONDS: f64 = 3.0;
/// The part of a turn before it is measured: caches fill, memtables rotate for the first time.
const WARM_UP_SHARE: f64 = 1.0 / 3.0;

/// The caller's wishes.
#[derive(Debug)]
pub struct Options {
    /// How long a turn is measured.
    pub measured: Duration,
    /// How long a turn runs before it is measured.
    pub warm_up: Duration,
    /// How many turns each contender takes.
    pub rounds: usize,
    /// Where data goes.
    pub directory: PathBuf,
    /// Also measure what takes minutes by itself.
    pub large: bool,
    /// Only name the targets.
    pub list: bool,
    wanted: Vec<String>,
}

impl Options {
    /// Reads the process's arguments and environment.
    ///
    /// # Errors
    /// A sentence that says which of them cannot be understood.
    pub fn from_process() -> Result<Self, String> {
        let seconds: f64 = environment("RAFTYARD_BENCH_SECONDS", SECONDS)?;
        if !(0.1..=3600.0).contains(&seconds) {
            return Err(format!("RAFTYARD_BENCH_SECONDS={seconds}: must be from 0.1 to 3600"));
        }
        let default_directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let mut options = Self {
            measured: Duration::from_secs_f64(seconds),
            warm_up: Duration::from_secs_f64(seconds * WARM_UP_SHARE),
            rounds: environment("RAFTYARD_BENCH_ROUNDS", ROUNDS)?.max(1),
            directory: environment("RAFTYARD_BENCH_DIR", default_directory)?,
            large: false,
            list: false,
            wanted: Vec::new(),
        };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                // Cargo says this to every bench.
                "--bench" => {}
                "--large" => options.large = true,
                "--list" => options.list = true,
                flag if flag.starts_with('-') => {
                    return Err(format!("{flag} is unknown: give ids of targets, --list or --large"));
                }
                id => options.wanted.push(id.to_lowercase()),
            }
        }
        Ok(options)
    }

    /// Whether a target is to be measured, or a part of it.
    pub fn wants(&self, id: &str) -> bool {
        let id = id.to_lowercase();
        self.wants_part(&id) || self.wanted.iter().any(|wanted| is_part(wanted, &id))
    }

    /// Whether a part of a target is to be measured, like `r1-64-16`.
    pub fn wants_part(&self, id: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| is_part(&id.to_lowercase(), wanted))
    }
}

/// Whether an id is a target's, or that of a part of it: `r1` and `r1-64`, and not `r11`.
fn is_part(id: &str, target: &str) -> bool {
    id.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds, {:.1} s measured behind {:.1} s of warm-up, data in {}",
            self.rounds,
            self.measured.as_secs_f64(),
            self.warm_up.as_secs_f64(),
            self.directory.display()
        )?;
        if self.rounds < ROUNDS {
            write!(f, "\nfewer than {ROUNDS} rounds: the figures below are a glance, not a measurement")?;
        }
        Ok(())
    }
}

fn environment<T: FromStr>(name: &str, default: T) -> Result<T, String> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name}={text} cannot be understood")),
        Err(_) => Ok(default),
    }
}
