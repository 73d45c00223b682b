//! Clients that put and get, one operation each at a time, and expect to read what they wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use types::{ColumnFamily, Instant, RequestHeader};

use crate::call::{Call, CallId, RegionCall, RegionReply, Reply, Route};
use crate::chance::Dice;
use crate::clients::{Clients, Wish};

const CLIENTS: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(2);

enum Doing {
    Nothing,
    Routing(Bytes),
    Putting(Bytes, Bytes),
    Getting(Bytes),
}

struct Client {
    doing: Doing,
    call: CallId,
    until: Instant,
    /// What the newest acknowledged put of a key of its own wrote; nothing when that is not known.
    known: BTreeMap<Bytes, Option<Bytes>>,
}

/// Clients with keys of their own each.
pub struct PlainClients {
    dice: Dice,
    clients: Vec<Client>,
    next_call: u64,
    operations: u64,
    is_stopping: bool,
    wrong: Option<String>,
}

impl PlainClients {
    /// Clients that draw what they do.
    pub fn new(dice: Dice) -> Self {
        let client =
            |_| Client { doing: Doing::Nothing, call: CallId(0), until: Instant::ORIGIN, known: BTreeMap::new() };
        let clients = (0..CLIENTS).map(client).collect();
        Self { dice, clients, next_call: 0, operations: 0, is_stopping: false, wrong: None }
    }

    fn call(&mut self, now: Instant, at: usize, call: Call, wishes: &mut Vec<Wish>) {
        self.next_call += 1;
        let client = &mut self.clients[at];
        client.call = CallId(self.next_call);
        client.until = now + TIMEOUT;
        wishes.push(Wish::Call(client.call, call));
        wishes.push(Wish::WakeAt(client.until));
    }

    fn rest(&mut self, now: Instant, at: usize, wishes: &mut Vec<Wish>) {
        let client = &mut self.clients[at];
        client.doing = Doing::Nothing;
        client.call = CallId(0);
        client.until = now + self.dice.millis(1, 60);
        wishes.push(Wish::WakeAt(client.until));
    }

    fn begin(&mut self, now: Instant, at: usize, wishes: &mut Vec<Wish>) {
        // The last digit of a key says whose it is.
        let key = Bytes::from(format!("key{:04}", self.dice.below(1000) * 10 + at as u64));
        self.clients[at].doing = Doing::Routing(key.clone());
        self.call(now, at, Call::Route { key }, wishes);
    }

    fn routed(&mut self, now: Instant, at: usize, key: Bytes, route: Route, wishes: &mut Vec<Wish>) {
        let Some(leader) = route.leader else { return self.rest(now, at, wishes) };
        let header =
            RequestHeader { region_id: route.region.id, epoch: route.region.epoch, ..RequestHeader::default() };
        let family = ColumnFamily::Default;
        let call = if self.dice.one_in(2) {
            let value = Bytes::from(format!("value{}", self.next_call));
            let put = apply::build::put(family, key.clone(), value.clone());
            self.clients[at].known.insert(key.clone(), None);
            self.clients[at].doing = Doing::Putting(key, value);
            RegionCall::Write(apply::build::batch(vec![put]))
        } else {
            self.clients[at].doing = Doing::Getting(key.clone());
            RegionCall::Get { family, key }
        };
        self.call(now, at, Call::Region { to: leader.store_id, header, call }, wishes);
    }
}

impl Clients for PlainClients {
    fn wake(&mut self, now: Instant, wishes: &mut Vec<Wish>) {
        for at in 0..self.clients.len() {
            if now < self.clients[at].until {
                continue;
            }
            match self.clients[at].doing {
                Doing::Nothing if self.is_stopping => {}
                Doing::Nothing => self.begin(now, at, wishes),
                _ => self.rest(now, at, wishes),
            }
        }
    }

    fn answered(&mut self, now: Instant, id: CallId, reply: Reply, wishes: &mut Vec<Wish>) {
        let Some(at) = self.clients.iter().position(|client| client.call == id) else { return };
        match (std::mem::replace(&mut self.clients[at].doing, Doing::Nothing), reply) {
            (Doing::Routing(key), Reply::Route(Some(route))) => return self.routed(now, at, key, route, wishes),
            (Doing::Putting(key, value), Reply::Region(Ok(RegionReply::Written(_)))) => {
                self.operations += 1;
                self.clients[at].known.insert(key, Some(value));
            }
            (Doing::Getting(key), Reply::Region(Ok(RegionReply::Value(value)))) => {
                self.operations += 1;
                let known = self.clients[at].known.get(&key).cloned();
                let is_right = match known {
                    None => value.is_none(),
                    Some(None) => true,
                    Some(newest) => newest == value,
                };
                if !is_right {
                    self.wrong.get_or_insert(format!(
                        "{key:?} is {value:?} instead of what was put last, {:?}",
                        self.clients[at].known[&key]
                    ));
                }
            }
            _ => {}
        }
        self.rest(now, at, wishes);
    }

    fn stop(&mut self) {
        self.is_stopping = true;
    }

    fn are_done(&self) -> bool {
        self.clients.iter().all(|client| matches!(client.doing, Doing::Nothing))
    }

    fn operations(&self) -> u64 {
        self.operations
    }

    fn finish(&mut self) -> Result<(), String> {
        self.wrong.take().map_or(Ok(()), Err)
    }
}
