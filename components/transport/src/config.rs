//! What may be tuned about the transport.

use std::time::Duration;

/// How streams are protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportSecurity {
    /// Not at all: for networks in which everyone is trusted.
    #[default]
    Plain,
}

impl TransportSecurity {
    /// The scheme of the URLs that are connected to.
    pub(crate) const fn scheme(self) -> &'static str {
        match self {
            Self::Plain => "http",
        }
    }
}

/// Bounds and times of the transport.
#[derive(Clone, Debug)]
pub struct TransportConfig {
    /// Most messages that wait for one store; more are dropped.
    pub queue_messages: usize,
    /// Most bytes that wait for one store, about; more are dropped.
    pub queue_bytes: usize,
    /// Most messages in one frame.
    pub frame_messages: usize,
    /// A frame takes no further message once it holds this many bytes, about. At most a quarter of `max_frame_bytes`
    /// counts.
    pub frame_bytes: usize,
    /// Largest frame that is taken from another store. A message of more than half of it is never sent.
    pub max_frame_bytes: usize,
    /// Longest wait for an address, for a connection, and for the other side's Hello or Welcome: each by itself.
    pub connect_timeout: Duration,
    /// Pause before the first new attempt to connect; it doubles with each further one.
    pub backoff_min: Duration,
    /// Longest pause between two attempts.
    pub backoff_max: Duration,
    /// Shortest time between two reports that the same store is unreachable.
    pub unreachable_interval: Duration,
    /// How often an idle connection is probed.
    pub keepalive_interval: Duration,
    /// How long a probe may stay unanswered before the connection is given up.
    pub keepalive_timeout: Duration,
    /// Most snapshots that are sent at a time, and most that are received; more are refused. Above what the store permits
    /// itself, so that it decides.
    pub max_snapshots: usize,
    /// Attempts in a row that may bring a snapshot no further before it is given up.
    pub snapshot_attempts: u32,
    /// Longest wait for the next piece of a snapshot that is being received: a sender that lost its power says no farewell. What
    /// came so far waits for it to come back.
    pub snapshot_silence: Duration,
    /// How streams are protected.
    pub security: TransportSecurity,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            queue_messages: 16 << 10,
            queue_bytes: 64 << 20,
            frame_messages: 1024,
            frame_bytes: 1 << 20,
            max_frame_bytes: 64 << 20,
            connect_timeout: Duration::from_secs(2),
            backoff_min: Duration::from_millis(50),
            // A store that comes back is a follower again within about this time.
            backoff_max: Duration::from_secs(1),
            unreachable_interval: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(3),
            max_snapshots: 128,
            snapshot_attempts: 10,
            snapshot_silence: Duration::from_secs(60),
            security: TransportSecurity::Plain,
        }
    }
}

impl TransportConfig {
    /// Bytes at which a frame is full.
    pub(crate) fn full_frame_bytes(&self) -> usize {
        self.frame_bytes.min(self.max_frame_bytes / 4)
    }

    /// Largest message, as [`wire::size`](crate::wire::size) estimates it.
    pub(crate) fn max_message_bytes(&self) -> usize {
        self.max_frame_bytes / 2
    }
}
