//! The sending half: one task for each store that this one sends to.

use std::sync::Arc;
use std::time::Duration;

use proto::transport::store_transport_client::StoreTransportClient;
use proto::transport::{Batch, Frame, Welcome, frame};
use region::RegionMessage;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use types::StoreId;
use types::backoff::Backoff;

use crate::dial::{Dial, DialError, within};
use crate::metrics::Open;
use crate::queue::SendQueue;
use crate::shared::Shared;
use crate::wire;

/// Frames between the queue and the socket. More would only make messages wait where the queue's bound does not count
/// them.
const FRAMES_IN_FLIGHT: usize = 2;

/// A link's own state: what waits, and whom for.
pub(crate) struct Link {
    store: StoreId,
    pub(crate) queue: SendQueue,
    shared: Arc<Shared>,
}

impl Link {
    pub(crate) fn new(store: StoreId, shared: Arc<Shared>) -> Self {
        Self { store, queue: SendQueue::new(&shared.config), shared }
    }

    /// Sends what is queued, until it is cancelled. Connects only while there is something to send, so that nobody
    /// knocks for ever at a store that was removed.
    pub(crate) async fn run(self: Arc<Self>) {
        let config = &self.shared.config;
        let seed = self.shared.identity.instance.0 ^ self.store.0;
        let mut backoff = Backoff::new(config.backoff_min, config.backoff_max, seed);
        let mut reports = Reports { interval: config.unreachable_interval, last: None };
        // Tries since the last connection that failed.
        let mut failures = 0_u64;
        loop {
            self.queue.not_empty().await;
            let error = match self.open().await {
                Ok(stream) => {
                    backoff.reset();
                    failures = 0;
                    self.pump(stream).await
                }
                Err(error) => error,
            };
            let pause = backoff.pause();
            failures += 1;
            self.tell_failure(&error, failures, pause);
            self.shared.metrics.link_failures.inc();
            self.lose(&self.queue.clear());
            if reports.is_due() {
                self.shared.collaborators.receiver.unreachable(self.store);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// A store may be away for days: the 1st, 2nd, 4th, 8th failure and so on are worth a warning.
    fn tell_failure(&self, error: &DialError, failures: u64, pause: Duration) {
        let (to_store, next_try_in_ms) = (self.store.0, pause.as_millis() as u64);
        if failures.is_power_of_two() {
            slog::warn!(self.shared.logger, "store cannot be reached"; "to_store" => to_store, "cause" => %error,
                "failures" => failures, "next_try_in_ms" => next_try_in_ms);
        } else {
            slog::debug!(self.shared.logger, "store cannot be reached"; "to_store" => to_store, "cause" => %error,
                "failures" => failures, "next_try_in_ms" => next_try_in_ms);
        }
    }

    /// Connects and says Hello.
    async fn open(&self) -> Result<OpenStream, DialError> {
        let dial = Dial { shared: &self.shared, store: self.store };
        let channel = dial.connect().await?;
        let (frames, outgoing) = mpsc::channel(FRAMES_IN_FLIGHT);
        // The channel was just made, so there is room and a receiver.
        let _ = frames.try_send(Frame { kind: Some(frame::Kind::Hello(dial.hello())) });
        let mut client = StoreTransportClient::new(channel);
        let limit = self.shared.config.connect_timeout;
        let answer = within(limit, "saying Hello", client.exchange(ReceiverStream::new(outgoing))).await??;
        let mut welcomes = answer.into_inner();
        let welcome = within(limit, "waiting for Welcome", welcomes.message()).await??.ok_or(DialError::Closed)?;
        dial.check(welcome).await?;
        slog::info!(self.shared.logger, "connected to store"; "to_store" => self.store.0);
        Ok(OpenStream { frames, welcomes })
    }

    /// Sends frames until the stream ends.
    async fn pump(&self, stream: OpenStream) -> DialError {
        let OpenStream { frames, mut welcomes } = stream;
        let _open = Open::count(&self.shared.metrics.outgoing_streams);
        tokio::select! {
            error = self.send_frames(frames) => error,
            error = watch(&mut welcomes) => error,
        }
    }

    async fn send_frames(&self, frames: mpsc::Sender<Frame>) -> DialError {
        loop {
            let messages = self.queue.next_frame().await;
            if frames.send(frame(&messages)).await.is_err() {
                self.lose(&messages);
                return DialError::Closed;
            }
            self.shared.metrics.frame_messages.observe(messages.len() as f64);
            for message in &messages {
                self.shared.metrics.count_sent(message);
            }
        }
    }

    fn lose(&self, messages: &[RegionMessage]) {
        for message in messages {
            self.shared.metrics.count_dropped(message, "unreachable");
        }
    }
}

/// A stream on which the other store said Welcome.
struct OpenStream {
    frames: mpsc::Sender<Frame>,
    welcomes: Streaming<Welcome>,
}

/// Waits for the end of a stream on which nothing more is expected.
async fn watch(welcomes: &mut Streaming<Welcome>) -> DialError {
    loop {
        match welcomes.message().await {
            Ok(Some(_)) => {}
            Ok(None) => return DialError::Closed,
            Err(status) => return DialError::Ended(status),
        }
    }
}

fn frame(messages: &[RegionMessage]) -> Frame {
    let messages = messages.iter().map(wire::encode).collect();
    Frame { kind: Some(frame::Kind::Batch(Batch { messages })) }
}

/// Limits how often a store is reported as unreachable.
struct Reports {
    interval: Duration,
    last: Option<Instant>,
}

impl Reports {
    fn is_due(&mut self) -> bool {
        let due = self.last.is_none_or(|last| last.elapsed() >= self.interval);
        if due {
            self.last = Some(Instant::now());
        }
        due
    }
}
