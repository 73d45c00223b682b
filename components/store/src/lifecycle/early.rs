//! Questions for a vote that come before the split which makes their receiver.
//!
//! A child campaigns as soon as its parent's leader has applied the split. Its other peers may be born a moment later: were
//! the question dropped, nobody would ask again before an election timeout (raftstore-rules §2).

use std::collections::VecDeque;

use parking_lot::Mutex;
use region::{Input, MessageType, RegionMessage};
use types::RegionId;

use crate::shared::Shared;

/// Most questions that are kept; the oldest goes first.
const MAX_VOTES: usize = 128;

/// Questions whose receivers are not born yet.
#[derive(Default)]
pub(super) struct EarlyVotes {
    votes: Mutex<VecDeque<RegionMessage>>,
}

impl EarlyVotes {
    fn keep(&self, message: RegionMessage) {
        let mut votes = self.votes.lock();
        votes.retain(|vote| (vote.region, vote.from.id) != (message.region, message.from.id));
        if votes.len() == MAX_VOTES {
            votes.pop_front();
        }
        votes.push_back(message);
    }

    fn take(&self, region: RegionId) -> VecDeque<RegionMessage> {
        let mut votes = self.votes.lock();
        let (found, others) = std::mem::take(&mut *votes).into_iter().partition(|vote| vote.region == region);
        *votes = others;
        found
    }
}

/// Keeps a message that found nobody, if it is a question for a vote.
pub(super) fn keep(shared: &Shared, message: RegionMessage) {
    if message.raft.get_msg_type() != MessageType::MsgRequestVote {
        return;
    }
    let region = message.region;
    shared.lifecycle.early.keep(message);
    // Its receiver may have been born since it found nobody.
    if shared.raft.mailbox_len(region.0).is_some() {
        deliver(shared, region);
    }
}

/// A region's peer is there: hands it the questions that came before it.
pub(super) fn deliver(shared: &Shared, region: RegionId) {
    for message in shared.lifecycle.early.take(region) {
        // It is as good as lost otherwise, and the candidate asks again.
        let _ = shared.raft.send(region.0, Input::Message(Box::new(message)).into());
    }
}
