//! Where each planted bug is hunted: the proof that the simulator finds what it is for.
//!
//! A new bug is a variant of [`PlantedBug`], a hook where the code keeps the rule, and a line in [`HUNTS`].

use std::fmt::Write as _;

use types::PlantedBug::*;
use types::{PlantedBug, PlantedBugs};

use crate::profile::Profile;
use crate::profile::Profile::*;
use crate::run::{Settings, run};

/// Most seeds that are tried.
pub const SEEDS: u64 = 60;

/// How many events each disturbance lasts.
const STEPS: u64 = 60_000;

/// How many regions there are: few, so that clients meet.
const REGIONS: usize = 6;

/// How a bug is hunted: seeds are tried from 1 on, until one fails.
#[derive(Clone, Copy, Debug)]
pub struct Hunt {
    /// The bug.
    pub bug: PlantedBug,
    /// The faults that bring it out.
    pub profile: Profile,
    /// The seed that found it when this was written. Whatever changes the order of events changes this too.
    pub took: u64,
    /// Which checkers may find it, each with a part of what it says. Any other failure is one of the wrong reason.
    pub finders: &'static [(&'static str, &'static str)],
}

/// A bug was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// By which seed.
    pub seed: u64,
    /// By which checker.
    pub checker: String,
    /// What it said.
    pub what: String,
}

/// A hunt failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Missed {
    /// This build can hold no planted bug.
    #[error("this build holds no planted bugs: build with the feature `planted`")]
    NotBuiltIn,
    /// No seed failed.
    #[error("{bug} was not found by seeds 1 to {SEEDS}")]
    NotFound {
        /// The bug.
        bug: PlantedBug,
    },
    /// A seed failed, and not by what the bug breaks.
    #[error("seed {seed} with {bug} fails by something else: {what}")]
    WrongReason {
        /// The bug.
        bug: PlantedBug,
        /// The seed.
        seed: u64,
        /// What failed.
        what: String,
    },
    /// A seed fails without the bug as well.
    #[error("seed {seed} of the hunt for {bug} fails without it as well: {what}")]
    FailsAnyway {
        /// The bug.
        bug: PlantedBug,
        /// The seed.
        seed: u64,
        /// What failed.
        what: String,
    },
}

impl Hunt {
    const fn new(
        bug: PlantedBug,
        profile: Profile,
        took: u64,
        finders: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { bug, profile, took, finders }
    }

    /// The hunt for a bug.
    pub fn of(bug: PlantedBug) -> Option<&'static Self> {
        HUNTS.iter().find(|hunt| hunt.bug == bug)
    }

    fn settings(&self, seed: u64, planted: PlantedBugs) -> Settings {
        Settings { steps: STEPS, regions: REGIONS, planted, ..Settings::new(seed, self.profile) }
    }

    /// Tries seeds until the bug is found, and the same seeds without it.
    ///
    /// # Errors
    /// When it is not found, when something else is, or when a seed fails without the bug as well.
    pub fn run(&self) -> Result<Found, Missed> {
        let bug = self.bug;
        let planted = PlantedBugs::only(bug).ok_or(Missed::NotBuiltIn)?;
        for seed in 1..=SEEDS {
            if let Err(failure) = run(&self.settings(seed, PlantedBugs::NONE)) {
                return Err(Missed::FailsAnyway { bug, seed, what: failure.what });
            }
            if let Err(failure) = run(&self.settings(seed, planted)) {
                let what = failure.what;
                let finder = self.finders.iter().find(|(checker, part)| is_said_by(&what, checker, part));
                let Some((checker, _)) = finder else { return Err(Missed::WrongReason { bug, seed, what }) };
                return Ok(Found { seed, checker: (*checker).to_owned(), what });
            }
        }
        Err(Missed::NotFound { bug })
    }
}

/// Whether a checker said it, in these words.
fn is_said_by(what: &str, checker: &str, part: &str) -> bool {
    what.strip_prefix(checker).is_some_and(|rest| rest.starts_with(": ") && rest.contains(part))
}

/// The table of all hunts, as it stands in `docs/testing.md`.
pub fn table() -> String {
    let head = "| bug | what goes wrong | breaks | profile | seed | found by |\n|---|---|---|---|---|---|\n";
    HUNTS.iter().fold(head.to_owned(), |mut table, Hunt { bug, profile, took, finders }| {
        let (name, what, rule) = (bug.name(), bug.what(), bug.rule());
        let checkers: Vec<&str> = finders.iter().map(|(checker, _)| *checker).collect();
        let checkers = checkers.join(", ");
        writeln!(table, "| `{name}` | {what} | {rule} | `{profile}` | {took} | {checkers} |")
            .expect("a string takes all");
        table
    })
}

/// What the ledger says of entries that are applied too early.
const NOT_DURABLE: (&str, &str) = ("ledger", "not durable in the store's own log");

/// What clients can see of a read that missed a write.
const STALE_READ: &[(&str, &str)] = &[("linearizability", ""), ("counters", ""), ("scans", "")];

/// What becomes of a peer that takes another one's completions for its own: whatever it says, its disk does not know.
const UNSETTLED: &[(&str, &str)] = &[
    ("opening", "is out of range"),
    ("ledger", "which no region of the store holds"),
    ("promises", "disk"),
    ("births", "its record is of"),
];

/// Every hunt, in the order of the bugs.
pub const HUNTS: &[Hunt] = &[
    Hunt::new(AnswerBeforeFsync, Calm, 1, &[NOT_DURABLE, ("promises", "")]),
    Hunt::new(VoteNotPersisted, Calm, 1, &[("promises", "does not know")]),
    Hunt::new(LoneVoterSendsEarly, Calm, 1, &[("promises", "knows only an older term")]),
    Hunt::new(AckOutOfOrder, Calm, 1, &[NOT_DURABLE, ("promises", "is not on its disk")]),
    Hunt::new(AppliedBeforeDurable, Calm, 1, &[NOT_DURABLE]),
    Hunt::new(OneFamilyFlushed, Crash, 1, &[("ledger", "the state engine holds none of the")]),
    Hunt::new(AppliedTwice, Crash, 1, &[("replay", "does not hold what its log")]),
    Hunt::new(RoundKeyShared, Calm, 2, &[("watermark", "deletes its log"), ("opening", "is not durable after")]),
    Hunt::new(LogDeletedEarly, Calm, 1, &[("watermark", "deletes its log")]),
    Hunt::new(CommitNotRaised, Crash, 1, &[("opening", "are not in order")]),
    Hunt::new(RestartedVoterVotes, Crash, 1, &[("restart", "after it was opened")]),
    Hunt::new(OlderGenerationAccepted, Disk, 5, UNSETTLED),
    Hunt::new(TakeoverForgetsVote, Disk, 2, &[("promises", "goes back from")]),
    Hunt::new(ReadyHardState, Everything, 1, &[("promises", "goes back from")]),
    Hunt::new(ChildRecordLate, Everything, 1, &[("births", "its record is of None"), ("opening", "refuses to open")]),
    Hunt::new(FloorNotRaised, Everything, 1, &[("births", "known to be committed only up to")]),
    Hunt::new(DormantAnswers, Crash, 20, &[("silence", "whose state it does not have"), ("opening", "not in order")]),
    Hunt::new(SnapshotWhileReplaying, Crash, 28, &[("removal", "takes a snapshot when")]),
    Hunt::new(RemovalUnfenced, Everything, 1, &[("fences", "can still bring its records back")]),
    Hunt::new(RemovedNeverTold, Everything, 1, &[("settling", "")]),
    Hunt::new(DestroyedAtApply, Network, 7, &[("removal", "no quorum of the others")]),
    Hunt::new(GcTooEarly, Everything, 4, &[("removal", "no quorum of the others")]),
    Hunt::new(GcWhileReplaying, Crash, 15, &[("removal", "it started with")]),
    Hunt::new(NextPeerForgotten, Everything, 1, &[("peers", "would take it back")]),
    Hunt::new(
        SnapshotUnfenced,
        Everything,
        2,
        &[("fences", "marks a snapshot, it has"), ("replay", "does not hold what its log")],
    ),
    Hunt::new(SnapshotClearsNewRange, Crash, 2, &[("fences", "as they are")]),
    Hunt::new(MarkerDroppedEarly, Everything, 1, &[("fences", "that a crash can still take")]),
    Hunt::new(SwapReadsEngine, Calm, 1, &[("replay", "does not hold what its log"), ("counters", "")]),
    Hunt::new(BootstrapUnfenced, Crash, 1, &[("watermark", "deletes its log"), ("opening", "refuses to open")]),
    Hunt::new(WipedStoreVotes, Disk, 1, &[("peers", "it has met life")]),
    Hunt::new(CoordinatorLoadsEarly, Everything, 1, &[("timestamps", "went back"), ("ids", "gave Some")]),
    Hunt::new(IdsGivenAgain, Crash, 3, &[("ids", "gave Some"), ("timestamps", "went back")]),
    Hunt::new(TimestampsFromClock, Everything, 1, &[("timestamps", "went back")]),
    Hunt::new(ChildEpochNotRaised, Everything, 1, &[("replay", "its log up to"), ("regions", "at one epoch")]),
    Hunt::new(StaleGcObeyed, Network, 1, &[("removal", "is a member of")]),
    Hunt::new(JointForever, Everything, 1, &[("settling", "has members")]),
    Hunt::new(PromotedTooEarly, Everything, 2, &[("promotion", "vote, its log ends at")]),
    Hunt::new(ReadUnconfirmed, Network, 8, STALE_READ),
    Hunt::new(ReadBeforeApplied, Disk, 5, STALE_READ),
];
