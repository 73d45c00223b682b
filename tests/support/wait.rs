//! Waiting for conditions.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Long enough for any machine: only a broken build waits for it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Pause between two looks at a condition that nobody announces.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until the condition gives a value. It says why it does not yet, for the message of the panic.
///
/// # Panics
/// When the condition does not hold within [`PATIENCE`].
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(why) if Instant::now() >= deadline => panic!("waited {PATIENCE:?} until {what}; at last: {why}"),
            Err(_) => sleep(PAUSE).await,
        }
    }
}
