//! The ledger and all checkers over one cluster.

use crate::check::{Checker, Violation};
use crate::ledger::Ledger;
use crate::observation::Observation;

/// Feeds each observation to the ledger, then to the checkers in their order. One for each cluster: the stores of two
/// clusters share no ledger.
pub struct Watch {
    ledger: Ledger,
    checkers: Vec<Box<dyn Checker>>,
}

impl Watch {
    /// Watches with these checkers a cluster to which nothing has happened.
    pub fn new(checkers: Vec<Box<dyn Checker>>) -> Self {
        Self { ledger: Ledger::default(), checkers }
    }

    /// Adds a checker; it sees what happens from now on.
    pub fn add(&mut self, checker: Box<dyn Checker>) {
        self.checkers.push(checker);
    }

    /// Something happened.
    ///
    /// # Errors
    /// When it must not have happened. The run is over then: what follows from a violation says nothing more.
    pub fn observe(&mut self, observation: &Observation) -> Result<(), Violation> {
        self.ledger.observe(observation)?;
        let Self { ledger, checkers } = self;
        checkers.iter_mut().try_for_each(|checker| checker.observe(observation, ledger))
    }

    /// The run is over: every fault is healed and every store has caught up.
    ///
    /// # Errors
    /// When something is missing, or too much is there.
    pub fn finish(&mut self) -> Result<(), Violation> {
        let Self { ledger, checkers } = self;
        checkers.iter_mut().try_for_each(|checker| checker.finish(ledger))
    }

    /// What is true now.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
