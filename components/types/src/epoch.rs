//! Which commands depend on which half of a region's epoch, and what they make of it.
//!
//! The table is frozen for ever: two builds that read it differently would apply one log to two states
//! (raftstore-rules §4).
//!
//! | command | must still be equal | afterwards |
//! |---|---|---|
//! | commands of users | version | unchanged |
//! | change of members | conf_ver | conf_ver + number of changes |
//! | leaving a joint configuration | conf_ver | conf_ver + number of members whose role it ends |
//! | split | both | version + number of new regions, the same on all of them |
//! | log compaction, hashes | neither | unchanged |

/// A region's version: `conf_ver` changes with membership, `version` with the range. Both only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RegionEpoch {
    /// Grows with each membership change.
    pub conf_ver: u64,
    /// Grows with each split and merge.
    pub version: u64,
}

/// The commands that the table tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// What users write.
    User,
    /// A change of members, leaving a joint configuration included.
    Members,
    /// A split.
    Split,
    /// A log compaction.
    CompactLog,
    /// Asking for a hash of the data, or stating one.
    Hash,
}

impl CommandKind {
    /// Whether the command may change the version.
    pub const fn changes_version(self) -> bool {
        matches!(self, Self::Split)
    }

    /// Whether the command may change the epoch.
    pub const fn changes_epoch(self) -> bool {
        matches!(self, Self::Split | Self::Members)
    }
}

impl RegionEpoch {
    /// The epoch of a region that was just made.
    pub const INITIAL: Self = Self { conf_ver: 1, version: 1 };

    /// Whether a command that was proposed under `stated` may be executed under this epoch. Equality, not "at least":
    /// a peer that is behind its client cannot know its range either.
    pub const fn admits(self, kind: CommandKind, stated: Self) -> bool {
        let same_version = self.version == stated.version;
        let same_conf_ver = self.conf_ver == stated.conf_ver;
        match kind {
            CommandKind::User => same_version,
            CommandKind::Members => same_conf_ver,
            CommandKind::Split => same_version && same_conf_ver,
            CommandKind::CompactLog | CommandKind::Hash => true,
        }
    }

    /// The epoch behind an executed command that made so many changes.
    #[must_use]
    pub const fn after(self, kind: CommandKind, changes: u64) -> Self {
        match kind {
            CommandKind::User | CommandKind::CompactLog | CommandKind::Hash => self,
            CommandKind::Members => Self { conf_ver: self.conf_ver + changes, ..self },
            CommandKind::Split => Self { version: self.version + changes, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: RegionEpoch = RegionEpoch { conf_ver: 3, version: 9 };

    /// The table of the module's documentation, once more as a test: nobody changes it by accident.
    #[test]
    fn the_frozen_table() {
        let other_conf_ver = [2, 4].map(|conf_ver| RegionEpoch { conf_ver, ..NOW });
        let other_version = [8, 10].map(|version| RegionEpoch { version, ..NOW });
        let table = [
            (CommandKind::User, true, false, NOW),
            (CommandKind::Members, false, true, RegionEpoch { conf_ver: 5, version: 9 }),
            (CommandKind::Split, false, false, RegionEpoch { conf_ver: 3, version: 11 }),
            (CommandKind::CompactLog, true, true, NOW),
            (CommandKind::Hash, true, true, NOW),
        ];
        for (kind, any_conf_ver, any_version, after) in table {
            assert!(NOW.admits(kind, NOW), "{kind:?}");
            assert!(other_conf_ver.iter().all(|stated| NOW.admits(kind, *stated) == any_conf_ver), "{kind:?}");
            assert!(other_version.iter().all(|stated| NOW.admits(kind, *stated) == any_version), "{kind:?}");
            assert_eq!(NOW.after(kind, 2), after, "{kind:?}");
            assert_eq!(kind.changes_epoch(), after != NOW, "{kind:?}");
            assert_eq!(kind.changes_version(), after.version != NOW.version, "{kind:?}");
        }
    }
}
