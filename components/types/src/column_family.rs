//! The column families that users write.

use std::fmt;
use std::str::FromStr;

/// A column family of user data. The state engine has one more, `meta`, that no request can name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ColumnFamily {
    /// Plain values; what a request without a column family means.
    #[default]
    Default = 0,
    /// Locks of a transactional layer.
    Lock = 1,
    /// Commit records of a transactional layer.
    Write = 2,
}

impl ColumnFamily {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Default, Self::Lock, Self::Write];

    /// The name used on the wire and on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Lock => "lock",
            Self::Write => "write",
        }
    }

    /// The column family with this number in a log entry, if there is one.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Default),
            1 => Some(Self::Lock),
            2 => Some(Self::Write),
            _ => None,
        }
    }
}

impl fmt::Display for ColumnFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A request named a column family that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown column family {0:?}: use default, lock or write")]
pub struct UnknownColumnFamily(pub String);

impl FromStr for ColumnFamily {
    type Err = UnknownColumnFamily;

    /// An empty name means `default`, as on the wire.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "" | "default" => Ok(Self::Default),
            "lock" => Ok(Self::Lock),
            "write" => Ok(Self::Write),
            other => Err(UnknownColumnFamily(other.to_owned())),
        }
    }
}
