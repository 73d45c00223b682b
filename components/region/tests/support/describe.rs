//! Effects, messages and entries as a reader of the raft paper would write them.
//!
//! An entry is `index@term` and its commands; `-` is a new leader's empty entry.

use engine::{Entry, EntryType, HardState};
use prost::Message as _;
use proto::log::{ChangeMembers, EntryBatch, admin, command, operation};
use raft::eraftpb::{Message, MessageType};
use region::{Note, RegionMessage, Role, RoleChange};
use types::{KeyRange, MemberChange, MemberChangeKind, PeerRole, RegionDescriptor, RequestError};

/// The commands of an entry: the key of each put, in order.
pub fn commands(entry: &Entry) -> Vec<String> {
    if entry.entry_type == EntryType::EntryConfChangeV2 {
        return Vec::new();
    }
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

/// The command of the store that an entry holds.
fn admin(entry: &Entry) -> Option<String> {
    let batch = EntryBatch::decode(entry.data.as_ref()).unwrap();
    Some(match batch.admin?.kind? {
        admin::Kind::CompactLog(compact) => format!("compact to {}", compact.index),
        admin::Kind::Split(split) => {
            let cuts = split.regions.iter().map(|new| format!("{} for region {}", text(&new.key), new.region_id));
            format!("split at {}", cuts.collect::<Vec<_>>().join(", "))
        }
        admin::Kind::ComputeHash(_) => "compute hash".to_owned(),
        admin::Kind::VerifyHash(verify) => format!("verify hash of {}", verify.index),
    })
}

/// The changes of members that an entry holds, as they are written in scripts.
pub fn changes(entry: &Entry) -> String {
    let change = ChangeMembers::decode(entry.context.as_ref()).unwrap();
    let changes: Vec<String> = change
        .changes
        .into_iter()
        .map(|change| {
            let MemberChange { kind, peer, .. } = change.try_into().unwrap();
            let sign = match kind {
                MemberChangeKind::Vote => '+',
                MemberChangeKind::Learn => '~',
                MemberChangeKind::Remove => '-',
            };
            format!("{sign}{peer}")
        })
        .collect();
    if changes.is_empty() { "leave joint".to_owned() } else { format!("members {}", changes.join(" ")) }
}

pub fn entry(entry: &Entry) -> String {
    let position = format!("{}@{}", entry.index, entry.term);
    if entry.entry_type == EntryType::EntryConfChangeV2 {
        format!("{position} {}", changes(entry))
    } else if entry.data.is_empty() {
        format!("{position} -")
    } else if let Some(admin) = admin(entry) {
        format!("{position} {admin}")
    } else {
        let commands: Vec<String> = commands(entry).into_iter().map(|key| shorten(&key)).collect();
        format!("{position} {}", commands.join("+"))
    }
}

/// Members by their ids; a role that is not "voter" is named.
pub fn members(region: &RegionDescriptor) -> String {
    let member = |peer: &types::Peer| match peer.role {
        PeerRole::Voter => peer.id.to_string(),
        PeerRole::Learner => format!("{} (learner)", peer.id),
        PeerRole::IncomingVoter => format!("{} (incoming)", peer.id),
        PeerRole::DemotingVoter => format!("{} (demoting)", peer.id),
    };
    region.peers.iter().map(member).collect::<Vec<_>>().join(", ")
}

pub fn range(range: &KeyRange) -> String {
    format!("[{}, {})", text(&range.start), text(&range.end))
}

fn text(key: &[u8]) -> String {
    String::from_utf8(key.to_vec()).unwrap()
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

pub fn message(message: &RegionMessage) -> String {
    match &message.note {
        Some(Note::Gc) => "you are gone".to_owned(),
        Some(Note::WhoAreMembers) => "who are the members?".to_owned(),
        Some(Note::Members(list)) => {
            let list: Vec<String> = list.iter().map(|peer| peer.id.to_string()).collect();
            format!("the members are {}", list.join(", "))
        }
        // The hash itself follows from every byte that the region holds, and says nothing to a reader.
        Some(Note::Hash { index, .. }) => format!("here is my hash at {index}"),
        Some(Note::Differs { index, .. }) => format!("most others have another hash at {index}"),
        None => raft_message(&message.raft),
    }
}

fn raft_message(message: &Message) -> String {
    let Message { term, index, log_term, commit, .. } = *message;
    let yes = if message.reject { "no" } else { "yes" };
    let read =
        if message.context.len() == 16 { format!(" read {}", read_context(&message.context)) } else { String::new() };
    match message.get_msg_type() {
        MessageType::MsgAppend => {
            format!("append (term {term}) after {index}@{log_term} {} commit {commit}", entries(&message.entries))
        }
        MessageType::MsgAppendResponse if message.request_snapshot > 0 => {
            format!("needs a snapshot (term {term}) at {} or later", message.request_snapshot)
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
        MessageType::MsgSnapshot => {
            let metadata = message.get_snapshot().get_metadata();
            format!("snapshot (term {term}) at {}@{}", metadata.index, metadata.term)
        }
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
        other => other.to_string(),
    }
}
