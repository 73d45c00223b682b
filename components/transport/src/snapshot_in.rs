//! The receiving half of snapshots: the gRPC service that other stores send them to.

use std::sync::Arc;

use proto::transport::snapshot_answer::Kind;
use proto::transport::snapshot_transport_server::SnapshotTransport;
use proto::transport::{
    SnapshotAnswer, SnapshotChunk, SnapshotFrame, SnapshotOffer, SnapshotReceived, SnapshotRefused, snapshot_frame,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};
use types::StoreId;

use crate::handshake::{Handshakes, Refused};
use crate::metrics::Open;
use crate::shared::Shared;
use crate::snapshot::{SinkStep, SnapshotHandler, SnapshotSink};
use crate::wire;

/// Largest frame of a snapshot's stream: an offer with a manifest, or a chunk.
pub(crate) const MAX_SNAPSHOT_FRAME_BYTES: usize = 8 << 20;

/// The kind of a refusal that asks the sender to come again: see `SnapshotRefused`.
const LATER: u32 = 1;

/// Answers between the sink and the socket. A sender that does not read them is not read either.
const ANSWERS_IN_FLIGHT: usize = 4;

/// The service; cheap to clone.
#[derive(Clone)]
pub struct InboundSnapshots {
    shared: Arc<Shared>,
    handshakes: Handshakes,
    handler: Arc<dyn SnapshotHandler>,
    /// Bounds the streams, those that wait for an answer of the handler included.
    permits: Arc<Semaphore>,
}

impl InboundSnapshots {
    pub(crate) fn new(shared: Arc<Shared>, handshakes: Handshakes, handler: Arc<dyn SnapshotHandler>) -> Self {
        let permits = Arc::new(Semaphore::new(shared.config.max_snapshots));
        Self { shared, handshakes, handler, permits }
    }
}

#[tonic::async_trait]
impl SnapshotTransport for InboundSnapshots {
    async fn send(
        &self,
        request: Request<Streaming<SnapshotFrame>>,
    ) -> Result<Response<BoxStream<SnapshotAnswer>>, Status> {
        let remote = request.remote_addr().map_or_else(|| "an unknown address".to_owned(), |addr| addr.to_string());
        let mut frames = request.into_inner();
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| self.handshakes.refuse(&remote, Refused::Crowded))?;
        let first = async {
            match frames.message().await? {
                Some(SnapshotFrame { kind: Some(snapshot_frame::Kind::Hello(hello)) }) => Ok(Some(hello)),
                _ => Ok(None),
            }
        };
        let from = self.handshakes.begin(&remote, first).await?;
        let (answers, outgoing) = mpsc::channel(ANSWERS_IN_FLIGHT);
        // The channel was just made, so there is room and a receiver.
        let _ = answers.try_send(Ok(answer(Kind::Welcome(self.handshakes.welcome()))));
        let (shared, handler) = (Arc::clone(&self.shared), Arc::clone(&self.handler));
        tokio::spawn(Incoming { shared, handler, from, frames, answers, _permit: permit }.run());
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

/// One stream of a snapshot.
struct Incoming {
    shared: Arc<Shared>,
    handler: Arc<dyn SnapshotHandler>,
    from: StoreId,
    frames: Streaming<SnapshotFrame>,
    answers: mpsc::Sender<Result<SnapshotAnswer, Status>>,
    _permit: OwnedSemaphorePermit,
}

/// How a stream ended before the snapshot was received.
enum End {
    /// The sender is told by an answer.
    Refused(SnapshotRefused),
    /// The sender is told by the stream's status.
    Status(Status),
    /// There is nobody left to tell.
    Gone,
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<SnapshotRefused> for End {
    fn from(refused: SnapshotRefused) -> Self {
        Self::Refused(refused)
    }
}

impl Incoming {
    async fn run(mut self) {
        let _open = Open::count(&self.shared.metrics.incoming_snapshots);
        let last = match self.receive().await {
            Ok(()) => Ok(answer(Kind::Received(SnapshotReceived {}))),
            Err(End::Refused(refused)) => {
                self.shared.metrics.count_refused("snapshot");
                self.tell_refusal(&refused);
                Ok(answer(Kind::Refused(refused)))
            }
            Err(End::Status(status)) => {
                self.shared.metrics.count_refused("stream_error");
                slog::warn!(self.shared.logger, "stream of a snapshot broke";
                    "from_store" => self.from.0, "cause" => %status);
                Err(status)
            }
            Err(End::Gone) => return,
        };
        let _ = self.answers.send(last).await;
    }

    /// A store that takes many regions in puts some of them off; its bounds are there for that.
    fn tell_refusal(&self, refused: &SnapshotRefused) {
        let (logger, from, cause) = (&self.shared.logger, self.from.0, &refused.reason);
        if refused.kind == LATER {
            slog::info!(logger, "snapshot put off"; "from_store" => from, "cause" => cause);
        } else {
            slog::warn!(logger, "snapshot refused"; "from_store" => from, "cause" => cause);
        }
    }

    async fn receive(&mut self) -> Result<(), End> {
        let mut sink = self.take_offer().await?;
        let wanted = sink.call(|sink| Ok(sink.wanted())).await?;
        self.say(wanted).await?;
        while !sink.call(|sink| Ok(sink.has_all())).await? {
            let chunk = self.next_chunk().await?;
            let SinkStep { answer, pause } = sink.call(|sink| sink.take(chunk)).await?;
            // The sender's window stays closed meanwhile: so a limit here slows it there.
            sleep(pause).await;
            if let Some(answer) = answer {
                self.say(answer).await?;
            }
        }
        while !sink.call(|sink| sink.step()).await? {
            if self.answers.is_closed() {
                return Err(End::Gone);
            }
        }
        Ok(())
    }

    /// The offer, as the handler takes it.
    async fn take_offer(&mut self) -> Result<Sink, End> {
        let waited = timeout(self.shared.config.connect_timeout, self.next_frame()).await;
        let frame = waited.map_err(|_| Status::deadline_exceeded("no offer came in time"))??;
        let snapshot_frame::Kind::Offer(SnapshotOffer { message: Some(message), manifest }) = frame else {
            return Err(Status::invalid_argument("after the Hello comes an offer").into());
        };
        let message = wire::decode(message, self.from, self.shared.identity.store).map_err(|error| {
            self.shared.metrics.count_refused(error.label());
            Status::invalid_argument(error.to_string())
        })?;
        let (handler, from) = (Arc::clone(&self.handler), self.from);
        let offered = tokio::task::spawn_blocking(move || handler.offer(from, message, manifest).map(Guard::new));
        let guard = offered.await.map_err(|_| Status::internal("the snapshot's receiver panicked"))??;
        Ok(Sink(Some(guard)))
    }

    async fn next_chunk(&mut self) -> Result<SnapshotChunk, End> {
        let waited = timeout(self.shared.config.snapshot_silence, self.next_frame()).await;
        match waited.map_err(|_| Status::deadline_exceeded("no chunk came for long"))?? {
            snapshot_frame::Kind::Chunk(chunk) => Ok(chunk),
            _ => Err(Status::invalid_argument("after the offer come only chunks").into()),
        }
    }

    async fn next_frame(&mut self) -> Result<snapshot_frame::Kind, End> {
        let next = tokio::select! {
            next = self.frames.message() => next?,
            () = self.answers.closed() => return Err(End::Gone),
        };
        if self.shared.is_blocked(self.from) {
            return Err(Status::unavailable("the sending store is cut off here").into());
        }
        let frame = next.ok_or(End::Gone)?;
        frame.kind.ok_or_else(|| Status::invalid_argument("a frame says nothing").into())
    }

    async fn say(&self, answer: SnapshotAnswer) -> Result<(), End> {
        self.answers.send(Ok(answer)).await.map_err(|_| End::Gone)
    }
}

fn answer(kind: Kind) -> SnapshotAnswer {
    SnapshotAnswer { kind: Some(kind) }
}

/// Tells a sink that its stream ended, wherever it is when that happens.
struct Guard(Option<Box<dyn SnapshotSink>>);

impl Guard {
    fn new(sink: Box<dyn SnapshotSink>) -> Self {
        Self(Some(sink))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(sink) = self.0.take() {
            sink.interrupted();
        }
    }
}

/// A sink that is called on threads that may block.
struct Sink(Option<Guard>);

impl Sink {
    async fn call<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut dyn SnapshotSink) -> Result<T, SnapshotRefused> + Send + 'static,
    ) -> Result<T, End> {
        let lost = || End::Status(Status::internal("the snapshot's receiver panicked"));
        let mut guard = self.0.take().ok_or_else(lost)?;
        let called = tokio::task::spawn_blocking(move || {
            let sink = guard.0.as_deref_mut().expect("a guard is emptied by drop alone");
            let outcome = call(sink);
            (guard, outcome)
        });
        let (guard, outcome) = called.await.map_err(|_| lost())?;
        self.0 = Some(guard);
        Ok(outcome?)
    }
}
