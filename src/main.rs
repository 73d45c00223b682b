//! The `raftyard` binary.

fn main() {}
