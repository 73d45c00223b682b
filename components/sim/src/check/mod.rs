//! What must hold of every run. Each checker is in a file of its own.

pub mod answers;
pub mod counters;
pub mod linearizability;
pub mod scans;
pub mod timestamps;
pub mod watch;

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
    let _ = config;
    Vec::new()
}
