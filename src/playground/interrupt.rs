//! Work that ends early when the process shall end.

use super::error::PlaygroundError;
use crate::commands::signals::Signals;

/// Told when the process shall end.
#[derive(Clone)]
pub struct Interrupt(pub Signals);

impl Interrupt {
    /// Fails once the process shall end.
    ///
    /// # Errors
    /// [`PlaygroundError::Interrupted`].
    pub fn check(&self) -> Result<(), PlaygroundError> {
        self.0.received().map_or(Ok(()), |name| Err(PlaygroundError::Interrupted(name)))
    }

    /// Waits until the process shall end.
    pub async fn wait(&self) {
        self.0.wait().await;
    }

    /// Does `work` unless the process shall end before it is done.
    ///
    /// # Errors
    /// Those of the work, and [`PlaygroundError::Interrupted`].
    pub async fn or<T, E: Into<PlaygroundError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, PlaygroundError> {
        tokio::select! {
            done = work => done.map_err(Into::into),
            name = self.0.wait() => Err(PlaygroundError::Interrupted(name)),
        }
    }
}
