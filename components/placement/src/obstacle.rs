//! Why what is to be done with a region is not done now.

use crate::candidates::Unfit;

/// Why a checker that has something to do with a region does not do it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// People halted placement.
    Halted,
    /// Too few regions have reported yet.
    Unprepared,
    /// No store is fit to take a peer; why not, of those that are nearest to be.
    NoStore(Unfit),
    /// As many operators as may be are under way.
    Operators,
    /// The store lost many peers lately.
    RemovalLimit,
    /// The leader's store sends as many snapshots as it may.
    Sending,
    /// There are no ids for new peers at hand.
    NoIds,
    /// Too few voters are healthy to agree on a change, or would be behind it.
    Quorum,
    /// A learner that takes the place has not caught up.
    Learner,
    /// No voter that stays is fit to lead.
    NoSuccessor,
}

impl Obstacle {
    /// In words, with the setting that decides where there is one.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Halted => "placement is halted: see schedule.halt-scheduling",
            Self::Unprepared => "not enough regions have reported since the placement driver began to lead",
            Self::NoStore(unfit) => unfit.why_none(),
            Self::Operators => {
                "as many operators are under way as schedule.replica-schedule-limit and leader-schedule-limit allow"
            }
            Self::RemovalLimit => "the store lost as many peers lately as schedule.store-limit allows",
            Self::Sending => "the leaders' stores send as many snapshots as schedule.max-snapshot-count allows",
            Self::NoIds => "no ids for new peers are at hand",
            Self::Quorum => "too few of the voters are healthy: bring their stores back first",
            Self::Learner => "the peers that take their place have not caught up yet",
            Self::NoSuccessor => "no voter that stays is fit to lead",
        }
    }

    /// Whether it may be over before the region reports again.
    pub(crate) fn passes_soon(self) -> bool {
        match self {
            Self::NoStore(unfit) => unfit.passes_soon(),
            Self::Quorum | Self::Learner => false,
            Self::Halted
            | Self::Unprepared
            | Self::Operators
            | Self::RemovalLimit
            | Self::Sending
            | Self::NoIds
            | Self::NoSuccessor => true,
        }
    }
}
