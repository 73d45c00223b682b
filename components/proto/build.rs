//! Compiles `proto/*.proto` with protox; no `protoc` is needed on the machine.

use std::error::Error;
use std::path::Path;

const FILES: [&str; 15] = [
    "deadlock.proto",
    "eraftpb.proto",
    "errorpb.proto",
    "etcdserverpb.proto",
    "grpc/health/v1/health.proto",
    "keyspacepb.proto",
    "kvrpcpb.proto",
    "meta_storagepb.proto",
    "metapb.proto",
    "pdpb.proto",
    "raft_serverpb.proto",
    "raftyard/coordinator.proto",
    "raftyard/log.proto",
    "raftyard/transport.proto",
    "tikvpb.proto",
];

/// Fields of the types `kvrpcpb.KeyError` and `kvrpcpb.LockInfo` that are not repeated.
const LARGE_ERRORS: [&str; 15] = [
    ".kvrpcpb.KvPair.error",
    ".kvrpcpb.GetResponse.error",
    ".kvrpcpb.BatchGetResponse.error",
    ".kvrpcpb.ScanResponse.error",
    ".kvrpcpb.CommitResponse.error",
    ".kvrpcpb.TxnHeartBeatResponse.error",
    ".kvrpcpb.CheckTxnStatusResponse.error",
    ".kvrpcpb.CheckSecondaryLocksResponse.error",
    ".kvrpcpb.BatchRollbackResponse.error",
    ".kvrpcpb.CleanupResponse.error",
    ".kvrpcpb.ScanLockResponse.error",
    ".kvrpcpb.ResolveLockResponse.error",
    ".kvrpcpb.GCResponse.error",
    ".kvrpcpb.KeyError.locked",
    ".kvrpcpb.CheckTxnStatusResponse.lock_info",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../../proto");
    for file in FILES {
        println!("cargo::rerun-if-changed={}", root.join(file).display());
    }
    let descriptors = protox::compile(FILES, [root])?;
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]);
    // Errors are large and rare. Inline they would make every pair of a page 900 bytes, also for a stranger who sends
    // two bytes for each.
    for field in LARGE_ERRORS {
        config.boxed(field);
    }
    // A service that leaves a call out answers "not implemented", as clients expect of a call that we do not have.
    tonic_prost_build::configure().generate_default_stubs(true).compile_fds_with_config(descriptors, config)?;
    Ok(())
}
