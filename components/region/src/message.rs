//! A message on its way between two peers of a region.

use protobuf::Message as _;
use raft::eraftpb::Message;
pub use raft::eraftpb::MessageType;
use types::{KeyRange, LogIndex, Peer, RegionEpoch, RegionId};

/// What peers say to each other beside raft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// You are no member any more, and the members can do without you: be destroyed (D9). Only a leader says so.
    Gc,
    /// Who are my members? Asked by a peer that hears of no leader.
    WhoAreMembers,
    /// These are the members that I know of, as of the message's epoch.
    Members(Vec<Peer>),
    /// My data at this index has this hash. Said to the leader that asked all members to hash theirs.
    Hash {
        /// The index.
        index: LogIndex,
        /// The hash.
        hash: u64,
    },
    /// The data of most voters at this index has this hash, and yours has not. Only a leader says so.
    Differs {
        /// The index.
        index: LogIndex,
        /// The hash of most voters.
        hash: u64,
    },
}

/// A raft message with the addresses that a store routes by.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionMessage {
    /// The region.
    pub region: RegionId,
    /// The sender.
    pub from: Peer,
    /// The peer that it is meant for.
    pub to: Peer,
    /// The sender's epoch.
    pub epoch: RegionEpoch,
    /// What raft has to say; empty beside a note.
    pub raft: Message,
    /// What is said beside raft.
    pub note: Option<Note>,
    /// Where the region lies, in a message by which its receiver [may be made](Self::may_make_a_peer): a store that still
    /// has another region there waits for that one to split, or to go (raftstore-rules §2).
    pub range: Option<KeyRange>,
}

impl RegionMessage {
    /// Whether a store that has no peer for the message may make one: a question for a vote, or the word of a leader that
    /// does not know that anything of the region is there. Everything else speaks to a peer that was there before
    /// (raftstore-rules §2).
    pub fn may_make_a_peer(&self) -> bool {
        let asks = matches!(self.raft.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        let greets = self.raft.get_msg_type() == MessageType::MsgHeartbeat && self.raft.commit == 0;
        self.note.is_none() && (asks || greets)
    }

    /// Raft's part as bytes, to travel opaquely inside our own messages.
    pub fn raft_bytes(&self) -> Vec<u8> {
        self.raft.write_to_bytes().expect("a raft message has no required field that could be missing")
    }

    /// Raft's part from bytes that came from outside; `None` when they are not a raft message.
    pub fn parse_raft(bytes: &[u8]) -> Option<Message> {
        Message::parse_from_bytes(bytes).ok()
    }
}
