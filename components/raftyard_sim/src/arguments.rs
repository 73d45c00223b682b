//! The command line.

use std::ops::Range;
use std::path::PathBuf;

use clap::Parser;
use sim::Profile;
use types::{PlantedBug, PlantedBugs};

/// Runs whole clusters on one thread each, from seeds, under faults, and checks what they do.
#[derive(Clone, Debug, Parser)]
#[command(name = "raftyard-sim", version)]
pub(crate) struct Arguments {
    /// One seed to run.
    #[arg(long, default_value_t = 0, conflicts_with = "seeds")]
    pub(crate) seed: u64,

    /// Seeds to run, the second one not among them: 0..1000.
    #[arg(long, value_parser = parse_seeds)]
    pub(crate) seeds: Option<Range<u64>>,

    /// Which faults there are: calm, network, crash, disk, clock, everything, or all of these in turn.
    #[arg(long, default_value = "everything", value_parser = parse_profiles)]
    pub(crate) profile: Profiles,

    /// How many events a cluster is disturbed for.
    #[arg(long, default_value_t = 50_000)]
    pub(crate) steps: u64,

    /// How many stores a cluster has.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=7))]
    pub(crate) stores: u64,

    /// How many regions a cluster has.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) regions: u64,

    /// How many clusters run beside each other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) jobs: u64,

    /// Run seeds, from the first one named on, for so many minutes.
    #[arg(long)]
    pub(crate) minutes: Option<u64>,

    /// Stop at the first failure; without seeds or minutes, run until there is one.
    #[arg(long)]
    pub(crate) until_failure: bool,

    /// Plant a bug, which the run should find; a build with the feature `planted` can.
    #[arg(long, value_name = "NAME", value_parser = parse_planted)]
    pub(crate) planted: Option<PlantedBugs>,

    /// Say everything as it happens.
    #[arg(long)]
    pub(crate) verbose: bool,

    /// Where the traces of failures are written; the system's directory for temporary files by default.
    #[arg(long)]
    pub(crate) traces: Option<PathBuf>,
}

/// Profiles to be run in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profiles(pub(crate) Vec<Profile>);

fn parse_profiles(text: &str) -> Result<Profiles, String> {
    if text == "all" {
        return Ok(Profiles(Profile::ALL.to_vec()));
    }
    text.split(',').map(str::parse).collect::<Result<_, _>>().map(Profiles)
}

fn parse_planted(name: &str) -> Result<PlantedBugs, String> {
    let bug: PlantedBug = name.parse().map_err(|error: types::planted::UnknownBug| error.to_string())?;
    PlantedBugs::only(bug)
        .ok_or_else(|| "this build can hold no planted bug: build it with --features planted".to_owned())
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let parse = |number: &str| number.parse::<u64>().map_err(|error| format!("{number:?} is not a seed: {error}"));
    let (first, end) = text.split_once("..").ok_or("seeds are given as FIRST..END, like 0..1000")?;
    let range = parse(first)?..parse(end)?;
    if range.is_empty() { Err(format!("{text} holds no seed")) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_ranges() {
        assert_eq!(parse_seeds("3..7"), Ok(3..7));
        assert!(parse_seeds("7..7").is_err());
        assert!(parse_seeds("7").is_err());
        assert!(parse_seeds("a..b").is_err());
    }

    #[test]
    fn a_planted_bug_needs_the_feature() {
        let planted = parse_planted("log-deleted-early");
        assert!(planted.is_ok() || planted.is_err_and(|error| error.contains("--features planted")));
        assert!(parse_planted("no-such-bug").is_err_and(|error| error.contains("log-deleted-early")));
    }

    #[test]
    fn profiles_are_named_or_all() {
        assert_eq!(parse_profiles("calm,disk"), Ok(Profiles(vec![Profile::Calm, Profile::Disk])));
        assert_eq!(parse_profiles("all"), Ok(Profiles(Profile::ALL.to_vec())));
        assert!(parse_profiles("storm").is_err_and(|error| error.contains("everything")));
    }
}
