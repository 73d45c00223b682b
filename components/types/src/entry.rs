//! What proposing and applying must agree on about log entries, beside their messages in `proto/raftyard/log.proto`.

/// The version of entries that this build writes, and the newest that it reads. What an older build would silently skip,
/// such as a new kind of command, must come with a new version: two replicas of different builds would apply it
/// differently.
pub const ENTRY_VERSION: u32 = 2;

/// The oldest version of entries that this build reads.
pub const OLDEST_ENTRY_VERSION: u32 = 1;

/// The context of a normal entry that changes what the region is, and not only what it holds: a split. Whoever handles
/// entries without decoding them sees by it that the entry's commit must be recorded (D1). All other normal entries have
/// no context.
pub const BOUNDARY_CONTEXT: &[u8] = &[1];
