//! Faults that a test hangs on a disk.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::{EngineError, Result};

/// Where an engine meets the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultPoint {
    /// The log engine writes a batch, synced or not.
    LogWrite,
    /// The log engine waits for the disk. The batch is written then, and a crash during a stall may keep it or lose it.
    LogSync,
    /// The log engine reads.
    LogRead,
    /// The state engine takes a batch into memory.
    StateWrite,
    /// The state engine flushes, on request or by itself.
    StateFlush,
    /// The state engine reads a key or opens an iterator, of a snapshot too.
    StateRead,
    /// A file for the ingest is finished.
    FileFinish,
    /// Bytes are written to an ordinary file.
    FileWrite,
    /// A file's bytes, or a folder's names, are made durable.
    FileSync,
    /// The state engine takes files over.
    Ingest,
    /// The state engine deletes files.
    DeleteFiles,
}

impl FaultPoint {
    const fn engine(self) -> &'static str {
        match self {
            Self::LogWrite | Self::LogSync | Self::LogRead => "log",
            _ => "state",
        }
    }

    const fn operation(self) -> &'static str {
        match self {
            Self::LogWrite | Self::StateWrite => "write",
            Self::LogSync => "sync",
            Self::LogRead | Self::StateRead => "read",
            Self::StateFlush => "flush",
            Self::FileFinish => "finishing a file",
            Self::FileWrite => "using a file",
            Self::FileSync => "syncing a file",
            Self::Ingest => "ingest",
            Self::DeleteFiles => "deleting files",
        }
    }

    pub(super) fn io(self, cause: impl Into<String>) -> EngineError {
        EngineError::Io { engine: self.engine(), operation: self.operation(), cause: cause.into() }
    }

    pub(super) fn disk_full(self, cause: impl Into<String>) -> EngineError {
        EngineError::DiskFull { engine: self.engine(), operation: self.operation(), cause: cause.into() }
    }
}

/// What happens to one call.
pub enum Fault {
    /// It fails with an IO error.
    Io,
    /// It fails for want of space, whatever the disk's capacity.
    DiskFull,
    /// It takes long: the hook runs on the caller's thread before the call takes effect, with no lock held, and the call
    /// goes on when the hook returns. A stepped driver notes in the hook that the completion is to come late by its
    /// own clock; a threaded test blocks in it for as long as the stall should last.
    Stall(Box<dyn FnOnce() + Send>),
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io => "Io",
            Self::DiskFull => "DiskFull",
            Self::Stall(_) => "Stall",
        })
    }
}

struct Armed {
    point: FaultPoint,
    calls_left: u64,
    fault: Fault,
}

/// The faults that wait on one disk. Each strikes once.
#[derive(Default)]
pub(super) struct Faults {
    // A count beside the list, so that a disk without faults costs no lock.
    waiting: AtomicUsize,
    armed: Mutex<Vec<Armed>>,
}

impl Faults {
    pub(super) fn arm(&self, point: FaultPoint, nth: u64, fault: Fault) {
        assert!(nth > 0, "calls are counted from 1");
        let mut armed = self.armed.lock();
        armed.push(Armed { point, calls_left: nth, fault });
        self.waiting.store(armed.len(), Ordering::Release);
    }

    pub(super) fn disarm(&self) {
        let mut armed = self.armed.lock();
        armed.clear();
        self.waiting.store(0, Ordering::Release);
    }

    /// Whether a call may meet a fault at all.
    pub(super) fn are_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Counts a call, and lets the faults strike whose turn it is.
    pub(super) fn reach(&self, point: FaultPoint) -> Result<()> {
        if !self.are_waiting() {
            return Ok(());
        }
        let mut outcome = Ok(());
        for fault in self.due(point) {
            match fault {
                Fault::Io => outcome = Err(point.io("injected fault")),
                Fault::DiskFull => outcome = Err(point.disk_full("injected fault")),
                Fault::Stall(hook) => hook(),
            }
        }
        outcome
    }

    fn due(&self, point: FaultPoint) -> Vec<Fault> {
        let mut armed = self.armed.lock();
        let (mut due, mut left) = (Vec::new(), Vec::new());
        for mut one in armed.drain(..) {
            if one.point == point {
                one.calls_left -= 1;
            }
            match one.calls_left {
                0 => due.push(one.fault),
                _ => left.push(one),
            }
        }
        *armed = left;
        self.waiting.store(armed.len(), Ordering::Release);
        due
    }
}
