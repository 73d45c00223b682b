//! A process with one node: from its start until it shall end.

use std::time::Duration;

use runtime::spawn::{Spawner, ThreadSpawner};
use server::node::NodeError;
use slog::Logger;
use tokio::sync::oneshot;
use tokio::time::{interval, timeout};
use types::ErrorCode;

use super::Failure;
use super::signals::Signals;

/// How long a start goes on after the process was asked to end, so that a node that is about to serve stops in order.
const START_GRACE: Duration = Duration::from_secs(1);

/// How often it is looked whether the node has failed.
const FAILURE_LOOK: Duration = Duration::from_millis(100);

/// Why a node shall end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEnd {
    /// The process got this signal.
    Signal(&'static str),
    /// The node cannot go on.
    Failed(String),
}

/// Starts a node and waits until it shall end, or cannot go on. `None` when the process was asked to end while the node
/// was still starting: a start may wait for others without end, and can be broken off anywhere.
///
/// # Errors
/// When the node cannot start, or threads cannot be had.
pub fn run_node<N: Send + 'static>(
    logger: &Logger,
    start: impl FnOnce() -> Result<N, NodeError> + Send + 'static,
    failure: impl Fn(&N) -> Option<String>,
) -> Result<Option<(N, NodeEnd)>, Failure> {
    let no_threads = |error| Failure::from(NodeError::Runtime(error));
    let signals = Signals::listen(logger).map_err(no_threads)?;
    // The node is handled outside of it: ending a node blocks.
    let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_threads)?;
    let (sender, mut started) = oneshot::channel();
    let start = move || {
        // Nobody waits any more when the process ends.
        let _ = sender.send(start());
    };
    ThreadSpawner.spawn("start", Box::new(start)).map_err(no_threads)?;
    let started = waiting.block_on(async {
        tokio::select! {
            started = &mut started => Some(started),
            _ = signals.wait() => timeout(START_GRACE, &mut started).await.ok(),
        }
    });
    let node = match started {
        None => return Ok(None),
        Some(Ok(node)) => node?,
        Some(Err(_)) => return Err(Failure::failed("the start panicked: see above", ErrorCode("RY-CLI-005"))),
    };
    let end = waiting.block_on(async {
        let mut look = interval(FAILURE_LOOK);
        loop {
            tokio::select! {
                name = signals.wait() => break NodeEnd::Signal(name),
                _ = look.tick() => if let Some(reason) = failure(&node) {
                    break NodeEnd::Failed(reason);
                },
            }
        }
    });
    Ok(Some((node, end)))
}
