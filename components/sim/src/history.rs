//! What clients saw: operations on registers, each with the moments between which it took effect.
//!
//! A **register** is what an operation reads or changes as one: a key of a column family, or a group of keys that are
//! only ever written together. It begins empty, and every value that is put into it is put there by one operation only,
//! so a read tells which write it saw.

pub mod register;

use std::fmt;

use types::Instant;

pub use register::{History, OperationId, Register, RegisterId, RegisterKind, Snapshot};

use crate::call::ClientId;

/// A moment of a run. Moments are counted, so that of any two that clients saw one is the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Its place among all moments; those of operations count from one.
    pub number: u64,
    /// The simulated time, for those who read about it; nothing is decided by it.
    pub at: Instant,
}

impl Moment {
    /// Before every operation.
    pub const ORIGIN: Self = Self { number: 0, at: Instant::ORIGIN };
    /// After every operation.
    pub const NEVER: Self = Self { number: u64::MAX, at: Instant(u64::MAX) };

    /// A moment of which nothing but its place is known.
    pub const fn numbered(number: u64) -> Self {
        Self { number, at: Instant::ORIGIN }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ORIGIN => f.write_str("the beginning"),
            Self::NEVER => f.write_str("the end"),
            Self { number, at: Instant::ORIGIN } => write!(f, "#{number}"),
            Self { number, at } => write!(f, "{at}#{number}"),
        }
    }
}

/// What an operation did to its register; `None` is the register without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<V> {
    /// Saw this.
    Read(Option<V>),
    /// Put this there, or deleted what was there.
    Write(Option<V>),
    /// Put `to` where `from` was, in one step. A compare-and-swap that found something else is a `Read` of that.
    Swap {
        /// What was there before.
        from: Option<V>,
        /// What was there behind it.
        to: Option<V>,
    },
}

impl<V> Action<V> {
    /// What the register holds when the operation took effect; `None` when it changes nothing.
    pub const fn written(&self) -> Option<&Option<V>> {
        match self {
            Self::Read(_) => None,
            Self::Write(to) | Self::Swap { to, .. } => Some(to),
        }
    }

    /// What the operation found; `None` when it did not look.
    pub const fn seen(&self) -> Option<&Option<V>> {
        match self {
            Self::Read(from) | Self::Swap { from, .. } => Some(from),
            Self::Write(_) => None,
        }
    }
}

/// How an operation ended, as far as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect before this moment.
    Known(Moment),
    /// It took effect or will, or never.
    Unknown,
    /// It did not take effect, and never will: so it was promised.
    Refused,
}

/// An operation on a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<V> {
    /// Whose.
    pub client: ClientId,
    /// What it did.
    pub action: Action<V>,
    /// It did not take effect before this moment.
    pub begin: Moment,
    /// How it ended.
    pub outcome: Outcome,
}

impl<V> Operation<V> {
    /// The moment by which it had taken effect; `None` when that is not known.
    pub const fn end(&self) -> Option<Moment> {
        match self.outcome {
            Outcome::Known(end) => Some(end),
            Outcome::Unknown | Outcome::Refused => None,
        }
    }
}

impl<V: fmt::Display> fmt::Display for Operation<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {} ", self.client.0)?;
        match &self.action {
            Action::Read(seen) => write!(f, "read {}", Shown(seen))?,
            Action::Write(None) => f.write_str("deleted")?,
            Action::Write(Some(value)) => write!(f, "wrote {value}")?,
            Action::Swap { from, to } => write!(f, "swapped {} for {}", Shown(from), Shown(to))?,
        }
        write!(f, ", from {}", self.begin)?;
        match self.outcome {
            Outcome::Known(end) => write!(f, " to {end}"),
            Outcome::Unknown => f.write_str(", outcome unknown"),
            Outcome::Refused => f.write_str(", refused"),
        }
    }
}

/// A register's value as findings show it.
pub(crate) struct Shown<'a, V>(pub(crate) &'a Option<V>);

impl<V: fmt::Display> fmt::Display for Shown<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("(nothing)"),
        }
    }
}
