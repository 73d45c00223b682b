//! The one account of what is true, assembled from observations alone.

use crate::check::Violation;
use crate::observation::Observation;

/// What both engines of every store hold, and which entries are committed.
#[derive(Debug, Default)]
pub struct Ledger {}

impl Ledger {
    /// Something happened.
    ///
    /// # Errors
    /// When it contradicts what happened before.
    pub fn observe(&mut self, observation: &Observation) -> Result<(), Violation> {
        let _ = observation;
        Ok(())
    }
}
