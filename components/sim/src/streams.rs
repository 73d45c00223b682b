//! Snapshots on their way: a stream of its own for each, in order until it breaks, and then another one.
//!
//! Each stream begins with a Hello of its own (D14), like production's. Packets of a stream are numbered; whoever misses
//! one has a broken stream. What has no answer for long is broken as well: that is how a dead peer is found out.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use region::RegionMessage;
use snapshot::{Answer, Chunk, Delivery, DeliveryStep, Reception, ReceptionStep, Refusal, RefusalKind};
use store::{DeliveryResponder, Shipment, SnapshotCarrier};
use types::{InstanceId, Instant, RegionId, StoreId};

use crate::cell::{Life, Outgoing};
use crate::simulation::{Due, Simulation, Wrong};
use crate::trace::Kind;
use crate::wire::{Cargo, Packet, Place};

/// A stream on which nothing came for so long is broken, by the clock of whoever waits.
const SILENCE: Duration = Duration::from_secs(3);

/// How often a snapshot is offered anew on another stream.
const MOST_STREAMS: u32 = 12;

/// How long a snapshot that waits for its region's children rests before it tries again.
const HELD_PAUSE: Duration = Duration::from_millis(1);

/// How much of a received snapshot is looked through in one step.
const VERIFY_BYTES: usize = 16 << 10;

/// Most chunks that wait for a receiver's disk; its window bounds them long before.
const MOST_WAITING: usize = 1024;

const STREAM: Kind = Kind { name: "stream", numbers: "region to stream" };
const DELIVERED: Kind = Kind { name: "delivered", numbers: "region to taken" };
const RECEIVED: Kind = Kind { name: "received", numbers: "region from" };

/// A stream: the life of the process that opened it, and its number there.
pub(crate) type StreamId = (u64, u64);

/// A packet of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) stream: StreamId,
    /// Its place in its direction of the stream.
    pub(crate) number: u64,
    pub(crate) word: Word,
}

/// What a packet of a stream says.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// Who sends, to whom, and what.
    Offer {
        from: StoreId,
        to: StoreId,
        instance: InstanceId,
        message: Arc<RegionMessage>,
        manifest: Bytes,
    },
    Chunk(Chunk),
    Answer(Answer),
    /// The other end knows no such stream any more.
    Reset,
}

impl Word {
    /// Damages it on its way, where it is of many bytes.
    pub(crate) fn garble(&mut self, at: u64) {
        let bytes = match self {
            Self::Chunk(chunk) => &mut chunk.data,
            Self::Offer { manifest, .. } => manifest,
            Self::Answer(_) | Self::Reset => return,
        };
        let mut damaged = bytes.to_vec();
        if let Some(place) = at.checked_rem(damaged.len() as u64) {
            damaged[place as usize] ^= 1 << (at >> 32 & 7);
        }
        *bytes = damaged.into();
    }
}

impl SnapshotCarrier for Life {
    fn carry(&self, shipment: Shipment) {
        self.give(Outgoing::Shipment(Box::new(shipment)));
    }
}

/// A snapshot on its way out.
struct Outbound {
    to: usize,
    message: Arc<RegionMessage>,
    delivery: Delivery,
    outcome: DeliveryResponder,
    /// The number of the stream that is open, or will be.
    stream: u64,
    streams: u32,
    sent: u64,
    heard: u64,
    /// When the other end was heard of last.
    heard_at: Instant,
}

/// A snapshot on its way in.
struct Inbound {
    reception: Reception,
    message: Arc<RegionMessage>,
    waiting: VecDeque<Chunk>,
    sent: u64,
    heard: u64,
    heard_at: Instant,
}

/// The streams of a process.
#[derive(Default)]
pub(crate) struct Streams {
    opened: u64,
    shipments: u64,
    outbound: BTreeMap<u64, Outbound>,
    inbound: BTreeMap<(usize, StreamId), Inbound>,
    /// The newest stream of each process that sends: an offer that comes twice opens none.
    newest: BTreeMap<(usize, u64), u64>,
}

impl Streams {
    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.outbound.is_empty() && self.inbound.is_empty()
    }

    /// What a shipment is of, and for whom.
    fn shipped(&self, shipment: u64) -> Option<(RegionId, StoreId)> {
        self.outbound.get(&shipment).map(|outbound| (outbound.message.region, outbound.message.to.store_id))
    }

    fn open(&mut self, shipment: u64) -> Option<&mut Outbound> {
        self.opened += 1;
        let stream = self.opened;
        let outbound = self.outbound.get_mut(&shipment)?;
        (outbound.stream, outbound.sent, outbound.heard) = (stream, 0, 0);
        outbound.streams += 1;
        Some(outbound)
    }
}

/// What comes next for a shipment.
enum Next {
    Wait,
    Step(Duration),
    /// Another stream, after a pause.
    Again,
    End(bool),
}

impl Simulation {
    /// Whether a snapshot of a region is on its way to a store.
    pub(crate) fn is_shipping(&self, region: RegionId, to: StoreId) -> bool {
        let mut running = self.nodes.iter().filter_map(|node| node.running());
        running.any(|running| {
            let mut outbound = running.streams.outbound.values().map(|outbound| &outbound.message);
            outbound.any(|message| message.region == region && message.to.store_id == to)
        })
    }

    /// A store gave a snapshot away.
    pub(crate) fn ship(&mut self, at: usize, shipment: Shipment, after: Duration) {
        let to = shipment.to.0 as usize - 1;
        let Some(running) = self.nodes[at].running_mut() else { return };
        let now = running.life.cell.now();
        let (message, delivery, outcome) = shipment.into_parts();
        running.streams.shipments += 1;
        let (number, life) = (running.streams.shipments, running.life.number);
        let (message, heard_at) = (Arc::new(message), now);
        let outbound = Outbound { to, message, delivery, outcome, stream: 0, streams: 0, sent: 0, heard: 0, heard_at };
        running.streams.outbound.insert(number, outbound);
        self.plan_by_own_clock(after, at, life, Due::OpenStream { shipment: number });
    }

    /// Offers a snapshot on a new stream.
    pub(crate) fn open_stream(&mut self, at: usize, life: u64, shipment: u64) -> Result<(), Wrong> {
        let shipped = self.nodes[at].running().and_then(|running| running.streams.shipped(shipment));
        if shipped.is_some_and(|shipped| self.held.contains(&shipped)) {
            self.plan_by_own_clock(HELD_PAUSE, at, life, Due::OpenStream { shipment });
            return Ok(());
        }
        let mut offer = None;
        self.run(at, true, |running, _| {
            let (ident, now) = (running.ident, running.life.cell.now());
            let Some(outbound) = running.streams.open(shipment) else { return };
            outbound.heard_at = now;
            outbound.delivery.connected();
            outbound.sent = 1;
            let word = Word::Offer {
                from: ident.store,
                to: outbound.message.to.store_id,
                instance: ident.instance,
                message: Arc::clone(&outbound.message),
                manifest: outbound.delivery.manifest().clone(),
            };
            running.life.note(STREAM, &[outbound.message.region.0, outbound.to as u64 + 1, outbound.stream]);
            offer = Some((outbound.to, Piece { stream: (life, outbound.stream), number: 1, word }));
        })?;
        if let Some((to, piece)) = offer {
            self.send_piece(at, to, piece);
            self.plan_by_own_clock(SILENCE, at, life, Due::StreamSilence { shipment });
        }
        Ok(())
    }

    fn send_piece(&mut self, at: usize, to: usize, piece: Piece) {
        self.send(Duration::ZERO, Packet { from: Place(at), to: Place(to), cargo: Cargo::Piece(Box::new(piece)) });
    }

    /// Sends the next chunk of a snapshot.
    pub(crate) fn step_shipment(&mut self, at: usize, life: u64, shipment: u64) -> Result<(), Wrong> {
        self.drive(at, life, shipment, |delivery| {
            let _ = delivery;
            Ok(())
        })
    }

    /// Does something to a delivery, then what it wants next.
    fn drive(
        &mut self,
        at: usize,
        life: u64,
        shipment: u64,
        work: impl FnOnce(&mut Delivery) -> Result<(), snapshot::SendError>,
    ) -> Result<(), Wrong> {
        let (mut chunk, mut next) = (None, Next::Wait);
        self.run(at, true, |running, dice| {
            let now = running.life.cell.now();
            let Some(outbound) = running.streams.outbound.get_mut(&shipment) else { return };
            let step = work(&mut outbound.delivery).and_then(|()| outbound.delivery.step(now));
            next = match step {
                Ok(DeliveryStep::Chunk(data)) => {
                    outbound.sent += 1;
                    let piece =
                        Piece { stream: (life, outbound.stream), number: outbound.sent, word: Word::Chunk(data) };
                    chunk = Some((outbound.to, piece));
                    Next::Step(dice.micros(10, 400))
                }
                Ok(DeliveryStep::Wait) => Next::Wait,
                Ok(DeliveryStep::WaitUntil(moment)) => Next::Step(moment.since(now)),
                Ok(DeliveryStep::Delivered) => Next::End(true),
                Err(error) if error.may_retry() => Next::Again,
                Err(_) => Next::End(false),
            };
        })?;
        if let Some((to, piece)) = chunk {
            self.send_piece(at, to, piece);
        }
        match next {
            Next::Wait => Ok(()),
            Next::Step(after) => {
                self.plan_by_own_clock(after, at, life, Due::StepShipment { shipment });
                Ok(())
            }
            Next::Again => self.reopen(at, life, shipment),
            Next::End(delivered) => self.end_shipment(at, shipment, delivered),
        }
    }

    /// Gives a stream up, and opens another one after a while, unless there were enough.
    fn reopen(&mut self, at: usize, life: u64, shipment: u64) -> Result<(), Wrong> {
        let Some(running) = self.nodes[at].running_mut() else { return Ok(()) };
        let Some(outbound) = running.streams.outbound.get_mut(&shipment) else { return Ok(()) };
        // Whatever still comes on the old one is of no stream.
        outbound.stream = 0;
        if outbound.streams >= MOST_STREAMS {
            return self.end_shipment(at, shipment, false);
        }
        let pause = self.dice.millis(20, 800);
        self.plan_by_own_clock(pause, at, life, Due::OpenStream { shipment });
        Ok(())
    }

    fn end_shipment(&mut self, at: usize, shipment: u64, delivered: bool) -> Result<(), Wrong> {
        self.run(at, true, |running, _| {
            let Some(outbound) = running.streams.outbound.remove(&shipment) else { return };
            let numbers = [outbound.message.region.0, outbound.to as u64 + 1, u64::from(delivered)];
            running.life.note(DELIVERED, &numbers);
            outbound.outcome.respond(delivered.then_some(()));
        })
    }

    /// Looks whether a stream is still alive.
    pub(crate) fn check_silence(&mut self, at: usize, life: u64, shipment: u64) -> Result<(), Wrong> {
        let now = self.local_now(at);
        let Some(running) = self.nodes[at].running_mut() else { return Ok(()) };
        let Some(outbound) = running.streams.outbound.get_mut(&shipment).filter(|outbound| outbound.stream != 0) else {
            return Ok(());
        };
        let silent = now.since(outbound.heard_at);
        if silent >= SILENCE {
            return self.reopen(at, life, shipment);
        }
        self.plan_by_own_clock(SILENCE - silent, at, life, Due::StreamSilence { shipment });
        Ok(())
    }

    /// A packet of a stream arrives.
    pub(crate) fn take_piece(&mut self, from: usize, at: usize, piece: Piece) -> Result<(), Wrong> {
        let Piece { stream, number, word } = piece;
        match word {
            Word::Offer { from: store, to, instance, message, manifest } => {
                let is_meant = self.nodes[at].store == to && self.nodes[at].running().is_some();
                if is_meant && self.knows(at, store, instance)? {
                    return self.offered(from, at, stream, store, message, manifest);
                }
                let refusal = Refusal { kind: RefusalKind::Unwanted, reason: "nobody is here".to_owned() };
                self.answer(at, from, stream, 1, Answer::Refused(refusal));
                Ok(())
            }
            Word::Chunk(chunk) => self.take_chunk(from, at, stream, number, chunk),
            Word::Answer(answer) => self.take_answer(at, stream, number, answer),
            Word::Reset => match self.shipment_of(at, stream) {
                Some(shipment) => self.reopen(at, stream.0, shipment),
                None => Ok(()),
            },
        }
    }

    fn answer(&mut self, at: usize, to: usize, stream: StreamId, number: u64, answer: Answer) {
        self.send_piece(at, to, Piece { stream, number, word: Word::Answer(answer) });
    }

    fn shipment_of(&mut self, at: usize, (life, stream): StreamId) -> Option<u64> {
        let running = self.nodes[at].running().filter(|running| running.life.number == life)?;
        let mut shipments = running.streams.outbound.iter();
        shipments.find(|(_, outbound)| outbound.stream == stream).map(|(number, _)| *number)
    }

    fn take_answer(&mut self, at: usize, stream: StreamId, number: u64, answer: Answer) -> Result<(), Wrong> {
        let Some(shipment) = self.shipment_of(at, stream) else { return Ok(()) };
        let now = self.local_now(at);
        let Some(running) = self.nodes[at].running_mut() else { return Ok(()) };
        let Some(outbound) = running.streams.outbound.get_mut(&shipment) else { return Ok(()) };
        if number <= outbound.heard {
            return Ok(());
        }
        if number > outbound.heard + 1 {
            return self.reopen(at, stream.0, shipment);
        }
        (outbound.heard, outbound.heard_at) = (number, now);
        self.drive(at, stream.0, shipment, |delivery| delivery.answer(answer))
    }

    /// A snapshot is offered to a store that knows its sender.
    fn offered(
        &mut self,
        from: usize,
        at: usize,
        stream: StreamId,
        store: StoreId,
        message: Arc<RegionMessage>,
        manifest: Bytes,
    ) -> Result<(), Wrong> {
        let mut answer = None;
        self.run(at, true, |running, _| {
            let newest = running.streams.newest.entry((from, stream.0)).or_default();
            if stream.1 <= *newest {
                return;
            }
            *newest = stream.1;
            let now = running.life.cell.now();
            answer = Some(match running.stepper.handle().offer_snapshot(store, &message, manifest) {
                Ok(mut reception) => {
                    let wanted = reception.wanted();
                    let waiting = VecDeque::new();
                    let inbound = Inbound { reception, message, waiting, sent: 1, heard: 1, heard_at: now };
                    running.streams.inbound.insert((from, stream), inbound);
                    wanted
                }
                Err(refusal) => Answer::Refused(refusal),
            });
        })?;
        let Some(answer) = answer else { return Ok(()) };
        self.answer(at, from, stream, 1, answer);
        if let Some(running) = self.nodes[at].running() {
            let life = running.life.number;
            self.plan_by_own_clock(Duration::ZERO, at, life, Due::Unload { from, stream });
            self.plan_by_own_clock(SILENCE, at, life, Due::IntakeSilence { from, stream });
        }
        Ok(())
    }

    fn take_chunk(&mut self, from: usize, at: usize, stream: StreamId, number: u64, chunk: Chunk) -> Result<(), Wrong> {
        let now = self.local_now(at);
        let Some(running) = self.nodes[at].running_mut() else {
            self.send_piece(at, from, Piece { stream, number: 0, word: Word::Reset });
            return Ok(());
        };
        let life = running.life.number;
        let Some(inbound) = running.streams.inbound.get_mut(&(from, stream)) else {
            self.send_piece(at, from, Piece { stream, number: 0, word: Word::Reset });
            return Ok(());
        };
        if number <= inbound.heard {
            return Ok(());
        }
        if number > inbound.heard + 1 || inbound.waiting.len() >= MOST_WAITING {
            return self.break_off(from, at, stream);
        }
        (inbound.heard, inbound.heard_at) = (number, now);
        inbound.waiting.push_back(chunk);
        if inbound.waiting.len() == 1 {
            let after = self.dice.micros(1, 200);
            self.plan_due(after, at, life, Due::Unload { from, stream });
        }
        Ok(())
    }

    /// The receiver's end of a stream is broken: what came waits for another one.
    fn break_off(&mut self, from: usize, at: usize, stream: StreamId) -> Result<(), Wrong> {
        self.run(at, true, |running, _| {
            if let Some(inbound) = running.streams.inbound.remove(&(from, stream)) {
                inbound.reception.interrupted(running.life.cell.now());
            }
        })?;
        self.send_piece(at, from, Piece { stream, number: 0, word: Word::Reset });
        Ok(())
    }

    /// A receiver that heard nothing for long gives the stream up.
    pub(crate) fn check_intake(&mut self, from: usize, at: usize, stream: StreamId) -> Result<(), Wrong> {
        let now = self.local_now(at);
        let Some(running) = self.nodes[at].running_mut() else { return Ok(()) };
        let life = running.life.number;
        let Some(inbound) = running.streams.inbound.get(&(from, stream)) else { return Ok(()) };
        let silent = now.since(inbound.heard_at);
        if silent >= SILENCE {
            return self.break_off(from, at, stream);
        }
        self.plan_by_own_clock(SILENCE - silent, at, life, Due::IntakeSilence { from, stream });
        Ok(())
    }

    /// Takes what waits of a stream: a chunk, or, when all is there, a look at it.
    pub(crate) fn unload(&mut self, from: usize, at: usize, stream: StreamId) -> Result<(), Wrong> {
        let (mut answer, mut next, mut is_over) = (None, None, false);
        self.run(at, true, |running, dice| {
            let now = running.life.cell.now();
            let key = (from, stream);
            let Some(inbound) = running.streams.inbound.get_mut(&key) else { return };
            let outcome = if let Some(chunk) = inbound.waiting.pop_front() {
                inbound.reception.take(&chunk, now).map(|taken| {
                    answer = taken.answer;
                    let more = !inbound.waiting.is_empty() || inbound.reception.has_all();
                    next = more.then(|| taken.ready_at.since(now) + dice.micros(1, 200));
                    None
                })
            } else if inbound.reception.has_all() {
                inbound.reception.step(VERIFY_BYTES, now).map(|step| match step {
                    ReceptionStep::More => {
                        next = Some(dice.micros(10, 400));
                        None
                    }
                    ReceptionStep::Received(received, transfer) => Some((received, transfer)),
                })
            } else {
                return;
            };
            match outcome {
                Ok(None) => {}
                Ok(Some((received, transfer))) => {
                    is_over = true;
                    answer = Some(Answer::Received);
                    running.life.note(RECEIVED, &[inbound.message.region.0, from as u64 + 1]);
                    let message = RegionMessage::clone(&inbound.message);
                    running.stepper.handle().snapshot_received(message, received, transfer);
                }
                Err(error) => {
                    is_over = true;
                    answer = Some(Answer::Refused(error.refusal()));
                }
            }
        })?;
        let Some(running) = self.nodes[at].running_mut() else { return Ok(()) };
        let life = running.life.number;
        let Some(inbound) = running.streams.inbound.get_mut(&(from, stream)) else { return Ok(()) };
        let number = inbound.sent + 1;
        inbound.sent += u64::from(answer.is_some());
        if is_over {
            self.run(at, true, |running, _| {
                if let Some(inbound) = running.streams.inbound.remove(&(from, stream)) {
                    inbound.reception.interrupted(running.life.cell.now());
                }
            })?;
        }
        if let Some(answer) = answer {
            self.answer(at, from, stream, number, answer);
        }
        if let Some(after) = next {
            self.plan_by_own_clock(after, at, life, Due::Unload { from, stream });
        }
        Ok(())
    }
}
