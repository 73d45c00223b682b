//! Snapshots between members of one process.

use std::sync::OnceLock;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never};
use region::RegionMessage;
use runtime::spawn::{Spawner, ThreadSpawner};
use snapshot::{Answer, Delivery, DeliveryStep, Reception, ReceptionStep, SendError};
use store::{Shipment, SnapshotCarrier, StoreHandle};
use types::{Instant, StoreId};

use crate::network::LocalNetwork;

/// Most snapshots that wait for the one before them; more are refused, and raft asks again.
const MAX_WAITING: usize = 64;

/// Bytes of a snapshot that are looked through at once.
const VERIFY_BYTES: usize = 4 << 20;

/// Longest pause for the sake of the bandwidth; behind it the members are looked at again.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Carries one store's snapshots to other members of its process, one after another, on a thread of its own that is started
/// with the first one and ends when this is dropped.
pub(crate) struct LocalCarrier {
    network: LocalNetwork,
    from: StoreId,
    /// `None` when the thread could not be started: then nothing arrives.
    queue: OnceLock<Option<Sender<Shipment>>>,
}

impl LocalCarrier {
    pub(crate) fn new(network: LocalNetwork, from: StoreId) -> Self {
        Self { network, from, queue: OnceLock::new() }
    }

    fn start(&self) -> Option<Sender<Shipment>> {
        let (queue, waiting) = bounded(MAX_WAITING);
        let courier = Courier { network: self.network.clone(), from: self.from };
        // Nobody waits for the thread: it would wait for itself when it holds the last handle of the store that owns this.
        let started = ThreadSpawner.spawn(&format!("carrier-{}", self.from), Box::new(move || courier.run(&waiting)));
        started.ok().map(|_| queue)
    }
}

impl SnapshotCarrier for LocalCarrier {
    fn carry(&self, shipment: Shipment) {
        let refused = match self.queue.get_or_init(|| self.start()) {
            Some(queue) => queue.try_send(shipment).err().map(crossbeam_channel::TrySendError::into_inner),
            None => Some(shipment),
        };
        if let Some(shipment) = refused {
            shipment.end(false);
        }
    }
}

/// Takes snapshots to their receivers.
struct Courier {
    network: LocalNetwork,
    from: StoreId,
}

/// Why a snapshot did not arrive. Raft asks for another one; nobody reads more than that.
struct Failed;

impl From<SendError> for Failed {
    fn from(_: SendError) -> Self {
        Self
    }
}

impl Courier {
    fn run(&self, waiting: &Receiver<Shipment>) {
        for shipment in waiting {
            let to = shipment.to;
            let (message, mut delivery, outcome) = shipment.into_parts();
            let delivered = self.deliver(to, &message, &mut delivery).ok();
            // Its files are gone when its sender hears of the end.
            drop(delivery);
            outcome.respond(delivered);
        }
    }

    /// Both ends, if they are still members.
    fn ends(&self, to: StoreId) -> Result<(StoreHandle, StoreHandle), Failed> {
        Ok((self.network.member(self.from).ok_or(Failed)?, self.network.member(to).ok_or(Failed)?))
    }

    fn deliver(&self, to: StoreId, message: &RegionMessage, delivery: &mut Delivery) -> Result<(), Failed> {
        let (_, receiver) = self.ends(to)?;
        let manifest = delivery.manifest().clone();
        let mut reception = receiver.offer_snapshot(self.from, message, manifest).map_err(|_| Failed)?;
        let result = self.drive(to, message, delivery, &mut reception);
        reception.interrupted(receiver.now());
        result
    }

    fn drive(
        &self,
        to: StoreId,
        message: &RegionMessage,
        delivery: &mut Delivery,
        reception: &mut Reception,
    ) -> Result<(), Failed> {
        delivery.connected();
        delivery.answer(reception.wanted())?;
        loop {
            let (sender, receiver) = self.ends(to)?;
            match delivery.step(sender.now())? {
                DeliveryStep::Delivered => return Ok(()),
                DeliveryStep::WaitUntil(moment) => pause(sender.now(), moment),
                DeliveryStep::Chunk(chunk) => {
                    let taken = reception.take(&chunk, receiver.now()).map_err(|_| Failed)?;
                    pause(receiver.now(), taken.ready_at);
                    taken.answer.map_or(Ok(()), |answer| delivery.answer(answer))?;
                }
                // Every chunk was answered: what is missing now was not sent.
                DeliveryStep::Wait if !reception.has_all() => return Err(Failed),
                DeliveryStep::Wait => {
                    let step = reception.step(VERIFY_BYTES, receiver.now()).map_err(|_| Failed)?;
                    if let ReceptionStep::Received(received, transfer) = step {
                        receiver.snapshot_received(message.clone(), received, transfer);
                        delivery.answer(Answer::Received)?;
                    }
                }
            }
        }
    }
}

/// Waits until a moment, or a while.
fn pause(now: Instant, until: Instant) {
    let wait = until.since(now).min(MAX_PAUSE);
    if !wait.is_zero() {
        // Nothing is ever sent: a pause that can be seen for what it is.
        let _ = never::<()>().recv_timeout(wait);
    }
}
