//! A node's tokio runtime.

use std::future::Future;
use std::time::Duration;

use slog::{Logger, error};
use tokio::runtime::{Builder, Handle, Runtime};

use super::error::NodeError;

/// How long tasks that block get before they are left behind.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The threads and tasks of a node.
pub(super) struct NodeRuntime(Option<Runtime>);

impl NodeRuntime {
    pub(super) fn new(name: &str, threads: usize) -> Result<Self, NodeError> {
        let mut builder = Builder::new_multi_thread();
        let built = builder.worker_threads(threads.max(1)).thread_name(format!("{name}-grpc")).enable_all().build();
        built.map(|runtime| Self(Some(runtime))).map_err(NodeError::Runtime)
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("a node does nothing after its end")
    }

    pub(super) fn handle(&self) -> &Handle {
        self.runtime().handle()
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime().block_on(future)
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime().spawn(task);
    }

    /// Runs a server in the background; it is an error, and logged, when it ends by itself.
    pub(super) fn serve<E: std::fmt::Display + Send>(
        &self,
        name: &'static str,
        server: impl Future<Output = Result<(), E>> + Send + 'static,
        logger: &Logger,
    ) {
        let logger = logger.clone();
        self.spawn(async move {
            let end = server.await;
            let reason = end.err().map_or_else(|| "its listener is closed".to_owned(), |error| error.to_string());
            error!(logger, "a server ended"; "server" => name, "reason" => reason);
        });
    }

    /// Ends every task and connection.
    pub(super) fn end(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(END_TIMEOUT);
        }
    }
}

impl Drop for NodeRuntime {
    fn drop(&mut self) {
        self.end();
    }
}
