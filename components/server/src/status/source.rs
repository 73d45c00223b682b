//! What there is to be told.

use futures::future::BoxFuture;
use serde_json::Value;
use types::RegionId;

/// A region, once it has answered; `None` when it is not here.
pub type RegionAnswer = BoxFuture<'static, Option<Value>>;

/// A process that tells its status. Nothing here may block.
pub trait StatusSource: Send + Sync + 'static {
    /// Every metric, in Prometheus' text format.
    fn metrics(&self) -> String;

    /// Who the process is and what it does.
    fn status(&self) -> Value;

    /// Whether it serves.
    fn is_ready(&self) -> bool;

    /// Its configuration, with every default filled in.
    fn config(&self) -> Value;

    /// Its regions, ordered by start key; `None` when it is not a store.
    fn regions(&self) -> Option<Vec<Value>> {
        None
    }

    /// Its snapshots in flight, in the order in which they began; `None` when it is not a store.
    fn snapshots(&self) -> Option<Vec<Value>> {
        None
    }

    /// Asks one region.
    fn region(&self, id: RegionId) -> RegionAnswer {
        let _ = id;
        Box::pin(async { None })
    }
}
