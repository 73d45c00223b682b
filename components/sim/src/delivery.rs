//! Packets that leave and arrive.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::{Family, IterRange, RegionSnapshot};
use region::{ReadResponder, RegionMessage};
use types::{
    ColumnFamily, InstanceId, KeyRange, RegionId, RequestError, RequestHeader, StoreId, WriteResponder, WriteResult,
};

use crate::call::{Call, CallId, Pair, RegionCall, RegionReply, Reply};
use crate::cell::{Life, Outgoing, note_of};
use crate::coordinating;
use crate::guests::Host;
use crate::node::Process;
use crate::observation::Event;
use crate::session::{BREAK_AFTER, CONNECT_TIMEOUT, Step};
use crate::simulation::{Due, Happening, Simulation, Wrong};
use crate::trace::Kind;
use crate::wire::{Cargo, Ends, Packet, Place};

const CALLED: Kind = Kind { name: "call", numbers: "id request region" };
const ANSWERED: Kind = Kind { name: "answer", numbers: "request applied" };
const REPLIED: Kind = Kind { name: "reply", numbers: "id" };

impl Simulation {
    /// A store's messages leave for another one.
    pub(crate) fn send_frame(&mut self, at: usize, to: StoreId, messages: Vec<Arc<RegionMessage>>, after: Duration) {
        let to = to.0 as usize - 1;
        let Some(running) = self.nodes[at].running_mut() else { return };
        running.session(to).push(messages);
        self.push_session(at, to, after);
    }

    /// Does what a connection needs to get rid of what waits for it.
    pub(crate) fn push_session(&mut self, at: usize, to: usize, after: Duration) {
        let (now, own) = (self.now + after, Place(at));
        let Some(running) = self.nodes[at].running_mut() else { return };
        let (life, ident) = (running.life.number, running.ident);
        let session = running.session(to);
        match session.step(now) {
            Step::Wait => {}
            Step::Send(peer) => {
                let cargo = Cargo::Messages { ends: (life, peer), messages: session.take() };
                self.send(after, Packet { from: own, to: Place(to), cargo });
            }
            Step::Connect { attempt } => {
                let to_store = self.nodes[to].store;
                let cargo = Cargo::Hello { from: ident.store, to: to_store, instance: ident.instance, life, attempt };
                self.send(after, Packet { from: own, to: Place(to), cargo });
                self.plan_by_own_clock(CONNECT_TIMEOUT, at, life, Due::ConnectTimeout { to, attempt });
            }
            Step::Retry(moment) => {
                let what = Happening::Node { node: at, life, due: Due::Reconnect { to } };
                self.schedule.plan(moment, what);
            }
        }
    }

    /// A connection is gone: what waited is lost, and the store is told.
    pub(crate) fn lose_connection(&mut self, at: usize, to: usize) -> Result<(), Wrong> {
        let now = self.now;
        let store = self.nodes[to].store;
        let Some(running) = self.nodes[at].running_mut() else { return Ok(()) };
        if running.session(to).close(now) {
            return self.run(at, true, |running, _| running.stepper.handle().unreachable(store));
        }
        Ok(())
    }

    /// A packet was lost on a wire that is cut: the connection's keep-alive will find out.
    pub(crate) fn notice_cut(&mut self, from: Place, to: Place) {
        // Only stores keep connections, to each other.
        if from.0.max(to.0) >= self.shape.stores {
            return;
        }
        let Some(running) = self.nodes[from.0].running_mut() else { return };
        let life = running.life.number;
        let session = running.session(to.0);
        if !std::mem::replace(&mut session.break_planned, true) {
            self.plan_by_own_clock(BREAK_AFTER, from.0, life, Due::Break { to: to.0 });
        }
    }

    /// A packet arrives.
    pub(crate) fn arrive(&mut self, packet: Packet) -> Result<(), Wrong> {
        let (at, now) = (packet.to.0, self.now);
        if packet.to == self.clients_place() {
            if let Cargo::Reply { id, reply } = packet.cargo {
                self.recorder.note(0, REPLIED, &[id.0]);
                self.answer_client(id, *reply);
            }
            return Ok(());
        }
        if self.nodes[at].is_paused(now) && !self.nodes[at].is_down() {
            self.schedule.plan(self.nodes[at].paused_until, Happening::Arrive(Box::new(packet)));
            return Ok(());
        }
        match packet.cargo {
            Cargo::Hello { from, to, instance, life, attempt } => {
                self.hello(packet.from, at, (from, to), instance, life, attempt)
            }
            Cargo::Welcome { from, instance, life, attempt } => {
                self.welcome(packet.from, at, from, instance, life, attempt)
            }
            Cargo::Refused { attempt } => {
                let from = packet.from.0;
                let asked =
                    self.nodes[at].running_mut().is_some_and(|running| running.session(from).is_connecting(attempt));
                if asked { self.lose_connection(at, from) } else { Ok(()) }
            }
            Cargo::Reset { ends } => {
                let from = packet.from.0;
                let ours = |running: &mut crate::node::Running| {
                    running.life.number == ends.0 && running.session(from).is_open_to(ends.1)
                };
                let is_ours = self.nodes[at].running_mut().is_some_and(ours);
                if is_ours { self.lose_connection(at, from) } else { Ok(()) }
            }
            Cargo::Messages { ends, messages } => self.messages(packet.from, at, ends, messages),
            Cargo::Call { id, call } => self.called(at, id, *call),
            Cargo::ToCoordinator { life, what } => self.run(at, true, |running, _| {
                if let Some(coordinator) = &running.coordinator {
                    coordinating::take(coordinator, &running.life, life, *what);
                }
            }),
            Cargo::FromCoordinator(answer) => self.joined(at, answer),
            Cargo::Errand(errand) => self.run(at, true, |running, _| errand.run(&Host::of(running))),
            Cargo::Word(word) => self.hear(at, *word),
            Cargo::Piece(piece) => self.take_piece(packet.from.0, at, *piece),
            Cargo::Reply { .. } => Ok(()),
        }
    }

    /// Whether a store is the one that is known, asked of a running store (D14). It may not survive the question.
    pub(crate) fn knows(&mut self, at: usize, store: StoreId, instance: InstanceId) -> Result<bool, Wrong> {
        let mut known = false;
        self.run(at, true, |running, _| {
            // An error has stopped the store, or is about to: it is not known then.
            known = running.stepper.handle().remember_instance(store, instance).is_ok_and(|known| known == instance);
        })?;
        Ok(known && self.nodes[at].running().is_some())
    }

    fn hello(
        &mut self,
        from: Place,
        at: usize,
        (store, meant_for): (StoreId, StoreId),
        instance: InstanceId,
        life: u64,
        attempt: u64,
    ) -> Result<(), Wrong> {
        let is_meant = self.nodes[at].store == meant_for && self.nodes[at].running().is_some();
        let accepted = is_meant && self.knows(at, store, instance)?;
        let cargo = match self.nodes[at].running_mut() {
            Some(running) if accepted => {
                running.accepted.insert(from.0, (life, instance));
                let own = running.ident;
                Cargo::Welcome { from: own.store, instance: own.instance, life: running.life.number, attempt }
            }
            _ => Cargo::Refused { attempt },
        };
        self.send(Duration::ZERO, Packet { from: Place(at), to: from, cargo });
        Ok(())
    }

    fn welcome(
        &mut self,
        from: Place,
        at: usize,
        store: StoreId,
        instance: InstanceId,
        life: u64,
        attempt: u64,
    ) -> Result<(), Wrong> {
        let right = self.nodes[from.0].store == store;
        let asked = |running: &mut crate::node::Running| running.session(from.0).is_connecting(attempt);
        if !right || !self.nodes[at].running_mut().is_some_and(asked) {
            return Ok(());
        }
        if !self.knows(at, store, instance)? {
            return self.lose_connection(at, from.0);
        }
        if let Some(running) = self.nodes[at].running_mut() {
            running.session(from.0).open(life);
            self.met.insert((at.min(from.0), at.max(from.0)));
        }
        self.push_session(at, from.0, Duration::ZERO);
        Ok(())
    }

    fn messages(&mut self, from: Place, at: usize, ends: Ends, messages: Vec<Arc<RegionMessage>>) -> Result<(), Wrong> {
        let running = self.nodes[at].running().filter(|running| running.life.number == ends.1);
        let accepted = running.and_then(|running| running.accepted.get(&from.0)).filter(|(life, _)| *life == ends.0);
        let Some((_, instance)) = accepted.copied() else {
            self.send(Duration::ZERO, Packet { from: Place(at), to: from, cargo: Cargo::Reset { ends } });
            return Ok(());
        };
        self.run(at, true, |running, _| {
            let (handle, life) = (running.stepper.handle(), &running.life);
            for message in messages {
                let (name, numbers) = note_of(&message);
                let kind = Kind { name, numbers: "got:region from-to-reject term log-term index commit entries" };
                life.note(kind, &numbers);
                life.observe(|| Event::Received { message: Arc::clone(&message), instance });
                handle.receive(Arc::unwrap_or_clone(message));
            }
        })
    }

    fn called(&mut self, at: usize, id: CallId, call: Call) -> Result<(), Wrong> {
        let Call::Region { header, call, .. } = call else {
            return self.run(at, true, |running, _| {
                if let Some(coordinator) = &running.coordinator {
                    coordinating::call(coordinator, &running.life, id, call);
                }
            });
        };
        if !matches!(self.nodes[at].process, Process::Running(_)) {
            return Ok(());
        }
        let number = self.recorder.number_request();
        self.recorder.note(at as u64 + 1, CALLED, &[id.0, number, header.region_id.0]);
        self.run(at, true, |running, _| {
            let request = Request { life: running.life.clone(), id, number };
            let handle = running.stepper.handle();
            request.ask(&handle, header, call);
        })
    }
}

/// A client's call at the store that it reached.
struct Request {
    life: Life,
    id: CallId,
    number: u64,
}

impl Request {
    fn ask(self, handle: &store::StoreHandle, header: RequestHeader, call: RegionCall) {
        let (number, region) = (self.number, header.region_id);
        match call {
            RegionCall::Write(command) => {
                let written = Arc::new(command.clone());
                self.life.observe(|| Event::Asked { number, region, command: Some(written) });
                let responder = WriteResponder::new(move |result: WriteResult| {
                    self.answer(result.map(RegionReply::Written), true);
                });
                handle.write(header, command, responder);
            }
            RegionCall::Get { family, key } => {
                self.read(handle, header, region, move |snapshot| get(snapshot, family, &key));
            }
            RegionCall::Scan { family, range, limit } => {
                self.read(handle, header, region, move |snapshot| scan(snapshot, family, &range, limit));
            }
        }
    }

    fn read(
        self,
        handle: &store::StoreHandle,
        header: RequestHeader,
        region: RegionId,
        look: impl FnOnce(&RegionSnapshot) -> engine::Result<RegionReply> + Send + 'static,
    ) {
        let number = self.number;
        self.life.observe(|| Event::Asked { number, region, command: None });
        let responder = ReadResponder::new(move |result: Result<RegionSnapshot, RequestError>| {
            let reply = result.and_then(|snapshot| {
                look(&snapshot).map_err(|_| RequestError::ServerIsBusy { reason: "the state engine cannot be read" })
            });
            self.answer(reply, false);
        });
        handle.read(header, responder);
    }

    fn answer(self, reply: Result<RegionReply, RequestError>, is_write: bool) {
        let Self { life, id, number } = self;
        // Whatever a process that is gone would still have said, nobody hears it.
        let applied = is_write && reply.is_ok() && life.is_alive();
        life.cell.recorder.note(life.cell.number, ANSWERED, &[number, u64::from(applied)]);
        life.cell.recorder.observe(life.cell.store, Event::Answered { number, applied });
        life.give(Outgoing::Reply(id, Reply::Region(reply)));
    }
}

fn get(snapshot: &RegionSnapshot, family: ColumnFamily, key: &Bytes) -> engine::Result<RegionReply> {
    if !snapshot.descriptor.range.contains(key) {
        return Ok(RegionReply::Value(None));
    }
    Ok(RegionReply::Value(snapshot.data.get(Family::User(family), key)?))
}

fn scan(
    snapshot: &RegionSnapshot,
    family: ColumnFamily,
    range: &KeyRange,
    limit: usize,
) -> engine::Result<RegionReply> {
    let own = &snapshot.descriptor.range;
    let range = own.intersect(range);
    let mut pairs: Vec<Pair> = Vec::new();
    if !range.is_empty() {
        let mut iter = snapshot.data.iter(Family::User(family), IterRange::new(range))?;
        let mut valid = iter.seek_to_first()?;
        while valid && pairs.len() < limit {
            pairs.push((Bytes::copy_from_slice(iter.key()), Bytes::copy_from_slice(iter.value())));
            valid = iter.next()?;
        }
    }
    Ok(RegionReply::Pairs(pairs, own.clone()))
}
