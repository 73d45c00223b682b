//! A term of a region has one leader, and that leader has every entry that was committed before its term.

use std::collections::BTreeMap;

use region::{MessageType, RegionMessage, Role};
use store::RegionView;
use types::{PeerId, RegionId, StoreId, Term};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::Ledger;
use crate::observation::{Event, Observation};

const NAME: &str = "election";

/// Election safety and leader completeness (raft paper §5.2, §5.4).
#[derive(Debug, Default)]
pub struct Election {
    leaders: BTreeMap<(RegionId, Term), PeerId>,
}

impl Election {
    fn leads(&mut self, region: RegionId, term: Term, peer: PeerId) -> Result<bool, Violation> {
        let mut is_new = false;
        let leader = *self.leaders.entry((region, term)).or_insert_with(|| {
            is_new = true;
            peer
        });
        ensure(NAME, leader == peer, || {
            format!("region {region}: peers {leader} and {peer} both lead in term {term}")
        })?;
        Ok(is_new)
    }

    fn on_role(&mut self, store: StoreId, view: &RegionView, ledger: &Ledger) -> Result<(), Violation> {
        let region = view.descriptor.id;
        if view.role != Role::Leader || !self.leads(region, view.term, view.peer.id)? {
            return Ok(());
        }
        is_complete(store, region, view.term, ledger)
    }

    fn on_sent(&mut self, message: &RegionMessage) -> Result<(), Violation> {
        let of_leader = matches!(
            message.raft.get_msg_type(),
            MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot | MessageType::MsgTimeoutNow
        );
        if of_leader {
            self.leads(message.region, Term(message.raft.term), message.from.id)?;
        }
        Ok(())
    }
}

fn is_complete(store: StoreId, region: RegionId, term: Term, ledger: &Ledger) -> Result<(), Violation> {
    let Some(truth) = ledger.region(region) else { return Ok(()) };
    let Some((index, committed)) = truth.committed_before(term).and_then(|at| Some((at, truth.committed(at)?))) else {
        return Ok(());
    };
    let log = ledger.log(store, region);
    // What the log no longer holds was applied here, and checked then.
    let first = log.and_then(|log| log.bounds()).map(|(first, _)| first);
    let begins_behind = log.and_then(|log| log.begins_behind());
    let is_compacted = index == truth.origin()
        || first.is_some_and(|first| first > index.next())
        || begins_behind.is_some_and(|behind| behind > index);
    let holds = log.and_then(|log| log.chain_at(index)) == Some(committed.chain);
    ensure(NAME, holds || is_compacted, || {
        let by_term = committed.by_term;
        format!(
            "region {region}: store {store} leads in term {term} without entry {index}, which was committed by term {by_term}"
        )
    })
}

impl Checker for Election {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        match &observation.event {
            Event::RegionChanged { view } => self.on_role(observation.store, view, ledger),
            Event::Sent { message } => self.on_sent(message),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::*;

    #[test]
    fn a_term_has_one_leader() {
        let mut script = Script::new().led();
        script.role(LOW, 1, Role::Leader, 6).fine();
        script.role(HIGH, 2, Role::Leader, 6).fine();
        script.role(LOW, 2, Role::Follower, 6).fine();
        script.role(LOW, 2, Role::Leader, 6).violates(NAME, "both lead in term 6");
    }

    #[test]
    fn whoever_speaks_as_a_leader_is_one() {
        for kind in [MessageType::MsgAppend, MessageType::MsgHeartbeat, MessageType::MsgTimeoutNow] {
            let mut script = Script::with(vec![Box::new(Election::default())]).led();
            script.sent(message(kind, 1, 3, 6)).fine();
            script.sent(message(MessageType::MsgAppendResponse, 2, 1, 6)).fine();
            script.sent(message(kind, 2, 3, 6)).violates(NAME, "peers 101 and 102");
        }
    }

    #[test]
    fn a_leader_has_what_was_committed_before_it() {
        let mut script = Script::new().led();
        script.append(3, vec![], hard_state(7, 103, 5)).fine();
        script.role(LOW, 3, Role::Leader, 7).violates(NAME, "leads in term 7 without entry 6");

        let mut script = Script::new().led();
        script.append(2, vec![], hard_state(7, 102, 5)).fine();
        script.role(LOW, 2, Role::Leader, 7).fine();
    }

    #[test]
    fn a_leader_that_comes_late_need_not_have_what_was_committed_after_its_term() {
        let mut script = Script::new();
        script.append(3, vec![], hard_state(6, 103, 5)).fine();
        for store in [1, 2] {
            script.append(store, vec![empty(6, 7)], hard_state(7, 101, 5)).fine();
        }
        script.apply(1, apply_state(6, 7), &[]).fine();
        script.role(LOW, 3, Role::Leader, 6).fine();
    }
}
