//! Who has no state is silent: a peer whose snapshot is being applied, and one that waits for its parent's split (D8, D10).

use engine::Birth;
use types::{RegionId, StoreId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::Ledger;
use crate::observation::{Event, Observation};

const NAME: &str = "silence";

/// Watches what leaves a store against what its engines hold of the sender.
#[derive(Debug, Default)]
pub struct Silence;

fn check(store: StoreId, region: RegionId, ledger: &Ledger) -> Result<(), Violation> {
    let Some(account) = ledger.store(store) else { return Ok(()) };
    let is_marked = account.log.durable().markers.contains_key(&region);
    ensure(NAME, !is_marked, || {
        format!("region {region}: store {store} speaks while a snapshot takes the place of its state")
    })?;
    let birth = account.region_log(region).and_then(|log| log.lifecycle).map(|lifecycle| lifecycle.birth);
    let needs_state = matches!(birth, Some(Birth::Split { .. } | Birth::Bootstrap));
    let is_there = account.state.regions().contains_key(&region);
    ensure(NAME, !needs_state || is_there, || {
        format!("region {region}: store {store} speaks for a peer of birth {birth:?}, whose state it does not have")
    })
}

impl Checker for Silence {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        match &observation.event {
            Event::Sent { message } => check(observation.store, message.region, ledger),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::{Durability, Family, Lifecycle, LogOp, SnapshotMarker, StateBatch, meta};
    use region::MessageType;
    use types::{KeyRange, LogIndex, PeerId, Term};

    use super::*;
    use crate::check::testing::*;

    fn script() -> Script {
        Script::with(vec![Box::new(Silence)]).led()
    }

    fn speak(script: &mut Script) -> Result<(), Violation> {
        script.sent(message(MessageType::MsgHeartbeat, 1, 2, 6))
    }

    #[test]
    fn whoever_is_replaced_is_silent() {
        let mut script = script();
        speak(&mut script).fine();
        let marker = SnapshotMarker {
            peer: PeerId(101),
            descriptor: descriptor(LOW),
            index: LogIndex(6),
            term: Term(6),
            number: 1,
            clear: vec![KeyRange::new("", "m")],
            absorbed: Vec::new(),
        };
        script.write_log(1, vec![LogOp::PutMarker(Box::new(marker))], Durability::Synced).fine();
        speak(&mut script).violates(NAME, "takes the place of its state");
        script.write_log(1, vec![LogOp::DropMarker { region: LOW }], Durability::Synced).fine();
        speak(&mut script).fine();
    }

    #[test]
    fn a_dormant_child_is_silent_and_a_newcomer_is_not() {
        let born = |script: &mut Script, birth| {
            let lifecycle = Lifecycle { peer: Some(PeerId(101)), next_peer: PeerId(102), birth };
            script.write_log(1, vec![LogOp::PutLifecycle { region: LOW, lifecycle }], Durability::Synced).fine();
            let mut batch = StateBatch::default();
            batch.delete(Family::Meta, meta::descriptor_key(LOW));
            batch.delete(Family::Meta, meta::apply_state_key(LOW));
            script.write_state(1, batch).fine();
            speak(script)
        };
        let split = Birth::Split { parent: HIGH, parent_peer: PeerId(201), index: LogIndex(7) };
        born(&mut script(), split).violates(NAME, "whose state it does not have");
        born(&mut script(), Birth::Message).fine();
    }
}
