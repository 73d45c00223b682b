//! Streams that answer what comes in on a stream.

use std::future::Future;

use futures::{StreamExt, stream};
use tonic::codegen::BoxStream;
use tonic::{Response, Status};

use super::bridge::Bridge;

/// One stream's conversation. It runs as far as the client reads: there is no queue between it and the socket.
pub(super) trait Exchange: Send + 'static {
    /// What the client is sent.
    type Answer: Send + 'static;

    /// The next answer; `None` when the client has ended the conversation.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Answer>, Status>> + Send;
}

impl Bridge {
    /// Holds a conversation until the client ends it, it fails, or the services close.
    pub(super) fn hold<E: Exchange>(&self, exchange: E) -> Response<BoxStream<E::Answer>> {
        let answers = stream::unfold(Some(exchange), |exchange| async {
            let mut exchange = exchange?;
            match exchange.next().await {
                Ok(answer) => answer.map(|answer| (Ok(answer), Some(exchange))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Response::new(Box::pin(answers.take_until(self.clone().closed())))
    }
}
