//! The `BatchCommands` stream: many requests at a time, answered in the order in which they are done.
//!
//! A stream is one task, that of its connection: it reads requests, hands them to the store, and sends what is answered.
//! The store's threads put answers into the stream's [`Inbox`] and wake it; everything that is there by then leaves in
//! one message. It reads no further request while its bound is met, so that clients feel the store's pace.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, Stream, StreamExt};
use futures::task::AtomicWaker;
use observe::metrics::server::RequestType;
use parking_lot::Mutex;
use prost::Message;
use proto::tikvpb::batch_commands_request::Request;
use proto::tikvpb::batch_commands_request::request::Cmd as Command;
use proto::tikvpb::batch_commands_response::Response;
use proto::tikvpb::batch_commands_response::response::Cmd as Reply;
use proto::tikvpb::{
    BatchCommandsEmptyRequest, BatchCommandsEmptyResponse, BatchCommandsRequest, BatchCommandsResponse,
};
use tonic::Status;

use super::evaluate::{Answer, Evaluator};
use super::header::WrongCluster;
use super::plan::RawRequest;
use super::service::HealthFeedbacks;
use super::unsupported;

/// Most answers in one message; reads are done while it is put together, and answers before them should not wait long.
const MAX_ANSWERS_PER_MESSAGE: usize = 256;

/// Bytes from which on a message takes no further answer.
const FULL_MESSAGE_BYTES: usize = 1 << 20;

/// Longest delay that an empty request may ask for.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// Answers that the store's threads have given, until the stream takes them.
#[derive(Default)]
struct Inbox {
    answers: Mutex<Vec<(u64, Answer<Option<Reply>>)>>,
    waker: AtomicWaker,
}

impl Inbox {
    fn put(&self, id: u64, answer: Answer<Option<Reply>>) {
        let first = {
            let mut answers = self.answers.lock();
            answers.push((id, answer));
            answers.len() == 1
        };
        // The first one woke the stream already, which has not come yet to take them all.
        if first {
            self.waker.wake();
        }
    }
}

/// One stream, as the sequence of its answers; its requests come from `inbound`.
pub(super) struct BatchStream<S> {
    evaluator: Arc<Evaluator>,
    health: HealthFeedbacks,
    inbound: S,
    inbound_ended: bool,
    /// What is left of the newest message.
    waiting: std::iter::Zip<std::vec::IntoIter<u64>, std::vec::IntoIter<Request>>,
    /// Requests that were begun and whose answers were not sent.
    in_flight: usize,
    inbox: Arc<Inbox>,
    /// Answers taken out of the inbox.
    answers: std::vec::IntoIter<(u64, Answer<Option<Reply>>)>,
    /// Long reads and delayed answers. They end with the stream.
    running: FuturesUnordered<BoxFuture<'static, (u64, Option<Reply>)>>,
    ended: bool,
}

impl<S> BatchStream<S> {
    pub(super) fn new(evaluator: Arc<Evaluator>, health: HealthFeedbacks, inbound: S) -> Self {
        evaluator.metrics.batch_streams.inc();
        Self {
            evaluator,
            health,
            inbound,
            inbound_ended: false,
            waiting: Vec::new().into_iter().zip(Vec::new()),
            in_flight: 0,
            inbox: Arc::default(),
            answers: Vec::new().into_iter(),
            running: FuturesUnordered::new(),
            ended: false,
        }
    }

    /// Begins one request.
    ///
    /// # Errors
    /// When it is for another cluster.
    fn begin(&mut self, id: u64, command: Option<Command>) -> Result<(), WrongCluster> {
        self.in_flight += 1;
        let Some(command) = command else {
            // A command that this build does not know. Clients take the empty answer for an error.
            self.unserved(id, None);
            return Ok(());
        };
        if let Some(reply) = unsupported::refuse(&command) {
            self.unserved(id, Some(reply));
            return Ok(());
        }
        macro_rules! evaluate {
            ($request:ident, $reply:ident) => {
                self.evaluate(id, $request, |response| Some(Reply::$reply(response)))
            };
        }
        match command {
            Command::RawGet(request) => evaluate!(request, RawGet),
            Command::RawBatchGet(request) => evaluate!(request, RawBatchGet),
            Command::RawPut(request) => evaluate!(request, RawPut),
            Command::RawBatchPut(request) => evaluate!(request, RawBatchPut),
            Command::RawDelete(request) => evaluate!(request, RawDelete),
            Command::RawBatchDelete(request) => evaluate!(request, RawBatchDelete),
            Command::RawScan(request) => evaluate!(request, RawScan),
            Command::RawDeleteRange(request) => evaluate!(request, RawDeleteRange),
            Command::RawBatchScan(request) => evaluate!(request, RawBatchScan),
            Command::RawCoprocessor(request) => evaluate!(request, RawCoprocessor),
            Command::GetHealthFeedback(_) => {
                self.answer(id, Some(Reply::GetHealthFeedback(self.health.next())));
                Ok(())
            }
            Command::Empty(request) => {
                self.running.push(Box::pin(async move { (id, Some(delayed(request).await)) }));
                Ok(())
            }
            other => unreachable!("`unsupported` knows every other command, not {other:?}"),
        }
    }

    fn evaluate<C: RawRequest>(
        &self,
        id: u64,
        request: C,
        wrap: fn(C::Response) -> Option<Reply>,
    ) -> Result<(), WrongCluster> {
        let inbox = Arc::clone(&self.inbox);
        self.evaluator.evaluate(request, wrap, move |answer| inbox.put(id, answer))
    }

    fn unserved(&self, id: u64, reply: Option<Reply>) {
        self.evaluator.metrics.failures[RequestType::Other].inc();
        self.answer(id, reply);
    }

    fn answer(&self, id: u64, reply: Option<Reply>) {
        self.inbox.put(id, Answer::Ready(reply));
    }

    /// Puts a message together from what is done. Empty when nothing is.
    fn collect(&mut self, cx: &mut Context<'_>) -> BatchCommandsResponse {
        let (mut message, mut bytes) = (BatchCommandsResponse::default(), 0);
        while message.request_ids.len() < MAX_ANSWERS_PER_MESSAGE && bytes < FULL_MESSAGE_BYTES {
            let Some((id, reply)) = self.next_reply(cx) else { break };
            let response = Response { cmd: reply };
            bytes += response.encoded_len();
            message.request_ids.push(id);
            message.responses.push(response);
        }
        self.in_flight -= message.request_ids.len();
        message
    }

    /// The next reply that is done, or that is quickly done now.
    fn next_reply(&mut self, cx: &mut Context<'_>) -> Option<(u64, Option<Reply>)> {
        loop {
            if !self.running.is_empty()
                && let Poll::Ready(Some(done)) = self.running.poll_next_unpin(cx)
            {
                return Some(done);
            }
            if self.answers.len() == 0 {
                self.answers = std::mem::take(&mut *self.inbox.answers.lock()).into_iter();
            }
            match self.answers.next()? {
                (id, Answer::Ready(reply)) => return Some((id, reply)),
                (id, Answer::Quick(rest)) => return Some((id, rest())),
                (id, Answer::Long(rest)) => {
                    let read = self.evaluator.run_long(rest);
                    self.running.push(Box::pin(async move { (id, read.await) }));
                }
            }
        }
    }
}

impl<S> BatchStream<S>
where
    S: Stream<Item = Result<BatchCommandsRequest, Status>> + Unpin,
{
    /// Begins the requests that have come, up to the stream's bound.
    fn begin_requests(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        while self.in_flight < self.evaluator.config.max_requests_per_stream.max(1) {
            if let Some((id, request)) = self.waiting.next() {
                self.begin(id, request.cmd)?;
                continue;
            }
            if self.inbound_ended {
                break;
            }
            match self.inbound.poll_next_unpin(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => self.inbound_ended = true,
                Poll::Ready(Some(message)) => self.take_message(message?)?,
            }
        }
        Ok(())
    }

    fn take_message(&mut self, message: BatchCommandsRequest) -> Result<(), Status> {
        let (requests, ids) = (message.requests, message.request_ids);
        if requests.len() != ids.len() {
            let counts = format!("{} requests came with {} ids: each needs its own", requests.len(), ids.len());
            return Err(Status::invalid_argument(counts));
        }
        self.evaluator.metrics.batch_requests.observe(requests.len() as f64);
        self.waiting = ids.into_iter().zip(requests);
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.inbound_ended && self.waiting.len() == 0 && self.in_flight == 0
    }
}

impl<S> Stream for BatchStream<S>
where
    S: Stream<Item = Result<BatchCommandsRequest, Status>> + Unpin,
{
    type Item = Result<BatchCommandsResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        // Before looking for answers: one that comes behind the look must wake the stream.
        this.inbox.waker.register(cx.waker());
        if let Err(status) = this.begin_requests(cx) {
            this.ended = true;
            return Poll::Ready(Some(Err(status)));
        }
        let message = this.collect(cx);
        if !message.request_ids.is_empty() {
            return Poll::Ready(Some(Ok(message)));
        }
        if this.is_done() {
            this.ended = true;
            return Poll::Ready(None);
        }
        Poll::Pending
    }
}

impl<S> Drop for BatchStream<S> {
    fn drop(&mut self) {
        self.evaluator.metrics.batch_streams.dec();
    }
}

/// Clients measure the stream with requests that ask for nothing but a delay in milliseconds.
async fn delayed(request: BatchCommandsEmptyRequest) -> Reply {
    if request.delay_time > 0 {
        tokio::time::sleep(Duration::from_millis(request.delay_time).min(MAX_DELAY)).await;
    }
    Reply::Empty(BatchCommandsEmptyResponse { test_id: request.test_id })
}

#[cfg(test)]
mod tests;
