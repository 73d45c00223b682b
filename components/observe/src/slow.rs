//! Telling of operations that took too long.

use std::time::Duration;

use slog::{Logger, OwnedKV, SendSyncRefUnwindSafeKV, warn};

/// Logs operations that took longer than a bound. Reads no clock: the caller measures.
#[derive(Clone, Debug)]
pub struct SlowLog {
    logger: Logger,
    bound: Duration,
}

impl SlowLog {
    /// Logs at level warn to `logger` what takes longer than `bound`.
    pub fn new(logger: Logger, bound: Duration) -> Self {
        Self { logger, bound }
    }

    /// Tells of an operation that took `took`; `fields` are only made when it was slow. Returns whether it was.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use observe::{SlowLog, discard_logger};
    /// let slow = SlowLog::new(discard_logger(), Duration::from_millis(500));
    /// let was_slow = slow.check("sync log", Duration::from_secs(2), || slog::o!("regions" => 17));
    /// assert!(was_slow);
    /// ```
    pub fn check<F>(&self, operation: &'static str, took: Duration, fields: impl FnOnce() -> OwnedKV<F>) -> bool
    where
        F: SendSyncRefUnwindSafeKV + 'static,
    {
        if took <= self.bound {
            return false;
        }
        warn!(
            self.logger.new(fields()), "slow operation";
            "operation" => operation,
            "took_ms" => took.as_millis() as u64,
            "bound_ms" => self.bound.as_millis() as u64,
        );
        true
    }
}
