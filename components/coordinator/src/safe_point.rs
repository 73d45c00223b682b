//! Up to which timestamp old versions may be collected, and who still holds them.

use bytes::Bytes;

/// Most services that can hold a safe point at a time.
pub const MAX_SERVICES: usize = 1024;

/// Longest service id, in bytes.
pub const MAX_SERVICE_ID_BYTES: usize = 256;

/// The service that collects; named in answers when nobody holds anything.
pub const COLLECTOR: &[u8] = b"gc_worker";

/// Safe points of the cluster. Both only advance; `gc` never passes `txn`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SafePoints {
    /// Versions that were overwritten before this timestamp may be gone.
    pub gc: u64,
    /// Transactions that began before this timestamp must not read any more.
    pub txn: u64,
}

/// A service that needs old versions from a timestamp on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSafePoint {
    /// The timestamp.
    pub safe_point: u64,
    /// When the service's wish lapses, in milliseconds since the Unix epoch; `u64::MAX` for never.
    pub expires_unix_ms: u64,
}

impl ServiceSafePoint {
    pub(crate) fn is_expired(&self, unix_ms: u64) -> bool {
        self.expires_unix_ms <= unix_ms
    }

    /// Seconds left, as an answer gives them; `i64::MAX` for ever.
    pub(crate) fn ttl_seconds(&self, unix_ms: u64) -> i64 {
        match self.expires_unix_ms {
            u64::MAX => i64::MAX,
            expires => i64::try_from(expires.saturating_sub(unix_ms).div_ceil(1000)).unwrap_or(i64::MAX),
        }
    }
}

/// How the transaction safe point moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnAdvance {
    /// Before.
    pub old: u64,
    /// After; below the target when a service holds it back.
    pub new: u64,
    /// The service that holds it back.
    pub blocker: Option<Bytes>,
}

/// The service that needs the oldest versions, after an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAnswer {
    /// The service.
    pub service: Bytes,
    /// For how many more seconds; `i64::MAX` for ever.
    pub ttl_seconds: i64,
    /// From which timestamp on.
    pub min_safe_point: u64,
}
