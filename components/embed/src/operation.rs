//! One operation: a future that can also be waited for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;

use crate::error::Error;

/// An operation under way. It runs while it is awaited or waited for; dropped before it has begun, it does nothing, and
/// dropped later its outcome is unknown.
#[must_use = "an operation does nothing until it is awaited or waited for"]
pub struct Operation<T>(BoxFuture<'static, Result<T, Error>>);

impl<T> Operation<T> {
    pub(crate) fn new(future: impl Future<Output = Result<T, Error>> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }

    /// Blocks the calling thread until the operation is done.
    ///
    /// # Errors
    /// The operation's.
    ///
    /// # Panics
    /// When it is called inside of another executor of the `futures` crate on this thread.
    pub fn wait(self) -> Result<T, Error> {
        futures::executor::block_on(self)
    }
}

impl<T> Future for Operation<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}
