//! From what happens in a store to the metrics that count it.

use observe::StoreMetrics;
use observe::metrics::Refusal;
use observe::metrics::store::{ElectionOutcome, MessageType, ReadyKind, StoreStateLabel};
use raft::eraftpb::MessageType as RaftType;
use region::{Effect, Note, RegionMessage, Role, RoleChange};
use types::{Instant, RequestError};

use crate::handle::{RegionView, StoreState};

/// What a message between peers is counted as.
pub(crate) fn message_type(message: &RegionMessage) -> MessageType {
    match &message.note {
        None => {}
        Some(Note::Gc) => return MessageType::Gc,
        // What raft's part of it says is nothing.
        Some(_) => return MessageType::Other,
    }
    match message.raft.get_msg_type() {
        RaftType::MsgAppend => MessageType::Append,
        RaftType::MsgAppendResponse => MessageType::AppendResponse,
        RaftType::MsgHeartbeat => MessageType::Heartbeat,
        RaftType::MsgHeartbeatResponse => MessageType::HeartbeatResponse,
        RaftType::MsgRequestVote => MessageType::Vote,
        RaftType::MsgRequestVoteResponse => MessageType::VoteResponse,
        RaftType::MsgRequestPreVote => MessageType::PreVote,
        RaftType::MsgRequestPreVoteResponse => MessageType::PreVoteResponse,
        RaftType::MsgSnapshot => MessageType::Snapshot,
        RaftType::MsgTimeoutNow => MessageType::TimeoutNow,
        RaftType::MsgReadIndex | RaftType::MsgReadIndexResp => MessageType::ReadIndex,
        RaftType::MsgTransferLeader => MessageType::TransferLeader,
        _ => MessageType::Other,
    }
}

/// What an effect is counted as; refusals and answers are counted where they are given.
pub(crate) fn ready_kind(effect: &Effect) -> Option<ReadyKind> {
    match effect {
        Effect::Persist(_) => Some(ReadyKind::Persist),
        Effect::Send(_) => Some(ReadyKind::Message),
        Effect::Apply(_) => Some(ReadyKind::Apply),
        Effect::Grant(..) => Some(ReadyKind::Read),
        Effect::RoleChanged(_) => Some(ReadyKind::RoleChange),
        _ => None,
    }
}

/// Counts a request that was refused.
pub(crate) fn refused(metrics: &StoreMetrics, error: &RequestError) {
    metrics.refusals[Refusal::from(error)].inc();
}

/// The label of a state.
pub(crate) fn state_label(state: StoreState) -> StoreStateLabel {
    match state {
        StoreState::Starting => StoreStateLabel::Starting,
        StoreState::Serving => StoreStateLabel::Serving,
        StoreState::Stopping => StoreStateLabel::Stopping,
        StoreState::Failed => StoreStateLabel::Failed,
        StoreState::Stopped => StoreStateLabel::Stopped,
    }
}

/// Counts what a change of role means for elections and leaders. `before` is the region as it was; `campaigning` is
/// since when the peer has been campaigning, and is kept up to date.
pub(crate) fn role_changed(
    metrics: &StoreMetrics,
    before: &RegionView,
    change: &RoleChange,
    campaigning: &mut Option<Instant>,
    now: Instant,
) {
    let (was_leader, is_leader) = (before.role == Role::Leader, change.role == Role::Leader);
    metrics.leaders.add(i64::from(is_leader) - i64::from(was_leader));
    match change.role {
        Role::PreCandidate | Role::Candidate => {
            if campaigning.is_none() {
                *campaigning = Some(now);
                metrics.elections[ElectionOutcome::Started].inc();
            }
        }
        Role::Leader | Role::Follower => {
            if let Some(since) = campaigning.take() {
                let outcome = if is_leader { ElectionOutcome::Won } else { ElectionOutcome::Lost };
                metrics.elections[outcome].inc();
                metrics.election_duration.observe(now.since(since).as_secs_f64());
            }
        }
    }
}
