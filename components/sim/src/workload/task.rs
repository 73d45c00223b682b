//! What a client is about to do.

use types::seed::Rng;
use types::{ColumnFamily, KeyRange};

use crate::history::{RegisterId, RegisterKind};

/// One thing to do, which may take several requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Put a value that nobody else puts anywhere to all keys of a register.
    Put {
        /// The register.
        register: RegisterId,
        /// The value.
        value: u64,
    },
    /// Delete all keys of a register.
    Delete {
        /// The register.
        register: RegisterId,
        /// By their range, rather than one by one.
        as_range: bool,
    },
    /// Read one of a register's keys.
    Get {
        /// The register.
        register: RegisterId,
        /// Which of its keys.
        key: usize,
    },
    /// Read a register's key, and put something else there if nobody did in between.
    Swap {
        /// The register.
        register: RegisterId,
        /// What is to be swapped for what, once it was read.
        swap: Option<(Option<u64>, Option<u64>)>,
    },
    /// Read a range, region by region.
    Scan {
        /// Where.
        family: ColumnFamily,
        /// What is left of it.
        range: KeyRange,
        /// The most pairs of one request.
        limit: usize,
    },
    /// Ask for timestamps.
    Timestamps {
        /// How many.
        count: u32,
    },
    /// Ask for ids.
    Ids {
        /// How many.
        count: u32,
    },
}

impl Task {
    /// The register that it is about, if it is about one.
    pub const fn register(&self) -> Option<RegisterId> {
        match self {
            Self::Put { register, .. }
            | Self::Delete { register, .. }
            | Self::Get { register, .. }
            | Self::Swap { register, .. } => Some(*register),
            Self::Scan { .. } | Self::Timestamps { .. } | Self::Ids { .. } => None,
        }
    }
}

/// A kind of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// See [`Task::Put`].
    Put,
    /// See [`Task::Delete`].
    Delete,
    /// See [`Task::Get`].
    Get,
    /// See [`Task::Swap`], of values.
    Swap,
    /// See [`Task::Swap`], counting up.
    Count,
    /// See [`Task::Scan`].
    Scan,
    /// See [`Task::Timestamps`].
    Timestamps,
    /// See [`Task::Ids`].
    Ids,
}

impl Chore {
    /// A chore, some more often than others.
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.below(100) {
            0..30 => Self::Put,
            30..36 => Self::Delete,
            36..62 => Self::Get,
            62..70 => Self::Swap,
            70..82 => Self::Count,
            82..94 => Self::Scan,
            94..98 => Self::Timestamps,
            _ => Self::Ids,
        }
    }

    /// Whether it may be done to a register of a kind.
    pub const fn suits(self, kind: RegisterKind) -> bool {
        use RegisterKind::{Counter, Deletable, Group, Plain};
        match self {
            Self::Put => matches!(kind, Plain | Deletable | Group),
            Self::Delete => matches!(kind, Deletable | Group),
            Self::Get => true,
            Self::Swap => matches!(kind, Plain | Deletable),
            Self::Count => matches!(kind, Counter),
            Self::Scan | Self::Timestamps | Self::Ids => false,
        }
    }
}
