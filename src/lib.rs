//! Raftyard.
