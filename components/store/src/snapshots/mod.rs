//! The store's snapshots, on their way out and in. The machines are those of the `snapshot` crate; here they meet the
//! regions that need them.

mod discards;
pub(crate) mod incoming;
pub(crate) mod outgoing;
mod worker;

use std::sync::Arc;

use observe::SnapshotMetrics;
use snapshot::{
    BuildConfig, RateLimiter, ReceptionConfig, Receptions, SendConfig, SnapshotNumbers, TransferLimits, Transfers,
};

pub(crate) use discards::Discards;
pub(crate) use incoming::Incoming;
pub(crate) use outgoing::Outgoing;
pub(crate) use worker::SnapshotWorker;

use crate::shared::Engines;

/// Settings of a store's snapshots.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotConfig {
    /// How many may be in flight.
    pub limits: TransferLimits,
    /// How they are built.
    pub build: BuildConfig,
    /// How they are sent.
    pub send: SendConfig,
    /// How they are received.
    pub receive: ReceptionConfig,
    /// Bytes a second that may go out, and as many that may come in; 0 for no bound.
    pub bytes_per_second: u64,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            limits: TransferLimits::default(),
            build: BuildConfig::default(),
            send: SendConfig::default(),
            receive: ReceptionConfig::default(),
            bytes_per_second: 100 << 20,
        }
    }
}

/// All snapshots of a store.
pub(crate) struct Snapshots {
    pub(crate) transfers: Transfers,
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
    pub(crate) discards: Discards,
}

impl Snapshots {
    pub(crate) fn new(config: SnapshotConfig, engines: &Engines, next: u64, metrics: &SnapshotMetrics) -> Self {
        let transfers = Transfers::new(config.limits, metrics.clone());
        let numbers = SnapshotNumbers::new(next);
        let limiter = || RateLimiter::new(config.bytes_per_second);
        let (state, files) = (Arc::clone(&engines.state), Arc::clone(&engines.files));
        let receptions = Receptions::new(state, files, numbers.clone(), transfers.clone(), limiter(), config.receive);
        let discards = Discards::default();
        let outgoing = Outgoing::new(config, numbers, limiter(), discards.clone());
        Self { outgoing, incoming: Incoming::new(receptions, discards.clone()), transfers, discards }
    }
}
