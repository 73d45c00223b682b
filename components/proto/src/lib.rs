//! Messages of the wire and of the log, generated from `proto/*.proto`.
//!
//! Modules are named after the packages. Those of TiKV's protocol ([`metapb`], [`errorpb`], [`pdpb`], [`kvrpcpb`],
//! [`tikvpb`] and the small ones beside them) keep its numbers and types, so that its clients and its placement driver
//! understand us; [`log`], [`transport`] and [`coordinator`] are our own.
//!
//! Invariants: every `bytes` field is a [`bytes::Bytes`], decoded without copying; decoding what strangers send is
//! limited in depth and gives an error, never a crash.
//!
//! This crate must never hold logic: beside generated code it has the conversions between messages and
//! [`types`], in [`convert`].

pub mod convert;

macro_rules! packages {
    ($($(#[$doc:meta])* $module:ident = $package:literal;)*) => {
        $(
            $(#[$doc])*
            #[allow(missing_docs, rustdoc::all, clippy::all)]
            pub mod $module {
                tonic::include_proto!($package);
            }
        )*
    };
}

mod raftyard {
    packages! {
        /// What a raft log entry holds.
        log = "raftyard.log";
        /// Messages between stores.
        transport = "raftyard.transport";
        /// What our stores ask of our coordinator beyond `pdpb`.
        coordinator = "raftyard.coordinator";
    }
}

pub use raftyard::{coordinator, log, transport};

packages! {
    /// Stores, regions and peers.
    metapb = "metapb";
    /// Why a region did not serve a request.
    errorpb = "errorpb";
    /// The placement driver.
    pdpb = "pdpb";
    /// Requests to a store and its answers.
    kvrpcpb = "kvrpcpb";
    /// The service of a store.
    tikvpb = "tikvpb";
    /// Who waits for whom in a deadlock.
    deadlock = "deadlock";
    /// The kinds of membership changes.
    eraftpb = "eraftpb";
    /// Who a store is, as tools read it.
    raft_serverpb = "raft_serverpb";
    /// Keyspaces.
    keyspacepb = "keyspacepb";
    /// The placement driver's key-value store.
    meta_storagepb = "meta_storagepb";
    /// The two etcd calls that transactional clients make.
    etcdserverpb = "etcdserverpb";
}

/// gRPC's own packages.
pub mod grpc {
    /// Health checks.
    pub mod health {
        /// Their version 1.
        #[allow(missing_docs, rustdoc::all, clippy::all)]
        pub mod v1 {
            tonic::include_proto!("grpc.health.v1");
        }
    }
}
