//! Waiting: for a moment, or for a condition with a deadline.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Lets time pass.
pub fn pause(time: Duration) {
    let (_sender, receiver) = channel::<()>();
    let outcome = receiver.recv_timeout(time);
    assert_eq!(outcome, Err(RecvTimeoutError::Timeout), "nobody can send");
}

/// Waits until a condition holds.
///
/// # Errors
/// A sentence when it does not hold in time.
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() > deadline {
            return Err(format!("{what}: not within {} s", limit.as_secs()));
        }
        pause(LOOK);
    }
    Ok(())
}
