//! A store opens after every crash, and never fails but for a fault of its disk.

use crate::check::{Checker, Violation, ensure};
use crate::ledger::Ledger;
use crate::observation::{Event, Observation};

const NAME: &str = "opening";

/// Knows no reason for which a store with a sound disk may refuse to go on.
#[derive(Debug, Default)]
pub struct Opening;

impl Checker for Opening {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, _: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        match &observation.event {
            Event::RefusedToOpen { error, expected } => {
                ensure(NAME, *expected, || format!("store {store} refuses to open a sound disk: {error}"))
            }
            Event::Failed { error, expected } => {
                ensure(NAME, *expected, || format!("store {store} failed on a sound disk: {error}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::*;

    #[test]
    fn only_what_was_damaged_may_refuse() {
        for expected in [true, false] {
            let mut script = Script::new();
            let error = || "words".to_owned();
            let verdicts = [
                script.see(1, Event::RefusedToOpen { error: error(), expected }),
                script.see(1, Event::Failed { error: error(), expected }),
            ];
            for verdict in verdicts {
                if expected { verdict.fine() } else { verdict.violates(NAME, "words") }
            }
        }
    }
}
