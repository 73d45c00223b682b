//! The sending half of snapshots: one task and one connection for each.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use proto::transport::snapshot_transport_client::SnapshotTransportClient;
use proto::transport::{SnapshotAnswer, SnapshotFrame, SnapshotOffer, snapshot_answer, snapshot_frame};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use types::StoreId;
use types::backoff::Backoff;

use crate::dial::{Dial, DialError, within};
use crate::metrics::Open;
use crate::shared::Shared;
use crate::snapshot::{SendSnapshotError, SnapshotSource, SourceStep, SourceStop};
use crate::wire;

/// Frames between the source and the socket. HTTP/2's own window and the source's bound the rest.
const FRAMES_IN_FLIGHT: usize = 1;

/// How often a source that waits is asked whether it still wants to.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Why an attempt ended.
#[derive(Debug, thiserror::Error)]
enum Attempt {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Stop(#[from] SourceStop),
    #[error("the store is cut off by an administrator")]
    Blocked,
}

impl From<Status> for Attempt {
    fn from(status: Status) -> Self {
        Self::Dial(DialError::Ended(status))
    }
}

/// One snapshot on its way, over as many streams as it takes.
pub(crate) struct OutgoingSnapshot {
    store: StoreId,
    shared: Arc<Shared>,
    /// `None` only while a thread that may block has it.
    source: Option<Box<dyn SnapshotSource>>,
    /// Whether the receiver said on the current stream that it has something new.
    progressed: bool,
}

impl OutgoingSnapshot {
    pub(crate) fn new(shared: Arc<Shared>, store: StoreId, source: Box<dyn SnapshotSource>) -> Self {
        Self { store, shared, source: Some(source), progressed: false }
    }

    /// Sends it, or gives up.
    pub(crate) async fn run(mut self) -> Result<(), SendSnapshotError> {
        let outcome = self.deliver().await;
        let source = self.source.take();
        // It removes files when it goes.
        let _ = tokio::task::spawn_blocking(move || drop(source)).await;
        outcome
    }

    async fn deliver(&mut self) -> Result<(), SendSnapshotError> {
        let _open = Open::count(&self.shared.metrics.outgoing_snapshots);
        let config = self.shared.config.clone();
        let seed = self.shared.identity.instance.0 ^ self.store.0;
        let mut backoff = Backoff::new(config.backoff_min, config.backoff_max, seed);
        let mut attempts = 0;
        loop {
            let error = match self.attempt().await {
                Ok(()) => return Ok(()),
                Err(Attempt::Stop(SourceStop::GiveUp(cause))) => return Err(SendSnapshotError::GivenUp(cause)),
                Err(error) => error,
            };
            // A receiver that refuses, as one whose disk is full, keeps nothing of what it had: the next stream would end
            // as this one did, and so on for ever.
            let refused = matches!(error, Attempt::Stop(_));
            if std::mem::take(&mut self.progressed) && !refused {
                attempts = 0;
                backoff.reset();
            }
            attempts += 1;
            self.shared.metrics.snapshot_stream_failures.inc();
            if attempts >= config.snapshot_attempts {
                return Err(SendSnapshotError::Unreachable { attempts, cause: error.to_string() });
            }
            let pause = backoff.pause();
            let (to, next_try_in_ms) = (self.store.0, pause.as_millis() as u64);
            if refused {
                slog::debug!(self.shared.logger, "snapshot is to be offered again";
                    "to_store" => to, "cause" => %error, "next_try_in_ms" => next_try_in_ms);
            } else {
                slog::warn!(self.shared.logger, "stream of a snapshot broke";
                    "to_store" => to, "cause" => %error, "next_try_in_ms" => next_try_in_ms);
            }
            sleep(pause).await;
        }
    }

    async fn attempt(&mut self) -> Result<(), Attempt> {
        if self.shared.is_blocked(self.store) {
            return Err(Attempt::Blocked);
        }
        // Nobody connects for a snapshot that is not wanted any more.
        self.on_blocking_thread(|source| source.step().map(drop)).await?;
        let mut stream = self.open().await?;
        self.on_blocking_thread(|source| {
            source.connected();
            Ok(())
        })
        .await?;
        self.pump(&mut stream).await
    }

    /// Connects, says Hello and offers the snapshot.
    async fn open(&mut self) -> Result<OpenStream, Attempt> {
        let shared = Arc::clone(&self.shared);
        let dial = Dial { shared: &shared, store: self.store };
        let channel = dial.connect().await?;
        let offer = self
            .on_blocking_thread(|source| {
                let message = Some(wire::encode(&source.message()));
                Ok(SnapshotOffer { message, manifest: source.manifest() })
            })
            .await?;
        let (frames, outgoing) = mpsc::channel(FRAMES_IN_FLIGHT);
        // The channel was just made, so there is room and a receiver.
        let _ = frames.try_send(frame(snapshot_frame::Kind::Hello(dial.hello())));
        let mut client = SnapshotTransportClient::new(channel);
        let limit = shared.config.connect_timeout;
        let answer = within(limit, "saying Hello", client.send(ReceiverStream::new(outgoing))).await??;
        let mut answers = answer.into_inner();
        let first = within(limit, "waiting for Welcome", answers.message()).await??.ok_or(DialError::Closed)?;
        let Some(snapshot_answer::Kind::Welcome(welcome)) = first.kind else {
            return Err(Status::invalid_argument("a stream of a snapshot begins with a Welcome").into());
        };
        dial.check(welcome).await?;
        let offered = frames.send(frame(snapshot_frame::Kind::Offer(offer))).await;
        offered.map_err(|_| DialError::Closed)?;
        Ok(OpenStream { frames, answers })
    }

    /// Does what the source asks for, until it says that all is delivered.
    async fn pump(&mut self, stream: &mut OpenStream) -> Result<(), Attempt> {
        loop {
            if self.shared.is_blocked(self.store) {
                return Err(Attempt::Blocked);
            }
            match self.on_blocking_thread(|source| source.step()).await? {
                SourceStep::Delivered => return Ok(()),
                SourceStep::Chunk(chunk) => {
                    self.send(stream, chunk).await?;
                    // An answer that is here already may open the window, or ask for something else.
                    if let Some(answer) = stream.answers.message().now_or_never() {
                        self.answered(answer).await?;
                    }
                }
                SourceStep::Wait => self.wait(stream, POLL_INTERVAL).await?,
                SourceStep::Pause(pause) => self.wait(stream, pause.min(POLL_INTERVAL)).await?,
            }
        }
    }

    /// Waits until there is room for a chunk, and listens meanwhile: a receiver that refuses reads no further.
    async fn send(&mut self, stream: &mut OpenStream, chunk: proto::transport::SnapshotChunk) -> Result<(), Attempt> {
        let frame = frame(snapshot_frame::Kind::Chunk(chunk));
        loop {
            tokio::select! {
                room = stream.frames.reserve() => {
                    room.map_err(|_| DialError::Closed)?.send(frame);
                    return Ok(());
                }
                answer = stream.answers.message() => self.answered(answer).await?,
            }
        }
    }

    async fn wait(&mut self, stream: &mut OpenStream, limit: Duration) -> Result<(), Attempt> {
        match timeout(limit, stream.answers.message()).await {
            Ok(answer) => self.answered(answer).await,
            Err(_) => Ok(()),
        }
    }

    async fn answered(&mut self, answer: Result<Option<SnapshotAnswer>, Status>) -> Result<(), Attempt> {
        let answer = answer?.ok_or(DialError::Closed)?;
        let news = matches!(answer.kind, Some(snapshot_answer::Kind::Verified(_)));
        self.progressed |= news;
        Ok(self.on_blocking_thread(|source| source.answer(answer)).await?)
    }

    /// Calls the source on a thread that may block: it reads files.
    async fn on_blocking_thread<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut dyn SnapshotSource) -> Result<T, SourceStop> + Send + 'static,
    ) -> Result<T, SourceStop> {
        let lost = || SourceStop::GiveUp("the snapshot's source panicked".to_owned());
        let mut source = self.source.take().ok_or_else(lost)?;
        let called = tokio::task::spawn_blocking(move || {
            let outcome = call(&mut *source);
            (source, outcome)
        });
        let (source, outcome) = called.await.map_err(|_| lost())?;
        self.source = Some(source);
        outcome
    }
}

/// A stream on which the snapshot was offered.
struct OpenStream {
    frames: mpsc::Sender<SnapshotFrame>,
    answers: Streaming<SnapshotAnswer>,
}

fn frame(kind: snapshot_frame::Kind) -> SnapshotFrame {
    SnapshotFrame { kind: Some(kind) }
}
