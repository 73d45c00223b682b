//! The wires between nodes: packets are delayed, lost, doubled, held back and led astray on them.

use std::sync::Arc;
use std::time::Duration;

use region::RegionMessage;
use types::{InstanceId, Instant, StoreId};

use crate::call::{Call, CallId, Reply};
use crate::chance::Dice;
use crate::coordinating::{FromCoordinator, ToCoordinator};
use crate::guests::Errand;
use crate::orders::Word;
use crate::streams::Piece;

/// A place that packets leave from and arrive at: a node by its index, or behind the last one all clients together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) usize);

/// Lives of the two ends of a connection: of who opened it, and of who accepted.
pub(crate) type Ends = (u64, u64);

/// What a packet carries.
#[derive(Clone, Debug)]
pub(crate) enum Cargo {
    /// A store opens a connection.
    Hello { from: StoreId, to: StoreId, instance: InstanceId, life: u64, attempt: u64 },
    /// It is accepted.
    Welcome { from: StoreId, instance: InstanceId, life: u64, attempt: u64 },
    /// It is refused, or nobody is there.
    Refused { attempt: u64 },
    /// Messages on a connection.
    Messages { ends: Ends, messages: Vec<Arc<RegionMessage>> },
    /// The other end of the connection is gone.
    Reset { ends: Ends },
    /// A client asks.
    Call { id: CallId, call: Box<Call> },
    /// A client is answered.
    Reply { id: CallId, reply: Box<Reply> },
    /// A store asks the coordinator.
    ToCoordinator { life: u64, what: Box<ToCoordinator> },
    /// The coordinator answers a store.
    FromCoordinator(FromCoordinator),
    /// A guest of a store wants something done at another.
    Errand(Errand),
    /// The coordinator tells a store what to do.
    Word(Box<Word>),
    /// A part of a snapshot, or what is said of it.
    Piece(Box<Piece>),
}

impl Cargo {
    /// What a stream between stores carries may come twice when a connection is opened anew; a call never does.
    fn may_be_doubled(&self) -> bool {
        matches!(
            self,
            Self::Messages { .. } | Self::Hello { .. } | Self::Welcome { .. } | Self::Word(_) | Self::Piece(_)
        )
    }

    /// What is on a stream of its own comes in order, or not at all.
    fn may_overtake(&self) -> bool {
        !matches!(self, Self::Piece(_))
    }
}

/// Something on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) cargo: Cargo,
}

/// One direction between two places.
#[derive(Debug, Default)]
struct Wire {
    base: Duration,
    /// Nothing comes through.
    is_cut: bool,
    /// Everything is held back, to come at once.
    is_clogged: bool,
    slowness: Duration,
    held: Vec<Packet>,
    /// When the newest packet arrives: in order, nothing may arrive before it.
    newest: Instant,
}

/// What can happen to any packet, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) loses: u64,
    pub(crate) doubles: u64,
    pub(crate) overtakes: u64,
    pub(crate) strays: u64,
    /// Bits of snapshots are flipped.
    pub(crate) garbles: u64,
}

/// What becomes of a packet.
pub(crate) enum Fate {
    /// It arrives, perhaps more than once.
    Arrives(Vec<(Instant, Packet)>),
    /// It is held back by its wire.
    Held,
    /// It is lost; on a wire that is cut, whoever waits for it notices after a while.
    Lost { cut: bool },
}

/// Most packets that a clogged wire holds back; more are lost.
const MAX_HELD: usize = 4096;

/// All wires.
pub(crate) struct Network {
    places: usize,
    wires: Vec<Wire>,
    dice: Dice,
    pub(crate) weather: Weather,
}

impl Network {
    /// Wires between so many places.
    pub(crate) fn new(places: usize, mut dice: Dice) -> Self {
        let wire = |_| Wire { base: dice.micros(50, 800), ..Wire::default() };
        let wires = (0..places * places).map(wire).collect();
        Self { places, wires, dice, weather: Weather::default() }
    }

    fn wire(&mut self, from: Place, to: Place) -> &mut Wire {
        &mut self.wires[from.0 * self.places + to.0]
    }

    /// Cuts or mends one direction.
    pub(crate) fn cut(&mut self, from: Place, to: Place, is_cut: bool) {
        self.wire(from, to).is_cut = is_cut;
    }

    /// Delays one direction by so much.
    pub(crate) fn slow(&mut self, from: Place, to: Place, by: Duration) {
        self.wire(from, to).slowness = by;
    }

    /// Holds one direction back.
    pub(crate) fn clog(&mut self, from: Place, to: Place) {
        self.wire(from, to).is_clogged = true;
    }

    /// Lets everything that one direction holds back go.
    pub(crate) fn unclog(&mut self, from: Place, to: Place) -> Vec<Packet> {
        let wire = self.wire(from, to);
        wire.is_clogged = false;
        std::mem::take(&mut wire.held)
    }

    /// Mends everything; returns what was held back.
    pub(crate) fn heal(&mut self) -> Vec<Packet> {
        self.weather = Weather::default();
        let mend = |wire: &mut Wire| {
            (wire.is_cut, wire.is_clogged, wire.slowness) = (false, false, Duration::ZERO);
            std::mem::take(&mut wire.held)
        };
        self.wires.iter_mut().flat_map(mend).collect()
    }

    /// Sends a packet.
    pub(crate) fn send(&mut self, leaves: Instant, packet: Packet) -> Fate {
        let weather = self.weather;
        let is_lost = self.dice.chance(weather.loses);
        let wire = self.wire(packet.from, packet.to);
        if wire.is_cut {
            return Fate::Lost { cut: true };
        }
        if is_lost {
            return Fate::Lost { cut: false };
        }
        if wire.is_clogged {
            if wire.held.len() >= MAX_HELD {
                return Fate::Lost { cut: false };
            }
            wire.held.push(packet);
            return Fate::Held;
        }
        let mut arrivals = Vec::with_capacity(1);
        if packet.cargo.may_be_doubled() && self.dice.chance(weather.doubles) {
            let late = self.dice.millis(1, 2000);
            arrivals.push((self.arrival(leaves, &packet) + late, packet.clone()));
        }
        let arrival = self.arrival(leaves, &packet);
        let mut packet = self.lead_astray(packet);
        if let Cargo::Piece(piece) = &mut packet.cargo
            && self.dice.chance(weather.garbles)
        {
            piece.word.garble(self.dice.number());
        }
        arrivals.push((arrival, packet));
        Fate::Arrives(arrivals)
    }

    fn arrival(&mut self, leaves: Instant, packet: &Packet) -> Instant {
        let jitter = self.dice.micros(0, 200);
        let late = if self.dice.one_in(200) { self.dice.millis(1, 30) } else { Duration::ZERO };
        let overtakes = packet.cargo.may_overtake() && self.dice.chance(self.weather.overtakes);
        let overtaken = if overtakes { self.dice.millis(0, 50) } else { Duration::ZERO };
        let wire = self.wire(packet.from, packet.to);
        let arrival = leaves + wire.base + wire.slowness + jitter + late + overtaken;
        if overtakes {
            return arrival;
        }
        wire.newest = wire.newest.max(arrival);
        wire.newest
    }

    /// Delivers to the wrong store, now and then, what is meant for another.
    fn lead_astray(&mut self, packet: Packet) -> Packet {
        let stores = self.places - 2;
        let between_stores = packet.from.0 < stores && packet.to.0 < stores;
        if between_stores && self.dice.chance(self.weather.strays) {
            return Packet { to: Place(self.dice.place(stores)), ..packet };
        }
        packet
    }
}
