//! What may be tuned about the raw client.

use std::time::Duration;

/// Bounds and times.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Longest wait for a call with all of its attempts. Calls over many regions have it for each region.
    pub request_timeout: Duration,
    /// Longest wait for one answer of a store before another peer is tried.
    pub attempt_timeout: Duration,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Pause before the first repetition; it doubles with each further one.
    pub backoff_min: Duration,
    /// Longest pause between two attempts.
    pub backoff_max: Duration,
    /// Whether puts and deletes are sent again when the outcome of an attempt is unknown. The earlier one may then
    /// still take effect after the later one was acknowledged, and undo what was written in between; who cannot bear
    /// that takes [`ClientError::Undetermined`](crate::ClientError::Undetermined) instead.
    pub repeat_unknown_writes: bool,
    /// Connections to each store.
    pub connections_per_store: usize,
    /// Whether requests are multiplexed on one `BatchCommands` stream for each connection, rather than sent one by one.
    pub batch_commands: bool,
    /// Most requests in one frame of such a stream.
    pub batch_max_requests: usize,
    /// Such a frame takes no further request once it holds this many bytes.
    pub batch_max_bytes: usize,
    /// Most requests that wait for an answer on one such stream.
    pub batch_max_in_flight: usize,
    /// Largest request; a larger one is refused before it is sent.
    pub max_request_bytes: usize,
    /// Most keys in one request of a call with many keys.
    pub request_keys: usize,
    /// Such a request takes no further key once it holds this many bytes.
    pub request_bytes: usize,
    /// Most requests of one call that are under way at a time.
    pub concurrency: usize,
    /// Most pairs that one request of a scan asks for.
    pub scan_page: u32,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(500),
            repeat_unknown_writes: true,
            connections_per_store: 1,
            batch_commands: false,
            batch_max_requests: 128,
            batch_max_bytes: 1 << 20,
            batch_max_in_flight: 4096,
            max_request_bytes: 16 << 20,
            request_keys: 512,
            request_bytes: 1 << 20,
            concurrency: 64,
            scan_page: 256,
        }
    }
}
