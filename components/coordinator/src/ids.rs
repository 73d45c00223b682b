//! Ids that never repeat: one space for stores, regions and peers.

use crate::error::CoordinatorError;

/// Most ids in one batch.
pub(crate) const MAX_IDS: u32 = 100_000;

/// How many ids are reserved by one write.
pub(crate) const RESERVE_STEP: u64 = 1000;

/// The next id to give away. Ids up to a *bound* are reserved durably; what is taken beyond it may not leave before a
/// larger bound is durable. Ids whose write failed are lost, never used again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdAllocator {
    next: u64,
}

impl IdAllocator {
    /// Goes on behind a durable bound.
    pub(crate) fn resume(bound: u64) -> Self {
        Self { next: bound + 1 }
    }

    /// Whether the next `count` ids are reserved.
    pub(crate) fn fits(&self, count: u32, bound: u64) -> bool {
        self.next.checked_add(u64::from(count)).is_some_and(|behind| behind - 1 <= bound)
    }

    /// Takes `count` ids and returns the last of them.
    ///
    /// # Errors
    /// `Exhausted` when there are none left.
    pub(crate) fn take(&mut self, count: u64) -> Result<u64, CoordinatorError> {
        // The step is kept free above, so that a bound behind any id can be written.
        let last_possible = u64::MAX - 2 * RESERVE_STEP;
        let behind = self.next.checked_add(count).filter(|behind| *behind <= last_possible);
        self.next = behind.ok_or(CoordinatorError::Exhausted { what: "ids" })?;
        Ok(self.next - 1)
    }

    /// Whether the id can have been given away, by this leadership or an earlier one.
    pub(crate) fn knows(&self, id: u64) -> bool {
        id != 0 && id < self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_behind_the_bound() {
        let mut ids = IdAllocator::resume(0);
        assert!(!ids.knows(1) && !ids.fits(1, 0));
        assert_eq!(ids.take(3), Ok(3));
        assert!(ids.knows(1) && ids.knows(3) && !ids.knows(4) && !ids.knows(0));
        assert!(ids.fits(7, 10) && !ids.fits(8, 10));
        assert_eq!(IdAllocator::resume(10).take(1), Ok(11));
    }

    #[test]
    fn the_end_is_an_error_and_takes_nothing() {
        let mut ids = IdAllocator::resume(u64::MAX - 2 * RESERVE_STEP - 3);
        assert_eq!(ids.take(5), Err(CoordinatorError::Exhausted { what: "ids" }));
        assert_eq!(ids.take(1), Ok(u64::MAX - 2 * RESERVE_STEP - 2));
    }
}
