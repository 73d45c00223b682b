//! Messages of the wire and of the log, generated from `proto/*.proto`.

#![allow(missing_docs)]

/// What a raft log entry holds.
pub mod log {
    tonic::include_proto!("raftyard.log");
}

/// Messages between stores.
pub mod transport {
    tonic::include_proto!("raftyard.transport");
}
