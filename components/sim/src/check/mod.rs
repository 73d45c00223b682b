//! What must hold of every run. Each checker is in a file of its own.

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

    /// Takes something in that happened.
    ///
    /// # Errors
    /// When it must not have happened.
    fn observe(&mut self, observation: &Observation) -> Result<(), Violation>;

    /// The run is over: every fault is healed and every store has caught up.
    ///
    /// # Errors
    /// When something is missing, or too much is there.
    fn finish(&mut self) -> Result<(), Violation> {
        Ok(())
    }
}
