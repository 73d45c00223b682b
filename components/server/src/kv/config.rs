//! The bounds of the service.

/// How much the service takes on. What is beyond a stream's bound waits in its connection; what is beyond the store's
/// is answered as busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvConfig {
    /// Most requests that the store works on at a time.
    pub max_requests: usize,
    /// Most bytes of keys and values to be written that the store works on at a time. One request is always taken.
    pub max_write_bytes: usize,
    /// Most requests of one `BatchCommands` stream that are worked on at a time.
    pub max_requests_per_stream: usize,
    /// Most long reads (scans, large batch gets, checksums) that run at a time; each has a thread meanwhile.
    pub max_long_reads: usize,
    /// Largest message that is taken, in bytes.
    pub max_message_bytes: usize,
}

impl Default for KvConfig {
    fn default() -> Self {
        Self {
            max_requests: 64 << 10,
            max_write_bytes: 512 << 20,
            max_requests_per_stream: 4096,
            max_long_reads: 8,
            max_message_bytes: 64 << 20,
        }
    }
}
