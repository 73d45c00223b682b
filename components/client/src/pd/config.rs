//! What may be tuned about the placement driver's client.

use std::time::Duration;

/// Endpoints and times.
#[derive(Clone, Debug)]
pub struct PdConfig {
    /// Where the placement driver's members listen, as `host:port` or with a scheme. One that answers is enough: it
    /// names the others.
    pub endpoints: Vec<String>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for one answer before the leader is looked for again.
    pub attempt_timeout: Duration,
    /// Longest wait for a call with all of its attempts.
    pub request_timeout: Duration,
    /// Pause before the first repetition; it doubles with each further one.
    pub backoff_min: Duration,
    /// Longest pause between two attempts.
    pub backoff_max: Duration,
    /// Most region heartbeats that wait to be sent, and most orders that wait to be taken.
    pub heartbeat_queue: usize,
}

impl PdConfig {
    /// The defaults, for these endpoints.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_millis(500),
            heartbeat_queue: 64 << 10,
        }
    }
}
