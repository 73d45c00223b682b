//! Effects, messages and entries as a reader of the raft paper would write them.
//!
//! An entry is `index@term` and its commands; `-` is a new leader's empty entry.

use engine::{Entry, HardState};
use prost::Message as _;
use proto::log::{EntryBatch, admin, command, operation};
use raft::eraftpb::{Message, MessageType};
use region::{Role, RoleChange};
use types::RequestError;

/// The commands of an entry: the key of each put, in order.
pub fn commands(entry: &Entry) -> Vec<String> {
    let batch = EntryBatch::decode(entry.data.as_ref()).unwrap();
    batch
        .commands
        .iter()
        .map(|command| match &command.kind {
            Some(command::Kind::Write(write)) => match &write.operations[0].kind {
                Some(operation::Kind::Put(put)) => String::from_utf8(put.key.to_vec()).unwrap(),
                other => panic!("tests only put: {other:?}"),
            },
            other => panic!("tests only write: {other:?}"),
        })
        .collect()
}

/// The log compaction that an entry holds.
pub fn compaction(entry: &Entry) -> Option<(u64, u64)> {
    let batch = EntryBatch::decode(entry.data.as_ref()).unwrap();
    match batch.admin?.kind? {
        admin::Kind::CompactLog(compact) => Some((compact.index, compact.term)),
        _ => None,
    }
}

pub fn entry(entry: &Entry) -> String {
    let position = format!("{}@{}", entry.index, entry.term);
    if entry.data.is_empty() {
        format!("{position} -")
    } else if let Some((index, _)) = compaction(entry) {
        format!("{position} compact to {index}")
    } else {
        let commands: Vec<String> = commands(entry).into_iter().map(|key| shorten(&key)).collect();
        format!("{position} {}", commands.join("+"))
    }
}

/// A long key is shown by its beginning.
pub fn shorten(key: &str) -> String {
    if key.len() <= 20 { key.to_owned() } else { format!("{}..({} bytes)", &key[..4], key.len()) }
}

pub fn entries(list: &[Entry]) -> String {
    let list: Vec<String> = list.iter().map(entry).collect();
    format!("[{}]", list.join(", "))
}

pub fn hard_state(state: &HardState) -> String {
    format!("term {} vote {} commit {}", state.term, state.vote, state.commit)
}

pub fn message(message: &Message) -> String {
    let Message { term, index, log_term, commit, .. } = *message;
    let yes = if message.reject { "no" } else { "yes" };
    let read =
        if message.context.len() == 16 { format!(" read {}", read_context(&message.context)) } else { String::new() };
    match message.get_msg_type() {
        MessageType::MsgAppend => {
            format!("append (term {term}) after {index}@{log_term} {} commit {commit}", entries(&message.entries))
        }
        MessageType::MsgAppendResponse if message.reject => {
            format!("append refused (term {term}) after {index}, try {}@{log_term}", message.reject_hint)
        }
        MessageType::MsgAppendResponse => format!("appended (term {term}) up to {index}"),
        MessageType::MsgHeartbeat => format!("heartbeat (term {term}) commit {commit}{read}"),
        MessageType::MsgHeartbeatResponse => format!("heartbeat answer (term {term}){read}"),
        MessageType::MsgRequestPreVote => format!("pre-vote? (term {term}) last entry {index}@{log_term}"),
        MessageType::MsgRequestPreVoteResponse => format!("pre-vote {yes} (term {term})"),
        MessageType::MsgRequestVote => format!("vote? (term {term}) last entry {index}@{log_term}"),
        MessageType::MsgRequestVoteResponse => format!("vote {yes} (term {term})"),
        MessageType::MsgTimeoutNow => format!("timeout now (term {term})"),
        other => panic!("a region sends no {other:?}"),
    }
}

fn read_context(context: &[u8]) -> String {
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    format!("{}.{}", number(&context[..8]), number(&context[8..]))
}

pub fn role(change: &RoleChange) -> String {
    let role = match change.role {
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
    };
    match change.leader {
        Some(leader) if change.role == Role::Follower => format!("{role} of {} (term {})", leader.id, change.term),
        _ => format!("{role} (term {})", change.term),
    }
}

pub fn error(error: &RequestError) -> String {
    match error {
        RequestError::NotLeader { leader: Some(leader), .. } => format!("not leader, ask {}", leader.id),
        RequestError::NotLeader { leader: None, .. } => "not leader".to_owned(),
        RequestError::Undetermined { .. } => "unknown".to_owned(),
        RequestError::StaleCommand { .. } => "stale command".to_owned(),
        RequestError::EpochNotMatch { .. } => "epoch not match".to_owned(),
        RequestError::KeyNotInRegion { .. } => "key not in region".to_owned(),
        RequestError::MismatchPeerId { .. } => "mismatch peer id".to_owned(),
        RequestError::EntryTooLarge { size, limit, .. } => format!("entry too large ({size} of {limit} bytes)"),
        RequestError::LogFull { bytes, limit, .. } => format!("log full ({bytes} of {limit} bytes)"),
        other => other.to_string(),
    }
}
