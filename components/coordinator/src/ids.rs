//! Ids that never repeat: one space for stores, regions and peers.

use crate::error::CoordinatorError;

/// Most ids in one batch.
pub(crate) const MAX_IDS: u32 = 100_000;

/// The largest bound.
const LAST_BOUND: u64 = u64::MAX - RESERVE_STEP;

/// How many ids are reserved by one write.
pub(crate) const RESERVE_STEP: u64 = 1000;

/// When fewer are left of the reserve, more are reserved ahead: who asks for one peer's id cannot wait for a write.
pub(crate) const RESERVE_LOW: u64 = 200;

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

    /// Whether the reserve is nearly used up.
    pub(crate) fn is_low(&self, bound: u64) -> bool {
        self.next.saturating_add(RESERVE_LOW) > bound && self.next < self.bound_ahead()
    }

    /// The bound that leaves a full reserve.
    pub(crate) fn bound_ahead(&self) -> u64 {
        self.next.saturating_add(RESERVE_STEP).min(LAST_BOUND)
    }

    /// Takes one id of the reserve, if there is one.
    pub(crate) fn take_reserved(&mut self, bound: u64) -> Option<u64> {
        if self.fits(1, bound) { self.take(1).ok() } else { None }
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
    fn the_reserve_is_filled_before_it_is_empty() {
        let mut ids = IdAllocator::resume(0);
        assert!(ids.is_low(0) && ids.take_reserved(0).is_none());
        let bound = ids.bound_ahead();
        let given = (0..).take_while(|_| ids.take_reserved(bound).is_some() && !ids.is_low(bound)).count() as u64;
        assert_eq!(given + RESERVE_LOW, RESERVE_STEP);
        assert!(!IdAllocator::resume(LAST_BOUND).is_low(LAST_BOUND), "there is nothing left to reserve");
    }

    #[test]
    fn the_end_is_an_error_and_takes_nothing() {
        let mut ids = IdAllocator::resume(u64::MAX - 2 * RESERVE_STEP - 3);
        assert_eq!(ids.take(5), Err(CoordinatorError::Exhausted { what: "ids" }));
        assert_eq!(ids.take(1), Ok(u64::MAX - 2 * RESERVE_STEP - 2));
    }
}
