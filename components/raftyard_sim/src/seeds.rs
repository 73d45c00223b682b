//! Which runs there are, in their order.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::{Profile, Settings};

use crate::arguments::Arguments;

/// Hands out runs: seed after seed, each under every profile that is asked for.
#[derive(Debug)]
pub(crate) struct Seeds {
    next: AtomicU64,
    seeds: Range<u64>,
    profiles: Vec<Profile>,
    model: Settings,
}

impl Seeds {
    pub(crate) fn new(arguments: &Arguments) -> Self {
        let endless = arguments.minutes.is_some() || arguments.until_failure;
        let seeds = match &arguments.seeds {
            Some(seeds) => seeds.clone(),
            None if endless => arguments.seed..u64::MAX,
            None => arguments.seed..arguments.seed.saturating_add(1),
        };
        let profiles = arguments.profile.0.clone();
        let model = Settings {
            steps: arguments.steps,
            stores: arguments.stores as usize,
            regions: arguments.regions as usize,
            verbose: arguments.verbose,
            planted: arguments.planted.unwrap_or_default(),
            ..Settings::new(0, profiles[0])
        };
        Self { next: AtomicU64::new(0), seeds, profiles, model }
    }

    /// The next run; nothing when all are handed out.
    pub(crate) fn next(&self) -> Option<Settings> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let profiles = self.profiles.len() as u64;
        let seed = self.seeds.start.checked_add(number / profiles).filter(|seed| *seed < self.seeds.end)?;
        let profile = self.profiles[(number % profiles) as usize];
        Some(Settings { seed, profile, ..self.model })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn each_seed_runs_under_each_profile() {
        let arguments = Arguments::parse_from(["raftyard-sim", "--seeds", "4..6", "--profile", "calm,disk"]);
        let seeds = Seeds::new(&arguments);
        let runs: Vec<_> = std::iter::from_fn(|| seeds.next()).map(|run| (run.seed, run.profile)).collect();
        assert_eq!(runs, [(4, Profile::Calm), (4, Profile::Disk), (5, Profile::Calm), (5, Profile::Disk)]);
    }

    #[test]
    fn one_seed_is_one_run() {
        let seeds = Seeds::new(&Arguments::parse_from(["raftyard-sim", "--seed", "9"]));
        assert_eq!(seeds.next().map(|run| run.seed), Some(9));
        assert_eq!(seeds.next(), None);
    }
}
