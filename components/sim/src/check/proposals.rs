//! Each request is answered once, and a write only when it is in the committed log and applied where it is answered.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{Instant, LogIndex, RegionId, StoreId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::digest::command_hash;
use crate::ledger::{CommittedCommand, Ledger};
use crate::observation::{Event, Observation};

pub(crate) const NAME: &str = "proposals";

/// How long a request may wait in a healthy cluster. The coordinator never stops asking, so one may be on its way when a
/// run ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    store: StoreId,
    write: Option<Write>,
}

/// A region's command, by hash: two clients may ask for the same.
type Write = (RegionId, u64);

/// How often a command was asked for, how often it was answered, and where it stands in the log.
#[derive(Debug, Default)]
struct Count {
    asked: usize,
    answered: usize,
    committed: usize,
    /// Its entries that no answer speaks of yet.
    unclaimed: Vec<LogIndex>,
}

impl Count {
    fn is_settled(&self) -> bool {
        self.answered == self.asked && self.committed == self.asked
    }

    /// Takes the newest entry up to an index for an answer. A store that has applied less can only mean an older one,
    /// so the newest is the one to take.
    fn claim(&mut self, applied: LogIndex) -> bool {
        let fitting = self.unclaimed.iter().enumerate().filter(|(_, index)| **index <= applied);
        let newest = fitting.max_by_key(|(_, index)| **index).map(|(at, _)| at);
        newest.map(|at| self.unclaimed.swap_remove(at)).is_some()
    }
}

/// Follows every request to its answer, and every command into the log.
#[derive(Debug, Default)]
pub struct Proposals {
    now: Instant,
    waiting: BTreeMap<u64, Waiting>,
    writes: BTreeMap<Write, Count>,
}

impl Proposals {
    fn on_answer(&mut self, store: StoreId, number: u64, applied: bool, ledger: &Ledger) -> Result<(), Violation> {
        let Some(waiting) = self.waiting.remove(&number) else {
            return ensure(NAME, false, || format!("store {store} answers request {number}, for which nobody waits"));
        };
        ensure(NAME, waiting.store == store, || {
            format!("store {store} answers request {number}, which was asked of store {}", waiting.store)
        })?;
        let Some(write) = waiting.write else { return Ok(()) };
        let Some(count) = self.writes.get_mut(&write) else { return Ok(()) };
        count.answered += 1;
        if applied {
            let region = write.0;
            let here = ledger.state(store, region).map(|state| state.apply_state.applied).unwrap_or_default();
            ensure(NAME, count.claim(here), || {
                format!(
                    "region {region}: store {store} answers request {number} as applied, and has applied no entry with it up to {here}"
                )
            })?;
        }
        if count.is_settled() {
            self.writes.remove(&write);
        }
        Ok(())
    }

    fn on_committed(&mut self, command: &CommittedCommand) -> Result<(), Violation> {
        let write = (command.region, command.hash);
        let Some(count) = self.writes.get_mut(&write).filter(|count| count.committed < count.asked) else {
            return ensure(NAME, false, || {
                format!(
                    "region {}: entry {} holds a command more often than it was asked for",
                    command.region, command.index
                )
            });
        };
        count.committed += 1;
        count.unclaimed.push(command.index);
        if count.is_settled() {
            self.writes.remove(&write);
        }
        Ok(())
    }
}

impl Checker for Proposals {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        self.now = observation.at;
        match &observation.event {
            Event::Asked { number, region, command } => {
                let write = command.as_ref().map(|command| (*region, command_hash(command)));
                if let Some(write) = write {
                    self.writes.entry(write).or_default().asked += 1;
                }
                let before = self.waiting.insert(*number, Waiting { since: self.now, store, write });
                ensure(NAME, before.is_none(), || format!("request {number} was asked twice"))
            }
            Event::Answered { number, applied } => self.on_answer(store, *number, *applied, ledger),
            Event::StateWritten { .. } => {
                ledger.committed_commands().iter().try_for_each(|command| self.on_committed(command))
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, _: &Ledger) -> Result<(), Violation> {
        let forgotten = |(_, waiting): &(&u64, &Waiting)| self.now.since(waiting.since) > PATIENCE;
        let oldest = self.waiting.iter().find(forgotten);
        ensure(NAME, oldest.is_none(), || {
            let still = self.waiting.iter().filter(forgotten).count();
            format!("{still} requests were never answered, among them {oldest:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::*;

    /// Request 1 for `a = 1` of store 1; entry 7 with it is durable on stores 1 and 2.
    fn script() -> Script {
        let mut script = Script::new().led();
        script.asked(1, 1, Some(put("a", "1"))).fine();
        for store in [1, 2] {
            script.append(store, vec![entry(7, 6, put("a", "1"))], hard_state(6, 101, 5)).fine();
        }
        script
    }

    #[test]
    fn an_answer_follows_its_entry() {
        let mut script = script();
        script.apply(1, apply_state(7, 6), &[("a", "1")]).fine();
        script.answered(1, 1, true).fine();
        script.watch().finish().violates("replay", "has applied");
    }

    #[test]
    fn nothing_is_answered_before_it_is_applied_here() {
        script().answered(1, 1, true).violates(NAME, "has applied no entry with it");
        script().answered(1, 1, false).fine();
        let mut script = script();
        script.apply(2, apply_state(7, 6), &[("a", "1")]).fine();
        script.answered(1, 1, true).violates(NAME, "has applied no entry with it");
    }

    #[test]
    fn equal_commands_are_counted() {
        let mut script = script();
        script.asked(1, 2, Some(put("a", "1"))).fine();
        script.apply(1, apply_state(7, 6), &[("a", "1")]).fine();
        script.answered(1, 2, true).fine();
        script.answered(1, 1, true).violates(NAME, "has applied no entry with it");
    }

    #[test]
    fn an_answer_of_a_store_that_lags_means_an_older_entry() {
        let mut script = script();
        script.asked(2, 2, Some(put("a", "1"))).fine();
        for store in [1, 2] {
            script.append(store, vec![entry(8, 6, put("a", "1"))], hard_state(6, 101, 5)).fine();
        }
        script.apply(2, apply_state(8, 6), &[("a", "1")]).fine();
        script.answered(2, 2, true).fine();
        script.apply(1, apply_state(7, 6), &[("a", "1")]).fine();
        script.answered(1, 1, true).fine();
    }

    #[test]
    fn a_request_is_answered_once_by_whom_it_was_asked() {
        let mut script = Script::new();
        script.asked(1, 1, None).fine();
        script.asked(1, 2, None).fine();
        script.asked(1, 2, None).violates(NAME, "asked twice");
        script.answered(1, 1, true).fine();
        script.answered(1, 1, true).violates(NAME, "nobody waits");
        script.answered(2, 2, true).violates(NAME, "asked of store 1");
    }

    #[test]
    fn what_nobody_asked_for_is_not_in_the_log() {
        let mut script = script();
        for store in [1, 2] {
            script.append(store, vec![entry(8, 6, put("a", "1"))], hard_state(6, 101, 5)).fine();
        }
        script.apply(1, apply_state(7, 6), &[("a", "1")]).fine();
        script.apply(1, apply_state(8, 6), &[("a", "1")]).violates(NAME, "more often than it was asked for");
    }

    #[test]
    fn every_request_is_answered_in_the_end() {
        let mut script = Script::with(vec![Box::new(Proposals::default())]);
        script.asked(1, 1, None).fine();
        script.watch().finish().fine();
        script.pass(PATIENCE * 2);
        script.asked(1, 2, None).fine();
        script.watch().finish().violates(NAME, "1 requests were never answered");
        script.answered(1, 1, false).fine();
        script.watch().finish().fine();
    }

    #[test]
    fn nothing_is_kept_of_what_is_settled() {
        let mut proposals = Proposals::default();
        proposals.writes.insert((LOW, 1), Count { asked: 1, answered: 1, ..Count::default() });
        proposals.on_committed(&CommittedCommand { region: LOW, index: LogIndex(7), hash: 1 }).fine();
        assert!(proposals.writes.is_empty());
    }
}
