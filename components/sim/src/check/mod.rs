//! What must hold of every run. Each checker is in a file of its own.

pub mod answers;
pub mod applied;
pub mod births;
pub mod committed;
pub mod counters;
pub mod election;
pub mod fences;
pub mod ids;
pub mod leftovers;
pub mod linearizability;
pub mod opening;
pub mod peers;
pub mod promises;
pub mod promotion;
pub mod proposals;
pub mod regions;
pub mod removal;
pub mod replay;
pub mod resources;
pub mod restart;
pub mod scans;
pub mod silence;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
pub(crate) mod testing;
pub mod timestamps;
pub mod watch;
pub mod watermark;

use store::StoreConfig;

pub use watch::Watch;

use crate::ledger::Ledger;
use crate::observation::Observation;

/// Something that must never happen did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{checker}: {what}")]
pub struct Violation {
    /// Which checker says so.
    pub checker: &'static str,
    /// What is wrong, with names, numbers and indexes.
    pub what: String,
}

impl Violation {
    /// Something wrong, in the words of a checker.
    pub fn new(checker: &'static str, what: impl Into<String>) -> Self {
        Self { checker, what: what.into() }
    }
}

/// Watches a run and says when something is wrong.
pub trait Checker {
    /// Its name, as failures print it.
    fn name(&self) -> &'static str;

    /// Takes something in that happened. The ledger already knows of it.
    ///
    /// # Errors
    /// When it must not have happened.
    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation>;

    /// The run is over: every fault is healed and every store has caught up.
    ///
    /// # Errors
    /// When something is missing, or too much is there.
    fn finish(&mut self, ledger: &Ledger) -> Result<(), Violation> {
        let _ = ledger;
        Ok(())
    }
}

/// What the checkers must know of the cluster.
#[derive(Clone, Debug)]
pub struct Config {
    /// The settings of its stores; seeds apart, the same for all.
    pub store: StoreConfig,
}

/// Every checker of raft, stores and resources.
pub fn all(config: &Config) -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(opening::Opening),
        Box::new(promises::Promises::default()),
        Box::new(restart::Restart::new(config.store.region.election_ticks)),
        Box::new(election::Election::default()),
        Box::new(committed::Committed),
        Box::new(applied::Applied),
        Box::new(replay::Replayed::default()),
        Box::new(watermark::Watermark),
        Box::new(regions::Regions::default()),
        Box::new(peers::Peers::default()),
        Box::new(ids::Ids::default()),
        Box::new(births::Births::default()),
        Box::new(fences::Fences::default()),
        Box::new(silence::Silence),
        Box::new(removal::Removal::default()),
        Box::new(promotion::Promotion::default()),
        Box::new(leftovers::Leftovers),
        Box::new(proposals::Proposals::default()),
        Box::new(resources::Resources::new(config.store.clone())),
    ]
}

/// Every checker but that of proposals: guests propose at their store without being watched.
pub fn of_guests(config: &Config) -> Vec<Box<dyn Checker>> {
    let mut checkers = all(config);
    checkers.retain(|checker| checker.name() != proposals::NAME);
    checkers
}

/// Says what is wrong where something does not hold.
fn ensure(checker: &'static str, holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::new(checker, what())) }
}
