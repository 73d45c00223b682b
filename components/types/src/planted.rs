//! Bugs planted on purpose, to prove that the tests would find them.
//!
//! A rule that no test can break is a rule that nobody checks. So each [`PlantedBug`] breaks one rule at the one place that
//! keeps it, and the simulator must find it. Which bugs are switched on travels in the configuration of the part concerned,
//! as [`PlantedBugs`]; there is no global switch.
//!
//! Only a build with the feature `planted` can hold any. Without it [`PlantedBugs`] has no bits, [`PlantedBugs::has`] is
//! false for every bug at compile time, and the branches behind it are gone. Nothing but the simulator and its tests may
//! ask for the feature; `tests/layers.rs` holds this.

use std::fmt;
use std::str::FromStr;

macro_rules! planted_bugs {
    ($($bug:ident = $name:literal, $rule:literal, $what:literal;)*) => {
        /// A bug that can be planted. The documentation of each says what goes wrong; [`rule`](Self::rule), what it breaks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum PlantedBug {
            $(#[doc = $what] $bug,)*
        }

        impl PlantedBug {
            /// Every bug.
            pub const ALL: &'static [Self] = &[$(Self::$bug,)*];

            /// Its name on command lines and in tables.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => $name,)*
                }
            }

            /// The rule that it breaks: a durability rule of `ARCHITECTURE.md`, or a page of the literature.
            pub const fn rule(self) -> &'static str {
                match self {
                    $(Self::$bug => $rule,)*
                }
            }

            /// What goes wrong, in one sentence.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$bug => $what,)*
                }
            }
        }
    };
}

planted_bugs! {
    AnswerBeforeFsync = "answer-before-fsync", "D1",
        "What a round appends to the log is acknowledged before it is synced.";
    VoteNotPersisted = "vote-not-persisted", "D1",
        "A vote is promised, and the hard state that is written does not hold it.";
    LoneVoterSendsEarly = "lone-voter-sends-early", "D1",
        "A lone voter's first appends as leader leave before its term and vote are durable.";
    AckOutOfOrder = "ack-out-of-order", "D1",
        "The completion of one write releases what waits for later ones.";
    AppliedBeforeDurable = "applied-before-durable", "D1",
        "Entries count as durable as soon as they are handed to the log engine, and are applied.";
    OneFamilyFlushed = "one-family-flushed", "D2",
        "A flush writes the column family of the store's records, and none of the users' data.";
    AppliedTwice = "applied-twice", "D2",
        "A round's data is one batch and its apply states another, so that a crash between them has it applied again.";
    RoundKeyShared = "round-key-shared", "D3",
        "Two apply pollers count their rounds under one key.";
    LogDeletedEarly = "log-deleted-early", "D5",
        "A compacted log is deleted before the flush watermark has passed the compaction.";
    CommitNotRaised = "commit-not-raised", "D8",
        "A restart does not raise the commit index to what is applied.";
    RestartedVoterVotes = "restarted-voter-votes", "D8",
        "A restarted voter votes at once, although it forgot whether it heard a leader a moment ago.";
    OlderGenerationAccepted = "older-generation-accepted", "D11",
        "A region takes the completion of what an older RawNode of its own had begun.";
    TakeoverForgetsVote = "takeover-forgets-vote", "D11",
        "A split takes over what a message made, waits for none of its writes, and begins the child as if it had promised nothing.";
    ReadyHardState = "ready-hard-state", "D1",
        "A record with entries carries the ready's hard state, which a skipped ready has left empty.";
    ChildRecordLate = "child-record-late", "D7",
        "The lifecycle record of a split's child is written behind its first hard state.";
    FloorNotRaised = "floor-not-raised", "D7",
        "A split's child is recorded, and its parent's commit floor is not raised to the split.";
    DormantAnswers = "dormant-answers", "D8",
        "A child that waits for its parent's replay begins as an empty peer, and answers.";
    SnapshotWhileReplaying = "snapshot-while-replaying", "D8",
        "A peer takes a snapshot before it has replayed what was committed when it started.";
    RemovalUnfenced = "removal-unfenced", "D9",
        "A removed peer is forgotten and its range released before its end is durable.";
    RemovedNeverTold = "removed-never-told", "D9",
        "A leader does not tell removed peers that the members can do without them.";
    DestroyedAtApply = "destroyed-at-apply", "D9",
        "A peer that applies its own removal destroys itself, whether the others can do without it or not.";
    GcTooEarly = "gc-too-early", "D9",
        "A leader tells removed peers to go before anything is committed under the new configuration.";
    GcWhileReplaying = "gc-while-replaying", "D9",
        "A peer that is told to go goes before it has replayed what was committed when it started.";
    NextPeerForgotten = "next-peer-forgotten", "D9",
        "The end of a peer does not note which peer ids may come next.";
    SnapshotUnfenced = "snapshot-unfenced", "D10",
        "A snapshot's marker is written without the fence before it.";
    SnapshotClearsNewRange = "snapshot-clears-new-range", "D10",
        "A snapshot clears the new range only, and leaves what the old one had beside it.";
    MarkerDroppedEarly = "marker-dropped-early", "D10",
        "A snapshot's marker is dropped before what it brought is durable.";
    SwapReadsEngine = "swap-reads-engine", "D12",
        "A compare-and-swap reads the state engine and misses what its own round wrote.";
    BootstrapUnfenced = "bootstrap-unfenced", "D14",
        "A bootstrap writes its record to the log engine before its state is durable.";
    WipedStoreVotes = "wiped-store-votes", "D14",
        "A store listens to one whose disk was wiped and which goes by its old id.";
    CoordinatorLoadsEarly = "coordinator-loads-early", "D16",
        "A coordinator loads its state without a claim, before the first entry of its term is applied.";
    IdsGivenAgain = "ids-given-again", "D16",
        "A new leadership gives ids again that its predecessor had reserved, and may have given.";
    TimestampsFromClock = "timestamps-from-clock", "D16",
        "A new leadership takes its timestamps from the clock, and does not go on above the durable bound.";
    ChildEpochNotRaised = "child-epoch-not-raised", "raftstore-rules §5",
        "A split's child keeps its parent's version from before the split.";
    StaleGcObeyed = "stale-gc-obeyed", "raftstore-rules §7",
        "A peer obeys every word to go, also one that was meant for another peer of its store.";
    JointForever = "joint-forever", "raftstore-rules §7",
        "A leader does not leave a joint configuration.";
    PromotedTooEarly = "promoted-too-early", "raftstore-rules §7",
        "A learner is made a voter before it has caught up.";
    ReadUnconfirmed = "read-unconfirmed", "raft thesis §6.4",
        "A leader serves reads without having its leadership confirmed.";
    ReadBeforeApplied = "read-before-applied", "raft thesis §6.4",
        "A confirmed read does not wait until what was committed is applied.";
}

impl fmt::Display for PlantedBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no planted bug of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no planted bug {name:?}; there are: {}", names())]
pub struct UnknownBug {
    /// The name.
    pub name: String,
}

fn names() -> String {
    PlantedBug::ALL.iter().map(|bug| bug.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for PlantedBug {
    type Err = UnknownBug;

    fn from_str(name: &str) -> Result<Self, UnknownBug> {
        let found = Self::ALL.iter().copied().find(|bug| bug.name() == name);
        found.ok_or_else(|| UnknownBug { name: name.to_owned() })
    }
}

/// Which bugs are planted; by default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlantedBugs {
    #[cfg(feature = "planted")]
    bits: u64,
}

impl PlantedBugs {
    /// No bug.
    pub const NONE: Self = Self {
        #[cfg(feature = "planted")]
        bits: 0,
    };

    /// One bug; `None` in a build without the feature `planted`, which can hold none.
    #[cfg(feature = "planted")]
    pub const fn only(bug: PlantedBug) -> Option<Self> {
        Some(Self { bits: 1 << bug as u32 })
    }

    /// One bug; `None` in a build without the feature `planted`, which can hold none.
    #[cfg(not(feature = "planted"))]
    pub const fn only(_bug: PlantedBug) -> Option<Self> {
        None
    }

    /// Whether a bug is planted.
    #[cfg(feature = "planted")]
    pub const fn has(self, bug: PlantedBug) -> bool {
        self.bits & 1 << bug as u32 != 0
    }

    /// Whether a bug is planted.
    #[cfg(not(feature = "planted"))]
    pub const fn has(self, _bug: PlantedBug) -> bool {
        false
    }
}

impl PlantedBugs {
    /// The bugs that are planted.
    pub fn iter(self) -> impl Iterator<Item = PlantedBug> {
        PlantedBug::ALL.iter().copied().filter(move |bug| self.has(*bug))
    }
}

/// Holds at the compilation of every build that users get: there is no way to make a `PlantedBugs` that has a bug.
#[cfg(not(feature = "planted"))]
const _: () = {
    assert!(size_of::<PlantedBugs>() == 0, "a build without the feature holds no bit of a planted bug");
    let mut at = 0;
    while at < PlantedBug::ALL.len() {
        assert!(PlantedBugs::only(PlantedBug::ALL[at]).is_none() && !PlantedBugs::NONE.has(PlantedBug::ALL[at]));
        at += 1;
    }
};

/// Each bug has a bit of its own.
const _: () = assert!(PlantedBug::ALL.len() <= u64::BITS as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for bug in PlantedBug::ALL {
            assert_eq!(bug.name().parse(), Ok(*bug));
            assert!(bug.what().ends_with('.') && !bug.rule().is_empty());
        }
        let error = "no-such-bug".parse::<PlantedBug>().expect_err("there is none");
        assert!(error.to_string().contains("answer-before-fsync"), "{error}");
    }

    #[test]
    fn a_bug_is_planted_alone_or_not_at_all() {
        for bug in PlantedBug::ALL {
            assert!(!PlantedBugs::NONE.has(*bug) && !PlantedBugs::default().has(*bug));
            let Some(planted) = PlantedBugs::only(*bug) else {
                assert_eq!(size_of::<PlantedBugs>(), 0);
                continue;
            };
            assert_eq!(planted.iter().collect::<Vec<_>>(), [*bug]);
        }
    }
}
