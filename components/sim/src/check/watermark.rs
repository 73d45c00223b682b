//! Nothing leaves a log before the state engine durably needs it no more (D3, D5).

use engine::LogOp;
use types::{LogIndex, RegionId, StoreId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::Ledger;
use crate::observation::{Event, Observation};

const NAME: &str = "watermark";

/// Compares each deletion with the durable part of S.
#[derive(Debug, Default)]
pub struct Watermark;

fn check_delete(store: StoreId, region: RegionId, end: LogIndex, ledger: &Ledger) -> Result<(), Violation> {
    let account = ledger.store(store);
    let durable = account.and_then(|store| store.state.durable().get(&region));
    // Of a peer whose end is durable nothing is needed any more.
    let peer = account.and_then(|store| store.region_log(region)).and_then(|log| log.peer());
    if durable.is_none() && account.zip(peer).is_some_and(|(store, peer)| store.state.is_ending(region, peer)) {
        return Ok(());
    }
    let truncated = durable.map(|state| state.apply_state.truncated).unwrap_or_default();
    ensure(NAME, end <= truncated.next(), || {
        format!(
            "region {region}: store {store} deletes its log below {end}, durable is only the compaction up to {truncated}"
        )
    })
}

impl Checker for Watermark {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let Event::LogWritten { batch, .. } = &observation.event else { return Ok(()) };
        batch.ops.iter().try_for_each(|op| match op {
            LogOp::DeleteTo { region, end, .. } => check_delete(observation.store, *region, *end, ledger),
            _ => Ok(()),
        })
    }
}

#[cfg(test)]
mod tests {
    use engine::{ApplyState, Durability};

    use super::*;
    use crate::check::testing::*;

    /// Store 1 has applied a compaction up to entry 6.
    fn script() -> Script {
        let mut script = Script::new().led();
        for store in [1, 2] {
            script.append(store, vec![compaction(7, 6, 6)], hard_state(6, 101, 5)).fine();
        }
        let truncated = ApplyState { truncated: LogIndex(6), truncated_term: types::Term(6), ..apply_state(7, 6) };
        script.apply(1, truncated, &[]).fine();
        script
    }

    #[test]
    fn a_deletion_waits_for_the_flush() {
        let delete = |script: &mut Script, end| script.write_log(1, vec![delete_to(LOW, 1, end)], Durability::Buffered);
        delete(&mut script(), 6).fine();
        delete(&mut script(), 7).violates(NAME, "durable is only the compaction up to 5");
        let mut flushed = script();
        flushed.flush(1).fine();
        delete(&mut flushed, 7).fine();
        delete(&mut flushed, 8).violates(NAME, "durable is only the compaction up to 6");
    }

    #[test]
    fn another_stores_flush_does_not_count() {
        let mut script = script();
        script.flush(2).fine();
        script.write_log(1, vec![delete_to(LOW, 1, 7)], Durability::Synced).violates(NAME, "deletes its log below 7");
    }
}
