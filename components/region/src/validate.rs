//! Which messages may reach the raft crate.
//!
//! A message can be well formed and still make raft panic, or make it believe what no correct member would say: it came
//! from damaged memory, another cluster, or someone hostile. Such a message is dropped, with its reason counted.

use raft::StateRole;
use raft::eraftpb::{Entry, Message, MessageType};
use types::{LogIndex, PeerId, PlantedBug, Term};

use crate::machine::Region;
use crate::message::RegionMessage;

/// Above any term or index that a region will ever reach; leaves room for arithmetic that does not check for overflow.
pub(crate) const MAX_NUMBER: u64 = 1 << 62;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Why a message was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[$doc])* $name,)*
        }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason's name in logs and metrics.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

drop_reasons! {
    /// It is meant for another region, or another peer of this one.
    OtherPeer = "other_peer",
    /// Its sender is not a member, or the message contradicts itself about who that is.
    UnknownSender = "unknown_sender",
    /// Members never send this type.
    UnexpectedType = "unexpected_type",
    /// It carries no term, an older one than its log, or one beyond all reason.
    BadTerm = "bad_term",
    /// It carries an index beyond all reason.
    BadIndex = "bad_index",
    /// Its entries do not follow each other.
    BrokenEntries = "broken_entries",
    /// It contradicts an entry that is committed.
    ConflictsWithCommitted = "conflicts_with_committed",
    /// It speaks of entries that this peer does not have as if it had acknowledged them.
    BeyondLog = "beyond_log",
    /// It claims the leadership of a term that has another leader.
    SecondLeader = "second_leader",
    /// It answers a request for votes that has not left yet.
    UnaskedVote = "unasked_vote",
    /// It brings a snapshot that is not one for this peer, or contradicts itself.
    BadSnapshot = "bad_snapshot",
    /// The peer takes no part in elections yet, or must not skip what it replays (D8).
    Restrained = "restrained",
}

/// How many messages were dropped, by reason.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dropped([u64; DropReason::ALL.len()]);

impl Dropped {
    /// The number for one reason.
    pub const fn count(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Counts one more, and gives the number for its reason.
    pub(crate) fn add(&mut self, reason: DropReason) -> u64 {
        self.0[reason as usize] += 1;
        self.count(reason)
    }
}

type Verdict = Result<(), DropReason>;

fn require(holds: bool, reason: DropReason) -> Verdict {
    if holds { Ok(()) } else { Err(reason) }
}

impl Region {
    /// Decides whether raft may see a message.
    pub(crate) fn check_message(&self, message: &RegionMessage) -> Verdict {
        self.check_addresses(message)?;
        let raft = &message.raft;
        check_numbers(raft)?;
        match raft.get_msg_type() {
            MessageType::MsgAppend => self.check_append(raft),
            MessageType::MsgHeartbeat => self.check_heartbeat(raft),
            MessageType::MsgAppendResponse => self.check_append_response(raft),
            MessageType::MsgHeartbeatResponse => Ok(()),
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => self.check_vote_request(raft),
            MessageType::MsgRequestVoteResponse => self.check_vote(),
            MessageType::MsgRequestPreVoteResponse => Ok(()),
            MessageType::MsgTimeoutNow => self.check_timeout_now(raft),
            MessageType::MsgSnapshot => self.check_snapshot(raft),
            // Proposals and reads are not forwarded, and the rest never leaves a peer.
            _ => Err(DropReason::UnexpectedType),
        }
    }

    /// Members are heard, and whoever speaks for newer members than this peer knows: all the members that it knows may be
    /// gone, so that only a newcomer can bring it forward or ask for its vote (raft thesis §4.2.1). So is the leader of this
    /// term, whose last word may be that another shall lead when it is no member any more. A removed peer's campaigns end
    /// here, before they could raise a term: it speaks for older members.
    fn check_addresses(&self, message: &RegionMessage) -> Verdict {
        let here = message.region == self.descriptor.id && message.to.id == self.peer.id;
        require(here && message.raft.to == self.peer.id.0, DropReason::OtherPeer)?;
        let from = message.from.id;
        require(from != self.peer.id && message.raft.from == from.0, DropReason::UnknownSender)?;
        let newer = message.epoch.conf_ver > self.descriptor.epoch.conf_ver && is_from_newcomer(message);
        let leads = self.standing.leader == Some(from) && Term(message.raft.term) == self.standing.term;
        require(newer || leads || self.descriptor.peer(from).is_some(), DropReason::UnknownSender)
    }

    fn check_append(&self, message: &Message) -> Verdict {
        self.check_leader(message)?;
        check_entries(message)?;
        // Raft takes term 0 for "matches" wherever it has no entry, and would then append behind a gap.
        require((message.log_term == 0) == (message.index == 0), DropReason::BadTerm)?;
        require(message.log_term <= message.term, DropReason::BadTerm)?;
        // Every region's log begins behind entry 5, so that one who has nothing needs a snapshot.
        require(message.index > 0 || self.is_initialised(), DropReason::BadIndex)?;
        // An append that begins below the commit index is answered without a look at its entries.
        let log = &self.node.raft.raft_log;
        let joins_commit = message.index == log.committed && Term(message.term) >= self.standing.term;
        let conflicts = joins_commit && !log.match_term(message.index, message.log_term);
        require(!conflicts, DropReason::ConflictsWithCommitted)
    }

    /// A snapshot takes the place of what is committed and not applied. While a peer replays, that may be a split whose
    /// child only the replay can make (D8).
    fn check_snapshot(&self, message: &Message) -> Verdict {
        self.check_leader(message)?;
        let metadata = message.get_snapshot().get_metadata();
        let sane = metadata.index > 0 && metadata.index < MAX_NUMBER && metadata.term > 0;
        require(sane && metadata.term <= message.term, DropReason::BadSnapshot)?;
        let early = self.config.planted.has(PlantedBug::SnapshotWhileReplaying);
        require(!self.is_replaying() || early, DropReason::Restrained)?;
        let fits = !self.is_removed() && self.descriptor_of(message.get_snapshot()).is_some();
        require(fits, DropReason::BadSnapshot)?;
        // An older one would make raft acknowledge what is lost.
        require(!self.is_fenced() || metadata.index >= self.last_index().0, DropReason::BadSnapshot)
    }

    fn check_heartbeat(&self, message: &Message) -> Verdict {
        self.check_leader(message)?;
        // A leader tells of commits up to what this peer acknowledged as durable, and no further. One of an older term
        // is only told of the newer.
        let obeyed = Term(message.term) >= self.standing.term;
        require(!obeyed || message.commit <= self.last_index().0, DropReason::BeyondLog)
    }

    /// A term has one leader.
    fn check_leader(&self, message: &Message) -> Verdict {
        let other = self.standing.leader.is_some_and(|leader| leader.0 != message.from);
        require(Term(message.term) != self.standing.term || !other, DropReason::SecondLeader)
    }

    fn check_append_response(&self, message: &Message) -> Verdict {
        // What a member lost was committed, so the leader has it.
        require(message.request_snapshot == 0 || message.reject, DropReason::UnexpectedType)?;
        let ours = Term(message.term) == self.standing.term && self.node.raft.state == StateRole::Leader;
        let newest = LogIndex(message.index.max(message.request_snapshot));
        require(!ours || newest <= self.last_index(), DropReason::BeyondLog)
    }

    fn check_vote_request(&self, message: &Message) -> Verdict {
        require(!self.restraint.is_silent(), DropReason::Restrained)?;
        require(message.log_term <= message.term && message.commit_term <= message.term, DropReason::BadTerm)
    }

    /// Raft asserts that everything was durable before it asked for votes (D1), so none can come before that.
    fn check_vote(&self) -> Verdict {
        let log = &self.node.raft.raft_log;
        let asked = !self.persists.has_barrier() && log.persisted == log.last_index();
        require(self.node.raft.state != StateRole::Candidate || asked, DropReason::UnaskedVote)
    }

    fn check_timeout_now(&self, message: &Message) -> Verdict {
        let replaying = self.is_replaying();
        require(!replaying && !self.restraint.is_silent() && self.may_campaign(), DropReason::Restrained)?;
        // The leader sends it to a member that has all of its log, so that member knows the leader and its term.
        let from_leader = self.standing.leader == Some(PeerId(message.from));
        require(Term(message.term) == self.standing.term && from_leader, DropReason::SecondLeader)
    }
}

/// Whether a peer may send this to someone who does not know it: a leader's words, and a candidate's.
fn is_from_newcomer(message: &RegionMessage) -> bool {
    matches!(
        message.raft.get_msg_type(),
        MessageType::MsgAppend
            | MessageType::MsgHeartbeat
            | MessageType::MsgSnapshot
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestPreVote
            | MessageType::MsgTimeoutNow
    )
}

fn check_numbers(message: &Message) -> Verdict {
    let terms = [message.term, message.log_term, message.commit_term];
    let indexes = [message.index, message.commit, message.reject_hint, message.request_snapshot];
    // Term 0 stands for a peer's message to itself.
    require(message.term > 0 && terms.iter().all(|term| *term < MAX_NUMBER), DropReason::BadTerm)?;
    require(indexes.iter().all(|index| *index < MAX_NUMBER), DropReason::BadIndex)
}

fn check_entries(message: &Message) -> Verdict {
    let mut before = (message.index, message.log_term);
    for Entry { index, term, .. } in message.entries.iter() {
        let follows = *index == before.0 + 1 && *term >= before.1 && *term <= message.term;
        require(follows, DropReason::BrokenEntries)?;
        before = (*index, *term);
    }
    Ok(())
}
