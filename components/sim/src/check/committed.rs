//! What is committed is on the disks of a quorum, the same everywhere, and stays.

use engine::LogOp;
use region::{MessageType, RegionMessage};
use types::{LogIndex, RegionId, StoreId, Term};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::{Ledger, RegionTruth};
use crate::observation::{Event, Observation};

const NAME: &str = "committed";

/// State machine safety (raft paper §5.4.3), and the quorum behind each commit that is applied or spoken of.
#[derive(Debug, Default)]
pub struct Committed;

/// An entry that a store applies is durable in its own log, is the one that others applied, and is on a quorum.
fn check_applied(store: StoreId, region: RegionId, ledger: &Ledger) -> Result<(), Violation> {
    let (Some(truth), Some(state)) = (ledger.region(region), ledger.state(store, region)) else { return Ok(()) };
    let (applied, term) = (state.apply_state.applied, state.apply_state.applied_term);
    let Some(committed) = truth.committed(applied) else { return Ok(()) };
    ensure(NAME, committed.term == term, || {
        format!(
            "region {region}: store {store} applied entry {applied} of term {term}, others one of {}",
            committed.term
        )
    })?;
    // Whoever applies it first meets the configuration by which it was committed; others may come much later.
    let is_first = applied == truth.frontier();
    ensure(NAME, !is_first || truth.is_on_quorum(applied), || {
        format!("region {region}: store {store} applied entry {applied}, which no quorum ever had on disk")
    })?;
    check_kept(store, region, truth, applied, ledger)
}

/// The local log holds what is applied, as long as it was not compacted.
fn check_kept(
    store: StoreId,
    region: RegionId,
    truth: &RegionTruth,
    applied: LogIndex,
    ledger: &Ledger,
) -> Result<(), Violation> {
    let Some(log) = ledger.log(store, region) else { return Ok(()) };
    let begins_behind = log.begins_behind().is_some_and(|behind| applied < behind);
    if applied <= truth.oldest() || begins_behind || log.bounds().is_some_and(|(first, _)| applied < first) {
        return Ok(());
    }
    let committed = truth.committed(applied).map(|entry| entry.chain);
    ensure(NAME, log.chain_at(applied) == committed, || {
        let held = log.slot(applied).map(|slot| slot.term);
        format!("region {region}: store {store} has applied entry {applied}, and its log holds another there: {held:?}")
    })
}

/// A commit index that is spoken of is one; and a leader's log holds what was committed before its term.
fn check_message(store: StoreId, message: &RegionMessage, ledger: &Ledger) -> Result<(), Violation> {
    let Some(truth) = ledger.region(message.region) else { return Ok(()) };
    let (region, raft) = (message.region, &message.raft);
    let commit = LogIndex(raft.commit);
    ensure(NAME, commit <= truth.frontier() || truth.is_on_quorum(commit), || {
        let kind = raft.get_msg_type();
        format!(
            "region {region}: store {store} says in {kind:?} that entry {commit} is committed, no quorum ever had it on disk"
        )
    })?;
    if raft.get_msg_type() != MessageType::MsgAppend {
        return Ok(());
    }
    let Some(before) = truth.committed_before(Term(raft.term)) else { return Ok(()) };
    let previous = (LogIndex(raft.index), Term(raft.log_term));
    let entries = raft.entries.iter().map(|entry| (LogIndex(entry.index), Term(entry.term)));
    for (index, term) in std::iter::once(previous).chain(entries).filter(|(index, _)| *index <= before) {
        let committed = truth.committed(index).filter(|_| index >= truth.oldest());
        ensure(NAME, committed.is_none_or(|entry| entry.term == term), || {
            format!(
                "region {region}: the leader on store {store} sends entry {index} of term {term}, another was committed before"
            )
        })?;
    }
    Ok(())
}

impl Checker for Committed {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        match &observation.event {
            Event::StateWritten { .. } => {
                ledger.changes().iter().try_for_each(|change| check_applied(store, change.region, ledger))
            }
            Event::LogWritten { batch, .. } => batch.ops.iter().try_for_each(|op| {
                let LogOp::Append { region, entries, .. } = op else { return Ok(()) };
                let (Some(first), Some(state)) = (entries.first(), ledger.state(store, *region)) else { return Ok(()) };
                let (applied, truth) = (state.apply_state.applied, ledger.region(*region));
                match truth.filter(|_| first.index <= applied.0) {
                    Some(truth) => check_kept(store, *region, truth, applied, ledger),
                    None => Ok(()),
                }
            }),
            Event::Sent { message } => check_message(store, message, ledger),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::*;

    #[test]
    fn nothing_is_applied_that_no_quorum_has() {
        let mut script = Script::new();
        script.append(1, vec![empty(6, 6)], hard_state(6, 101, 5)).fine();
        script.apply(1, apply_state(6, 6), &[]).violates(NAME, "which no quorum ever had");
    }

    #[test]
    fn entries_of_one_index_and_two_terms_make_no_quorum() {
        let mut script = Script::new();
        script.append(1, vec![empty(6, 6)], hard_state(6, 101, 5)).fine();
        script.append(2, vec![empty(6, 7)], hard_state(7, 102, 5)).fine();
        script.apply(1, apply_state(6, 6), &[]).violates(NAME, "which no quorum ever had");
    }

    #[test]
    fn what_a_wiped_disk_holds_under_its_old_peer_makes_no_quorum() {
        let mut script = Script::new().led();
        script.wipe(2);
        script.append(1, vec![empty(7, 6)], hard_state(6, 101, 6)).fine();
        script.append(2, vec![empty(6, 6), empty(7, 6)], hard_state(6, 0, 5)).fine();
        script.apply(1, apply_state(7, 6), &[]).violates(NAME, "which no quorum ever had");
    }

    #[test]
    fn what_a_quorum_had_stays_committed_when_one_of_it_is_wiped() {
        let mut script = Script::new();
        for store in [1, 2] {
            script.append(store, vec![empty(6, 6)], hard_state(6, 101, 5)).fine();
        }
        script.wipe(2);
        script.apply(1, apply_state(6, 6), &[]).fine();
    }

    #[test]
    fn all_stores_apply_the_same() {
        let mut script = Script::new().led();
        script.append(3, vec![empty(6, 7)], hard_state(7, 103, 5)).fine();
        script.apply(3, apply_state(6, 7), &[]).violates(NAME, "others one of 6");
    }

    #[test]
    fn what_is_applied_is_in_the_local_log() {
        let mut script = Script::new().led();
        script.apply(3, apply_state(6, 6), &[]).violates(NAME, "its log holds another");
        let mut script = Script::new();
        script.apply(3, apply_state(6, 6), &[]).violates("ledger", "not durable in the store's own log");
    }

    #[test]
    fn what_is_applied_stays_in_the_log() {
        let mut script = Script::new().led();
        script.append(1, vec![empty(6, 7)], hard_state(7, 101, 5)).violates(NAME, "its log holds another");
    }

    #[test]
    fn a_commit_that_is_spoken_of_is_one() {
        let says = |kind, commit| {
            let mut message = message(kind, 1, 3, 6);
            message.raft.commit = commit;
            message
        };
        for kind in [MessageType::MsgAppend, MessageType::MsgHeartbeat, MessageType::MsgAppendResponse] {
            let mut script = Script::new().led();
            script.append(1, vec![empty(7, 6)], hard_state(6, 101, 6)).fine();
            script.sent(says(kind, 6)).fine();
            script.sent(says(kind, 7)).violates(NAME, "says in");
        }
    }

    #[test]
    fn a_leader_sends_what_was_committed_before_it() {
        let mut script = Script::new().led();
        script.append(2, vec![], hard_state(7, 102, 5)).fine();
        let mut message = message(MessageType::MsgAppend, 2, 3, 7);
        (message.raft.index, message.raft.log_term) = (5, 5);
        message.raft.entries.push(empty(6, 6));
        script.sent(message.clone()).fine();
        message.raft.entries[0] = empty(6, 7);
        script.sent(message).violates(NAME, "another was committed before");
    }
}
