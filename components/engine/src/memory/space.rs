//! How much of a disk is taken.

use std::sync::atomic::{AtomicU64, Ordering};

use super::fault::FaultPoint;
use crate::Result;

/// Bytes that each part of a disk holds, and how many fit. Parts change under locks of their own, so a check is exact
/// on one thread, and may be late by one operation of another part when there are several.
pub(super) struct Space {
    capacity: AtomicU64,
    pub(super) log: AtomicU64,
    pub(super) state: AtomicU64,
    pub(super) files: AtomicU64,
}

impl Default for Space {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { capacity: AtomicU64::new(u64::MAX), log: zero(), state: zero(), files: zero() }
    }
}

impl Space {
    pub(super) fn set_capacity(&self, bytes: u64) {
        self.capacity.store(bytes, Ordering::Release);
    }

    pub(super) fn used(&self) -> u64 {
        [&self.log, &self.state, &self.files].iter().map(|part| part.load(Ordering::Acquire)).sum()
    }

    /// Refuses when so many more bytes do not fit.
    pub(super) fn check(&self, point: FaultPoint, more: u64) -> Result<()> {
        let (used, capacity) = (self.used(), self.capacity.load(Ordering::Acquire));
        if used.saturating_add(more) > capacity {
            return Err(point.disk_full(format!("{used} of {capacity} bytes are taken, {more} more are needed")));
        }
        Ok(())
    }
}
