//! The stream of region heartbeats, kept open.

use std::sync::Arc;

use proto::pdpb::pd_client::PdClient as Stub;
use proto::pdpb::{RegionHeartbeatRequest, RegionHeartbeatResponse, RequestHeader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use crate::pd::leader::{LeaderCaller, backoff};

/// Heartbeats between the queue and the socket.
const IN_FLIGHT: usize = 16;

/// Something that came from the placement driver.
#[derive(Clone, Debug, PartialEq)]
pub enum HeartbeatEvent {
    /// The stream was opened, for the first time or again: the placement driver may know nothing, so send the
    /// heartbeat of every region that this store leads.
    Opened,
    /// An order for a region, or an answer that asks for nothing. Check its epoch: it may be stale.
    Answer(Box<RegionHeartbeatResponse>),
}

/// A stream of region heartbeats. It is opened again whenever it breaks; dropping this closes it.
pub struct RegionHeartbeats {
    heartbeats: mpsc::Sender<RegionHeartbeatRequest>,
    events: mpsc::Receiver<HeartbeatEvent>,
    task: JoinHandle<()>,
}

impl RegionHeartbeats {
    pub(crate) fn open(caller: Arc<LeaderCaller>) -> Self {
        let (heartbeats, waiting) = mpsc::channel(caller.config().heartbeat_queue.max(1));
        let (tell, events) = mpsc::channel(caller.config().heartbeat_queue.max(1));
        let task = tokio::spawn(Task { caller, waiting, tell }.run());
        Self { heartbeats, events, task }
    }

    /// Queues a region's heartbeat; its header is filled in. False when the queue is full and it was dropped: the next
    /// one tells the same and more.
    pub fn send(&self, heartbeat: RegionHeartbeatRequest) -> bool {
        self.heartbeats.try_send(heartbeat).is_ok()
    }

    /// A handle that only sends, for other tasks and threads.
    pub fn sender(&self) -> HeartbeatSender {
        HeartbeatSender(self.heartbeats.clone())
    }

    /// The next event. Loses nothing when it is cancelled.
    pub async fn next(&mut self) -> HeartbeatEvent {
        let event = self.events.recv().await;
        event.expect("the task that holds the other end runs until this is dropped")
    }
}

impl Drop for RegionHeartbeats {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends region heartbeats; see [`RegionHeartbeats::sender`].
#[derive(Clone)]
pub struct HeartbeatSender(mpsc::Sender<RegionHeartbeatRequest>);

impl HeartbeatSender {
    /// See [`RegionHeartbeats::send`].
    pub fn send(&self, heartbeat: RegionHeartbeatRequest) -> bool {
        self.0.try_send(heartbeat).is_ok()
    }
}

struct Task {
    caller: Arc<LeaderCaller>,
    waiting: mpsc::Receiver<RegionHeartbeatRequest>,
    tell: mpsc::Sender<HeartbeatEvent>,
}

impl Task {
    /// Opens streams, one after the other, until it is aborted.
    async fn run(mut self) {
        let mut backoff = backoff(self.caller.config());
        loop {
            let (channel, generation) = self.caller.current();
            let (end, answered) = self.stream(channel).await;
            slog::info!(self.caller.logger(), "stream of region heartbeats ended"; "cause" => %end);
            if answered {
                backoff.reset();
            }
            tokio::time::sleep(backoff.pause()).await;
            while !self.find_leader(generation).await {
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }

    /// Whether there is a leader that can be connected to.
    async fn find_leader(&self, generation: u64) -> bool {
        let found = self.caller.search(generation).await;
        found.unwrap_or_else(|error| {
            slog::error!(self.caller.logger(), "region heartbeats cannot be sent"; "cause" => %error);
            false
        })
    }

    /// Serves one stream to its end. Says whether the placement driver ever answered on it.
    async fn stream(&mut self, channel: Channel) -> (Status, bool) {
        // What waited for an older stream is older than what is sent after `Opened`.
        while self.waiting.try_recv().is_ok() {}
        if self.tell.send(HeartbeatEvent::Opened).await.is_err() {
            return (Status::cancelled("nobody listens any more"), false);
        }
        let (outgoing, body) = mpsc::channel(IN_FLIGHT);
        let header = RequestHeader { cluster_id: self.caller.cluster_id(), ..Default::default() };
        let mut answered = false;
        let end = tokio::select! {
            end = forward(&mut self.waiting, outgoing, header) => end,
            end = listen(channel, body, &self.tell, &mut answered) => end,
        };
        (end, answered)
    }
}

async fn forward(
    waiting: &mut mpsc::Receiver<RegionHeartbeatRequest>,
    outgoing: mpsc::Sender<RegionHeartbeatRequest>,
    header: RequestHeader,
) -> Status {
    while let Some(heartbeat) = waiting.recv().await {
        let heartbeat = RegionHeartbeatRequest { header: Some(header.clone()), ..heartbeat };
        if outgoing.send(heartbeat).await.is_err() {
            return Status::unavailable("the stream was closed");
        }
    }
    Status::cancelled("nobody sends any more")
}

/// Opens the stream and hands on what comes. The real placement driver answers nothing, not even that the stream is
/// open, before a first heartbeat came: so heartbeats are sent while this still waits.
async fn listen(
    channel: Channel,
    body: mpsc::Receiver<RegionHeartbeatRequest>,
    tell: &mpsc::Sender<HeartbeatEvent>,
    answered: &mut bool,
) -> Status {
    let mut answers = match Stub::new(channel).region_heartbeat(ReceiverStream::new(body)).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return status,
    };
    *answered = true;
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                if tell.send(HeartbeatEvent::Answer(Box::new(answer))).await.is_err() {
                    return Status::cancelled("nobody listens any more");
                }
            }
            Ok(None) => return Status::unavailable("the stream was closed"),
            Err(status) => return status,
        }
    }
}
