//! Which faults a run is exposed to.

use std::fmt;
use std::str::FromStr;

/// A mixture of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// None: leaders move and peers begin anew now and then, and stores are stopped in order.
    Calm,
    /// Packets are lost, doubled, late, held back and led astray; nodes are cut off.
    Network,
    /// Processes and machines die, also in the middle of what they do.
    Crash,
    /// Disks stall, fail, fill up, rot, and are emptied.
    Disk,
    /// Clocks drift and jump, processes stand still.
    Clock,
    /// All of it at once.
    Everything,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    MoveLeader,
    Rebuild,
    StopInOrder,
    Weather,
    CutOneWay,
    CutOff,
    StrandLeaders,
    Split,
    SlowWire,
    Clog,
    KillProcess,
    KillMachine,
    KillMany,
    KillInCall,
    KillInStart,
    ReplaySlowly,
    Stall,
    StallWrites,
    LeadStalled,
    RebuildStalled,
    SlowDisk,
    IoError,
    SyncError,
    FullDisk,
    FlipBit,
    Wipe,
    Drift,
    Jump,
    WallJump,
    Pause,
}

use FaultKind::*;

/// Faults and how often each comes, relative to the others.
type Mixture = &'static [(FaultKind, u64)];

const CALM: Mixture = &[(MoveLeader, 4), (Rebuild, 4), (StopInOrder, 1)];
const NETWORK: Mixture = &[
    (MoveLeader, 2),
    (Weather, 4),
    (CutOneWay, 3),
    (CutOff, 3),
    (StrandLeaders, 3),
    (Split, 2),
    (SlowWire, 3),
    (Clog, 3),
];
const CRASH: Mixture = &[
    (MoveLeader, 2),
    (StopInOrder, 1),
    (KillProcess, 3),
    (KillMachine, 3),
    (KillMany, 2),
    (KillInCall, 6),
    (KillInStart, 4),
    (ReplaySlowly, 3),
];
const DISK: Mixture = &[
    (MoveLeader, 2),
    (Stall, 4),
    (StallWrites, 4),
    (LeadStalled, 3),
    (ReplaySlowly, 2),
    (RebuildStalled, 3),
    (SlowDisk, 2),
    (IoError, 3),
    (SyncError, 3),
    (FullDisk, 2),
    (FlipBit, 1),
    (Wipe, 3),
    (KillMachine, 1),
];
const CLOCK: Mixture = &[(MoveLeader, 2), (Drift, 3), (Jump, 3), (WallJump, 3), (Pause, 5)];

impl Profile {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Calm, Self::Network, Self::Crash, Self::Disk, Self::Clock, Self::Everything];

    /// The name, as it is written on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Network => "network",
            Self::Crash => "crash",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::Everything => "everything",
        }
    }

    pub(crate) fn mixture(self) -> Vec<(FaultKind, u64)> {
        match self {
            Self::Calm => CALM.to_vec(),
            Self::Network => NETWORK.to_vec(),
            Self::Crash => CRASH.to_vec(),
            Self::Disk => DISK.to_vec(),
            Self::Clock => CLOCK.to_vec(),
            Self::Everything => [CALM, NETWORK, CRASH, DISK, CLOCK].concat(),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == name)
            .ok_or_else(|| format!("there is no profile {name:?}; there are {}", names()))
    }
}
