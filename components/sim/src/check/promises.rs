//! A message leaves only once the disk keeps what it promises (D1), and no vote is ever given twice.

use std::collections::BTreeMap;

use engine::{Birth, Durability, HardState, LogOp, RegionLogState};
use region::{MessageType, RegionMessage};
use types::{InstanceId, LogIndex, PeerId, RegionId, StoreId, Term};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::{Ledger, LogAccount, RegionTruth};
use crate::observation::{Event, Observation};

const NAME: &str = "promises";

/// A peer on one life of its store's disk.
type Voter = (RegionId, PeerId, InstanceId);

/// What a voter's disk ever said.
#[derive(Debug, Default)]
struct Ballot {
    newest: HardState,
    /// For whom it voted, by term: what was on disk, and what was said once the disk knew a newer term.
    votes: BTreeMap<Term, PeerId>,
}

impl Ballot {
    /// Whether the disk keeps the voter from ever voting for another candidate in a term. A newer term that is durable
    /// does so as well: a round that goes through several terms writes only the last.
    fn binds(&mut self, term: Term, candidate: PeerId) -> bool {
        if term < self.newest.term {
            return *self.votes.entry(term).or_insert(candidate) == candidate;
        }
        term == self.newest.term && self.newest.vote == candidate
    }
}

/// Watches what leaves a store against what is durable there.
#[derive(Debug, Default)]
pub struct Promises {
    ballots: BTreeMap<Voter, Ballot>,
}

impl Promises {
    /// A hard state is durable: its term and commit never fall, and a term's vote is for one candidate for ever.
    fn on_hard_state(&mut self, voter: Voter, state: HardState) -> Result<(), Violation> {
        let ballot = self.ballots.entry(voter).or_default();
        let (before, (region, peer, _)) = (ballot.newest, voter);
        ensure(NAME, before.term <= state.term && before.commit <= state.commit, || {
            format!("region {region}: the hard state of peer {peer} goes back from {before:?} to {state:?}")
        })?;
        let voted = ballot.votes.get(&state.term).copied().unwrap_or(state.vote);
        ensure(NAME, voted == state.vote, || {
            let (term, vote) = (state.term, state.vote);
            format!("region {region}: peer {peer} voted in term {term} for {voted}, and now for {vote}")
        })?;
        ballot.newest = state;
        if state.vote != PeerId(0) {
            ballot.votes.insert(state.term, state.vote);
        }
        Ok(())
    }

    fn on_sent(&mut self, store: StoreId, message: &RegionMessage, ledger: &Ledger) -> Result<(), Violation> {
        let (region, peer, raft) = (message.region, message.from.id, &message.raft);
        let (kind, term) = (raft.get_msg_type(), Term(raft.term));
        let promise = |holds: bool, what: &str| {
            ensure(NAME, holds, || {
                format!(
                    "region {region}: peer {peer} on store {store} sent {kind:?} of term {term} to {}, {what}",
                    message.to.id
                )
            })
        };
        let log = ledger.log(store, region);
        promise(log.and_then(LogAccount::peer) == Some(peer), "and its disk knows no such peer")?;
        let Some(log) = log else { return Ok(()) };
        // A pre-vote speaks of a term that nobody has entered.
        if is_ahead_of_its_term(message) {
            return Ok(());
        }
        promise(term <= log.hard_state().term, "and its disk knows only an older term")?;
        let instance = ledger.store(store).map(|store| store.instance()).unwrap_or_default();
        let ballot = self.ballots.entry((region, peer, instance)).or_default();
        match kind {
            MessageType::MsgRequestVoteResponse if !raft.reject => {
                promise(ballot.binds(term, message.to.id), "and its disk does not know that vote")
            }
            MessageType::MsgRequestVote
            | MessageType::MsgAppend
            | MessageType::MsgHeartbeat
            | MessageType::MsgSnapshot
            | MessageType::MsgTimeoutNow => {
                promise(ballot.binds(term, peer), "and its disk does not know its vote for itself")
            }
            MessageType::MsgAppendResponse if !raft.reject => {
                let index = LogIndex(raft.index);
                let holds = acknowledges(log, ledger.region(region), peer, index, term);
                promise(holds, &format!("and entry {index} is not on its disk"))
            }
            _ => Ok(()),
        }
    }
}

fn is_ahead_of_its_term(message: &RegionMessage) -> bool {
    match message.raft.get_msg_type() {
        MessageType::MsgRequestPreVote => true,
        MessageType::MsgRequestPreVoteResponse => !message.raft.reject,
        _ => false,
    }
}

/// Whether a split made the peer: its region's first state is durable by its parent's log, where its own has no entry (D7).
fn is_by_split(log: &LogAccount) -> bool {
    log.lifecycle.is_some_and(|lifecycle| matches!(lifecycle.birth, Birth::Split { .. }))
}

/// Whether everything up to an index is durable. A message of an older term may speak of entries that were replaced
/// since, but they must have been there.
fn acknowledges(log: &LogAccount, truth: Option<&RegionTruth>, peer: PeerId, index: LogIndex, term: Term) -> bool {
    if index <= log.last_index() || truth.is_some_and(|truth| index <= truth.origin()) && is_by_split(log) {
        return true;
    }
    term < log.hard_state().term && truth.is_some_and(|truth| truth.was_durable_on(peer, index))
}

impl Checker for Promises {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        let instance = || ledger.store(store).map(|store| store.instance()).unwrap_or_default();
        match &observation.event {
            // A batch may hold several of one region, written together: each of them was on disk.
            Event::LogWritten { batch, durability: Durability::Synced } => batch.ops.iter().try_for_each(|op| {
                let LogOp::Append { region, peer, hard_state, .. } = op else { return Ok(()) };
                self.on_hard_state((*region, *peer, instance()), *hard_state)
            }),
            // A write that failed may be found after all.
            Event::Opened { content } => content.logs.iter().try_for_each(|(log, _)| {
                let Some(RegionLogState { peer, hard_state }) = log.state else { return Ok(()) };
                self.on_hard_state((log.region, peer, instance()), hard_state)
            }),
            Event::Sent { message } => self.on_sent(store, message, ledger),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use engine::memory::CrashPoint;

    use super::*;
    use crate::check::testing::*;

    fn answer(kind: MessageType, term: u64, index: u64) -> RegionMessage {
        let mut message = message(kind, 2, 1, term);
        message.raft.index = index;
        message
    }

    #[test]
    fn an_acknowledgement_follows_the_entries() {
        let mut script = Script::new().led();
        script.sent(answer(MessageType::MsgAppendResponse, 6, 6)).fine();
        script.sent(answer(MessageType::MsgAppendResponse, 6, 7)).violates(NAME, "entry 7 is not on its disk");

        let mut script = Script::new().led();
        let ops = vec![append(LOW, 2, vec![empty(7, 6)], hard_state(6, 101, 5))];
        script.write_log(2, ops, Durability::Buffered).fine();
        script.sent(answer(MessageType::MsgAppendResponse, 6, 7)).violates(NAME, "entry 7 is not on its disk");
        let mut refusal = answer(MessageType::MsgAppendResponse, 6, 7);
        refusal.raft.reject = true;
        script.sent(refusal).fine();
    }

    #[test]
    fn an_old_acknowledgement_may_speak_of_what_was_replaced() {
        let mut script = Script::new().led();
        script.append(2, vec![empty(7, 6), empty(8, 6)], hard_state(6, 101, 5)).fine();
        script.append(2, vec![empty(7, 7)], hard_state(7, 103, 5)).fine();
        script.sent(answer(MessageType::MsgAppendResponse, 6, 8)).fine();
        script.sent(answer(MessageType::MsgAppendResponse, 6, 9)).violates(NAME, "entry 9 is not on its disk");
    }

    #[test]
    fn a_vote_follows_its_record() {
        let vote = |script: &mut Script, term| script.sent(answer(MessageType::MsgRequestVoteResponse, term, 0));
        let script = || Script::with(vec![Box::new(Promises::default())]).led();
        vote(&mut script(), 6).fine();
        vote(&mut script(), 7).violates(NAME, "knows only an older term");
        let mut other = script();
        other.append(2, vec![], hard_state(7, 103, 5)).fine();
        vote(&mut other, 7).violates(NAME, "does not know that vote");
        // Of a term that has passed, a vote that was written then.
        vote(&mut other, 6).fine();
        let mut script = script();
        script.append(2, vec![], hard_state(7, 0, 5)).fine();
        let mut refusal = answer(MessageType::MsgRequestVoteResponse, 7, 0);
        refusal.raft.reject = true;
        script.sent(refusal).fine();
    }

    #[test]
    fn votes_of_two_terms_may_be_written_together() {
        let mut script = Script::with(vec![Box::new(Promises::default())]).led();
        let ops = vec![append(LOW, 2, vec![], hard_state(7, 101, 5)), append(LOW, 2, vec![], hard_state(8, 103, 5))];
        script.write_log(2, ops, Durability::Synced).fine();
        script.sent(answer(MessageType::MsgRequestVoteResponse, 7, 0)).fine();
        script.sent(answer(MessageType::MsgRequestVoteResponse, 8, 0)).violates(NAME, "does not know that vote");
    }

    #[test]
    fn a_newer_term_on_disk_binds_a_voter_to_what_it_says_of_an_older() {
        let mut script = Script::with(vec![Box::new(Promises::default())]).led();
        script.append(2, vec![], hard_state(9, 0, 5)).fine();
        script.sent(answer(MessageType::MsgRequestVoteResponse, 8, 0)).fine();
        script.sent(answer(MessageType::MsgRequestVoteResponse, 8, 0)).fine();
        let mut other = answer(MessageType::MsgRequestVoteResponse, 8, 0);
        other.to = peer(LOW, 3);
        script.sent(other).violates(NAME, "does not know that vote");
    }

    #[test]
    fn a_vote_that_is_found_again_counts() {
        let mut script = Script::with(vec![Box::new(Promises::default())]).led();
        let batch = engine::LogBatch { ops: vec![append(LOW, 2, vec![], hard_state(7, 101, 5))] };
        script.see(2, Event::LogWriteFailed { batch: batch.into() }).fine();
        script
            .open_on(2, |content| {
                content.logs[0].0.state.as_mut().unwrap().hard_state = hard_state(7, 101, 5);
            })
            .fine();
        script.sent(answer(MessageType::MsgRequestVoteResponse, 7, 0)).fine();
        script.append(2, vec![], hard_state(7, 103, 5)).violates(NAME, "voted in term 7");
    }

    #[test]
    fn a_pre_vote_promises_nothing() {
        let mut script = Script::with(vec![Box::new(Promises::default())]).led();
        script.sent(answer(MessageType::MsgRequestPreVote, 7, 0)).fine();
        script.sent(answer(MessageType::MsgRequestPreVoteResponse, 7, 0)).fine();
        let mut refusal = answer(MessageType::MsgRequestPreVoteResponse, 7, 0);
        refusal.raft.reject = true;
        script.sent(refusal).violates(NAME, "knows only an older term");
    }

    #[test]
    fn a_leader_speaks_once_its_term_and_vote_are_written() {
        for kind in [MessageType::MsgRequestVote, MessageType::MsgAppend, MessageType::MsgHeartbeat] {
            let mut script = Script::with(vec![Box::new(Promises::default())]).led();
            script.sent(answer(kind, 7, 5)).violates(NAME, "knows only an older term");
            script.append(2, vec![], hard_state(7, 0, 5)).fine();
            script.sent(answer(kind, 7, 5)).violates(NAME, "its vote for itself");
            script.append(2, vec![], hard_state(7, 102, 5)).fine();
            script.sent(answer(kind, 7, 5)).fine();
        }
    }

    #[test]
    fn a_term_has_one_vote_across_restarts() {
        let mut script = Script::new().led();
        script.crash(2, CrashPoint::OLDEST);
        script.open(2).fine();
        script.append(2, vec![], hard_state(6, 103, 5)).violates(NAME, "voted in term 6 for 101, and now for 103");
    }

    #[test]
    fn a_hard_state_goes_forward() {
        Script::new().led().append(2, vec![], hard_state(5, 0, 5)).violates(NAME, "goes back");
        Script::new().led().append(2, vec![], hard_state(6, 101, 4)).violates(NAME, "goes back");
        Script::new().led().append(2, vec![], hard_state(6, 0, 5)).violates(NAME, "and now for 0");
    }

    #[test]
    fn another_life_of_a_disk_votes_for_itself() {
        let mut script = Script::new().led();
        script.wipe(2);
        script.append(2, vec![], hard_state(6, 103, 5)).fine();
    }

    #[test]
    fn a_peer_that_the_disk_does_not_know_is_silent() {
        let mut script = Script::with(vec![Box::new(Promises::default())]).led();
        let mut message = answer(MessageType::MsgHeartbeatResponse, 6, 0);
        message.from.id = PeerId(999);
        script.sent(message).violates(NAME, "its disk knows no such peer");
    }
}
