//! What every node is: a store that runs, in a runtime that serves it.

use slog::{Logger, info, warn};
use store::{RunningStore, StopProgress};
use tokio::sync::watch;

use super::error::NodeError;
use super::runtime::NodeRuntime;

/// What a start brings about.
pub(super) struct Started {
    pub(super) running: RunningStore,
    /// Where clients and stores reach the node.
    pub(super) address: String,
    /// Where its status is told.
    pub(super) status_address: String,
    /// Why it cannot go on, once it cannot.
    pub(super) failed: watch::Receiver<Option<String>>,
    pub(super) logger: Logger,
}

/// A node at work. Dropping it ends it as [`kill`](Self::kill) does.
pub(super) struct Serving {
    /// Declared first, so that it ends first: no task outlives the store that it serves.
    runtime: NodeRuntime,
    running: RunningStore,
    address: String,
    status_address: String,
    failed: watch::Receiver<Option<String>>,
    logger: Logger,
}

impl Serving {
    pub(super) fn new(runtime: NodeRuntime, started: Started) -> Self {
        let Started { running, address, status_address, failed, logger } = started;
        Self { runtime, running, address, status_address, failed, logger }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn status_address(&self) -> &str {
        &self.status_address
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failed.borrow().clone()
    }

    /// Ends every connection, so that nobody asks any more.
    pub(super) fn disconnect(&mut self) {
        self.runtime.end();
    }

    /// Stops the store while it is still connected, as far as it is, then ends every connection.
    pub(super) fn stop(self, progress: &mut dyn FnMut(StopProgress)) -> Result<(), NodeError> {
        let Self { runtime, running, logger, .. } = self;
        let result = running.stop(progress);
        drop(runtime);
        info!(logger, "node stopped");
        Ok(result?)
    }

    /// Ends the node as a crash would.
    pub(super) fn kill(mut self) {
        self.disconnect();
        warn!(self.logger, "node killed");
    }
}
