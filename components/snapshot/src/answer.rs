//! What a receiver says to its sender.

use std::fmt;

/// Why a receiver does not take a snapshot, as far as its sender should act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Not now: a bound is reached, or the disk is full. The same snapshot may be offered again later.
    Later,
    /// Not at all: the receiver has no use for a snapshot of this region, or not for this one. Raft decides what is next.
    Unwanted,
    /// What came is damaged or makes no sense: this snapshot must not be offered again, another may.
    Damaged,
}

/// A receiver does not take a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What its sender should make of it.
    pub kind: RefusalKind,
    /// Why, for people.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.kind {
            RefusalKind::Later => "offer it again later",
            RefusalKind::Unwanted => "it is not wanted",
            RefusalKind::Damaged => "build another one",
        };
        write!(f, "{} ({advice})", self.reason)
    }
}

/// What a receiver says. A stream begins with `Wanted` and ends with `Received` or `Refused`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many bytes of each file are here already, in the order of the manifest: go on behind them.
    Wanted {
        /// One number for each file.
        verified: Vec<u64>,
    },
    /// A file is here up to an offset.
    Verified {
        /// Its place in the manifest.
        place: u32,
        /// How far.
        offset: u64,
    },
    /// Something was damaged: send the file again from an offset on, and what follows it.
    Again {
        /// Its place in the manifest.
        place: u32,
        /// From where.
        offset: u64,
    },
    /// Everything is here, verified and durable.
    Received,
    /// It is not taken.
    Refused(Refusal),
}
