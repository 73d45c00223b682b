//! A store that was opened takes no part in elections for one election timeout (D8).

use std::collections::BTreeMap;

use engine::LogOp;
use region::{MessageType, RegionMessage};
use types::limits::{INITIAL_LOG_INDEX, INITIAL_LOG_TERM};
use types::{PeerId, RegionId, StoreId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::{Ledger, StateAccount};
use crate::observation::{Event, Observation};

const NAME: &str = "restart";

/// A life of a store's process.
#[derive(Debug, Default)]
struct Life {
    ticks: u32,
    /// Regions to which something had happened before: they may have forgotten a leader. Those to which nothing had, and
    /// those that are born in this life, have not.
    bound: BTreeMap<RegionId, Option<PeerId>>,
}

/// Watches votes and campaigns behind each opening.
#[derive(Debug)]
pub struct Restart {
    election_ticks: u32,
    lives: BTreeMap<StoreId, Life>,
}

impl Restart {
    /// For stores with this election timeout.
    pub fn new(election_ticks: u32) -> Self {
        Self { election_ticks, lives: BTreeMap::new() }
    }

    fn on_opened(&mut self, store: StoreId, ledger: &Ledger) {
        let Some(account) = ledger.store(store) else { return };
        let is_fresh = |region: &RegionId| {
            let is_born = |state: &StateAccount| state.apply_state.applied.0 == INITIAL_LOG_INDEX;
            let Some(log) = account.region_log(*region) else {
                // A child whose split L never heard of has never run (D8).
                return account.state.regions().get(region).is_some_and(is_born);
            };
            if !log.is_empty() || log.hard_state().vote != PeerId(0) {
                return false;
            }
            // One whose state the store has forgotten knew no leader as long as it knew no term.
            account.state.regions().get(region).map_or(log.hard_state().term.0 <= INITIAL_LOG_TERM, is_born)
        };
        // What an interrupted bootstrap left in the state engine alone has never run (D14).
        let has_run = account.log.durable().ident.is_some();
        let regions = account.log.durable().regions.keys().chain(account.state.regions().keys());
        let bound = regions.copied().filter(|region| has_run && !is_fresh(region));
        let peer = |region: RegionId| account.region_log(region)?.lifecycle?.peer;
        let bound = bound.map(|region| (region, peer(region))).collect();
        self.lives.insert(store, Life { ticks: 0, bound });
    }

    fn on_sent(&self, store: StoreId, message: &RegionMessage) -> Result<(), Violation> {
        let (kind, reject) = (message.raft.get_msg_type(), message.raft.reject);
        let takes_part = match kind {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => true,
            MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => !reject,
            _ => false,
        };
        let Some(life) = self.lives.get(&store).filter(|_| takes_part) else { return Ok(()) };
        let region = message.region;
        ensure(NAME, life.ticks >= self.election_ticks || !life.bound.contains_key(&region), || {
            format!("region {region}: store {store} sent {kind:?} only {} ticks after it was opened", life.ticks)
        })
    }
}

impl Checker for Restart {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        match &observation.event {
            Event::Opened { .. } => self.on_opened(store, ledger),
            Event::Ticked => self.lives.entry(store).or_default().ticks += 1,
            // Another peer than the one that was there has nothing to forget.
            Event::LogWritten { batch, .. } => {
                let Some(life) = self.lives.get_mut(&store) else { return Ok(()) };
                for op in &batch.ops {
                    if let LogOp::PutLifecycle { region, lifecycle } = op {
                        let is_known = |known: &Option<PeerId>| known.is_none() || *known == lifecycle.peer;
                        life.bound.retain(|bound, known| bound != region || is_known(known));
                    }
                }
            }
            Event::Sent { message } => return self.on_sent(store, message),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::memory::CrashPoint;
    use engine::meta::{self, RegionState};
    use engine::{StateBatch, StateOp};

    use super::*;
    use crate::check::testing::*;
    use crate::observation::DiskContent;

    fn script() -> Script {
        let mut script = Script::with(vec![Box::new(Restart::new(3))]).led();
        script.crash(2, CrashPoint::OLDEST);
        script.open(2).fine();
        script
    }

    #[test]
    fn votes_wait_for_an_election_timeout() {
        let kinds = [
            MessageType::MsgRequestVote,
            MessageType::MsgRequestPreVote,
            MessageType::MsgRequestVoteResponse,
            MessageType::MsgRequestPreVoteResponse,
        ];
        for kind in kinds {
            let mut script = script();
            script.see(2, Event::Ticked).fine();
            script.see(2, Event::Ticked).fine();
            script.sent(message(kind, 2, 1, 6)).violates(NAME, "only 2 ticks");
            script.see(2, Event::Ticked).fine();
            script.sent(message(kind, 2, 1, 6)).fine();
            script.crash(2, CrashPoint::OLDEST);
            script.open(2).fine();
            script.sent(message(kind, 2, 1, 6)).violates(NAME, "only 0 ticks");
        }
    }

    #[test]
    fn refusals_and_what_is_no_vote_may_leave() {
        let mut script = script();
        script.sent(message(MessageType::MsgAppendResponse, 2, 1, 6)).fine();
        let mut refusal = message(MessageType::MsgRequestVoteResponse, 2, 1, 6);
        refusal.raft.reject = true;
        script.sent(refusal).fine();
    }

    #[test]
    fn a_region_to_which_nothing_happened_votes_at_once() {
        let mut script = Script::with(vec![Box::new(Restart::new(3))]);
        script.crash(2, CrashPoint::OLDEST);
        script.open(2).fine();
        script.sent(message(MessageType::MsgRequestVoteResponse, 2, 1, 6)).fine();
    }

    #[test]
    fn what_an_interrupted_bootstrap_left_binds_nobody() {
        let mut script = Script::of(1, vec![Box::new(Restart::new(3))]);
        let mut batch = StateBatch::default();
        meta::put_region(&mut batch, &RegionState { descriptor: descriptor(LOW), apply_state: apply_state(5, 5) });
        let put = |op: &StateOp| match op.clone() {
            StateOp::Put(family, key, value) => (family, key, value),
            other => panic!("{other:?}"),
        };
        let pairs = batch.ops().iter().map(put).collect();
        script.see(2, Event::StateWritten { batch: Arc::new(batch) }).fine();
        script.see(2, Event::StateFlushed).fine();
        let content = Arc::new(DiskContent { pairs, ..DiskContent::default() });
        script.see(2, Event::Opened { content }).fine();
        script.sent(message(MessageType::MsgRequestVoteResponse, 2, 1, 6)).fine();
    }
}
