//! Snapshots between the store and the network: what the store sends leaves by the transport, and what comes is handed to
//! the store, chunk by chunk and in the end as a whole.

use std::sync::Arc;

use bytes::Bytes;
use proto::transport::{SnapshotAnswer, SnapshotChunk, SnapshotRefused};
use region::RegionMessage;
use runtime::clock::Clock;
use slog::{Logger, info, warn};
use snapshot::wire::WireError;
use snapshot::{Delivery, DeliveryStep, Reception, ReceptionStep, Refusal, RefusalKind, SendError};
use store::{Shipment, SnapshotCarrier};
use transport::{GrpcTransport, SinkStep, SnapshotHandler, SnapshotSink, SnapshotSource, SourceStep, SourceStop};
use types::StoreId;

use super::peers::LocalStore;

/// Bytes of a received snapshot that are looked through between two looks at whether its sender is still there.
const VERIFY_BYTES: usize = 4 << 20;

/// Carries the store's snapshots by gRPC.
pub(super) struct GrpcCarrier {
    pub(super) transport: Arc<GrpcTransport>,
    /// The store's clock.
    pub(super) clock: Arc<dyn Clock>,
    pub(super) logger: Logger,
}

impl SnapshotCarrier for GrpcCarrier {
    fn carry(&self, shipment: Shipment) {
        let to = shipment.to;
        let (message, delivery, outcome) = shipment.into_parts();
        let (region, logger) = (message.region.0, self.logger.clone());
        info!(logger, "a snapshot is sent"; "region_id" => region, "to_store" => to.0);
        let source = Outgoing { delivery, message, clock: Arc::clone(&self.clock) };
        self.transport.send_snapshot(to, Box::new(source), move |sent| {
            match &sent {
                Ok(()) => info!(logger, "a snapshot is delivered"; "region_id" => region, "to_store" => to.0),
                Err(error) => warn!(logger, "a snapshot is not delivered";
                    "region_id" => region, "to_store" => to.0, "reason" => %error),
            }
            outcome.respond(sent.ok());
        });
    }
}

/// A snapshot on its way out, as the transport drives it.
struct Outgoing {
    delivery: Delivery,
    message: RegionMessage,
    clock: Arc<dyn Clock>,
}

fn stop(error: SendError) -> SourceStop {
    if error.may_retry() { SourceStop::Retry(error.to_string()) } else { SourceStop::GiveUp(error.to_string()) }
}

impl SnapshotSource for Outgoing {
    fn message(&self) -> RegionMessage {
        self.message.clone()
    }

    fn manifest(&self) -> Bytes {
        self.delivery.manifest().clone()
    }

    fn connected(&mut self) {
        self.delivery.connected();
    }

    fn step(&mut self) -> Result<SourceStep, SourceStop> {
        let now = self.clock.now();
        Ok(match self.delivery.step(now).map_err(stop)? {
            DeliveryStep::Chunk(chunk) => SourceStep::Chunk(chunk.into()),
            DeliveryStep::Wait => SourceStep::Wait,
            DeliveryStep::WaitUntil(moment) => SourceStep::Pause(moment.since(now)),
            DeliveryStep::Delivered => SourceStep::Delivered,
        })
    }

    fn answer(&mut self, answer: SnapshotAnswer) -> Result<(), SourceStop> {
        let answer = answer.try_into().map_err(|error: WireError| SourceStop::GiveUp(error.to_string()))?;
        self.delivery.answer(answer).map_err(stop)
    }
}

/// Takes snapshots of other stores for the local one.
pub(super) struct Incoming {
    pub(super) store: Arc<LocalStore>,
    /// The store's clock.
    pub(super) clock: Arc<dyn Clock>,
}

impl SnapshotHandler for Incoming {
    fn offer(
        &self,
        from: StoreId,
        message: RegionMessage,
        manifest: Bytes,
    ) -> Result<Box<dyn SnapshotSink>, SnapshotRefused> {
        let store = self.store.get().ok_or_else(not_now)?;
        let reception = store.offer_snapshot(from, &message, manifest)?;
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        Ok(Box::new(Sink { reception, message: Some(message), store, clock }))
    }
}

fn not_now() -> SnapshotRefused {
    let reason = "the store is starting or stopping: try again later".to_owned();
    Refusal { kind: RefusalKind::Later, reason }.into()
}

/// A snapshot on its way in, as the transport drives it.
struct Sink {
    reception: Reception,
    /// `None` once it was handed to its region.
    message: Option<RegionMessage>,
    store: Arc<LocalStore>,
    clock: Arc<dyn Clock>,
}

impl SnapshotSink for Sink {
    fn wanted(&mut self) -> SnapshotAnswer {
        self.reception.wanted().into()
    }

    fn take(&mut self, chunk: SnapshotChunk) -> Result<SinkStep, SnapshotRefused> {
        let damaged = |error: WireError| Refusal { kind: RefusalKind::Damaged, reason: error.to_string() };
        let chunk = chunk.try_into().map_err(damaged)?;
        let now = self.clock.now();
        let taken = self.reception.take(&chunk, now).map_err(|error| error.refusal())?;
        Ok(SinkStep { answer: taken.answer.map(Into::into), pause: taken.ready_at.since(now) })
    }

    fn has_all(&self) -> bool {
        self.reception.has_all()
    }

    fn step(&mut self) -> Result<bool, SnapshotRefused> {
        match self.reception.step(VERIFY_BYTES, self.clock.now()).map_err(|error| error.refusal())? {
            ReceptionStep::More => Ok(false),
            ReceptionStep::Received(received, transfer) => {
                let store = self.store.get().ok_or_else(not_now)?;
                let message = self.message.take().expect("a snapshot is received once");
                store.snapshot_received(message, received, transfer);
                Ok(true)
            }
        }
    }

    fn interrupted(self: Box<Self>) {
        self.reception.interrupted(self.clock.now());
    }
}
