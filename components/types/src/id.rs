//! Newtypes for ids, indexes and terms, so that no two of them can be mixed up.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The bare number, for encoding and for crates that do not know this type.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A cluster; stores of different clusters never talk to each other. Never zero.
    ClusterId
}
id! {
    /// A store: one process's data directory. Never zero.
    StoreId
}
id! {
    /// One life of a store's disk: drawn at random at bootstrap, so that a wiped disk that comes back under its old
    /// store id is told apart from the disk that voted (D14).
    InstanceId
}
id! {
    /// A region: one key range and the raft group that replicates it. Never zero.
    RegionId
}
id! {
    /// A region's replica on one store. Never reused, never zero: a replica that is re-created gets a new id.
    PeerId
}
id! {
    /// A raft term.
    Term
}
id! {
    /// A position in a region's raft log.
    LogIndex
}
id! {
    /// A raft ready, numbered by the `RawNode` that produced it; comparable only within one [`Generation`].
    ReadyNumber
}
id! {
    /// One `RawNode`'s life: completions of an older generation are dropped (D11).
    Generation
}
id! {
    /// How many batches a writer of the state engine has written (D3).
    Round
}

impl LogIndex {
    /// The index that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The index before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl Round {
    /// The round that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
