//! Many requests on one `BatchCommands` stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message as _;
use proto::tikvpb::batch_commands_request::Request;
use proto::tikvpb::batch_commands_request::request::Cmd as Command;
use proto::tikvpb::batch_commands_response::response::Cmd as Reply;
use proto::tikvpb::tikv_client::TikvClient;
use proto::tikvpb::{BatchCommandsRequest, BatchCommandsResponse};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::channel::MAX_ANSWER_BYTES;
use crate::raw::config::ClientConfig;
use crate::raw::stores::SendError;

/// Frames between the queue and the socket.
const FRAMES_IN_FLIGHT: usize = 2;

/// Multiplexes requests on one stream, which is opened by the first of them and again after it broke. Ends when the
/// last handle is dropped.
#[derive(Clone)]
pub(crate) struct BatchStream {
    submit: mpsc::Sender<Submission>,
}

type Answer = Result<Reply, SendError>;

struct Submission {
    command: Command,
    answer: oneshot::Sender<Answer>,
}

impl BatchStream {
    pub(crate) fn open(channel: Channel, config: &ClientConfig) -> Self {
        let (submit, submissions) = mpsc::channel(config.batch_max_requests.max(1));
        let task = Task {
            channel,
            submissions,
            max_requests: config.batch_max_requests.max(1),
            max_bytes: config.batch_max_bytes,
            in_flight: Arc::new(InFlight::new(config.batch_max_in_flight.max(1))),
        };
        tokio::spawn(task.run());
        Self { submit }
    }

    /// Sends one command and waits for its reply.
    pub(crate) async fn call(&self, command: Command) -> Answer {
        let (answer, reply) = oneshot::channel();
        let ended = || SendError::broken("the stream's task ended");
        self.submit.send(Submission { command, answer }).await.map_err(|_| ended())?;
        reply.await.unwrap_or_else(|_| Err(ended()))
    }
}

struct Task {
    channel: Channel,
    submissions: mpsc::Receiver<Submission>,
    max_requests: usize,
    max_bytes: usize,
    in_flight: Arc<InFlight>,
}

impl Task {
    async fn run(mut self) {
        while let Some(first) = self.submissions.recv().await {
            let error = self.stream(first).await;
            self.in_flight.fail_all(&error);
        }
    }

    /// Serves one stream to its end.
    async fn stream(&mut self, first: Submission) -> SendError {
        let (frames, body) = mpsc::channel(FRAMES_IN_FLIGHT);
        let stub = TikvClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let in_flight = Arc::clone(&self.in_flight);
        tokio::select! {
            error = self.send_frames(first, frames) => error,
            error = take_replies(stub, body, &in_flight) => error,
        }
    }

    async fn send_frames(&mut self, first: Submission, frames: mpsc::Sender<BatchCommandsRequest>) -> SendError {
        let mut next = first;
        loop {
            let frame = self.gather(next).await;
            if !frame.requests.is_empty() && frames.send(frame).await.is_err() {
                return SendError::broken("the stream was closed");
            }
            next = match self.submissions.recv().await {
                Some(submission) => submission,
                None => return SendError::broken("the client was dropped"),
            };
        }
    }

    /// One frame of what waits. Nobody waits for it to fill: under load it does so by itself.
    async fn gather(&mut self, first: Submission) -> BatchCommandsRequest {
        let mut frame = BatchCommandsRequest::default();
        let (mut next, mut bytes) = (Some(first), 0);
        while let Some(Submission { command, answer }) = next.take() {
            if !answer.is_closed() {
                frame.request_ids.push(self.in_flight.admit(answer).await);
                let request = Request { cmd: Some(command) };
                bytes += request.encoded_len();
                frame.requests.push(request);
            }
            if frame.requests.len() < self.max_requests && bytes < self.max_bytes {
                next = self.submissions.try_recv().ok();
            }
        }
        frame
    }
}

async fn take_replies(
    mut stub: TikvClient<Channel>,
    body: mpsc::Receiver<BatchCommandsRequest>,
    in_flight: &InFlight,
) -> SendError {
    let mut replies = match stub.batch_commands(ReceiverStream::new(body)).await {
        Ok(replies) => replies.into_inner(),
        Err(status) => return SendError::of_stream(status),
    };
    loop {
        match replies.message().await {
            Ok(Some(frame)) if frame.responses.len() == frame.request_ids.len() => in_flight.answer(frame),
            Ok(Some(_)) => return SendError::broken("a frame has other numbers of ids and replies"),
            Ok(None) => return SendError::broken("the stream was closed"),
            Err(status) => return SendError::of_stream(status),
        }
    }
}

/// Who waits for which reply.
struct InFlight {
    max: usize,
    waiting: Mutex<Waiting>,
    answered: Notify,
}

#[derive(Default)]
struct Waiting {
    last_id: u64,
    answers: BTreeMap<u64, oneshot::Sender<Answer>>,
}

impl InFlight {
    fn new(max: usize) -> Self {
        Self { max, waiting: Mutex::default(), answered: Notify::new() }
    }

    /// Gives the next id, once there is room.
    async fn admit(&self, answer: oneshot::Sender<Answer>) -> u64 {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if waiting.answers.len() >= self.max {
                    // Those who gave up waiting leave their place.
                    waiting.answers.retain(|_, answer| !answer.is_closed());
                }
                if waiting.answers.len() < self.max {
                    waiting.last_id += 1;
                    let id = waiting.last_id;
                    waiting.answers.insert(id, answer);
                    return id;
                }
            }
            self.answered.notified().await;
        }
    }

    fn answer(&self, frame: BatchCommandsResponse) {
        let mut waiting = self.waiting.lock();
        for (id, response) in frame.request_ids.into_iter().zip(frame.responses) {
            let reply = response.cmd.ok_or_else(|| SendError::broken("the reply is empty"));
            if let Some(answer) = waiting.answers.remove(&id) {
                // Whoever gave up does not want it any more.
                let _ = answer.send(reply);
            }
        }
        drop(waiting);
        self.answered.notify_one();
    }

    fn fail_all(&self, error: &SendError) {
        let waiting = std::mem::take(&mut self.waiting.lock().answers);
        for answer in waiting.into_values() {
            let _ = answer.send(Err(error.clone()));
        }
    }
}
