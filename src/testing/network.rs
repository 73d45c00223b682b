//! How an embedded store's requests travel in a simulation.

use std::collections::BTreeMap;
use std::sync::Arc;

use embed::Network;
use embed::request::{RegionRequest, RegionResponder, RegionResponse, execute};
use parking_lot::Mutex;
use region::RegionMessage;
use sim::Host;
use store::{Outbox, StoreHandle};
use types::{RequestError, RequestHeader, Responder, StoreId};

type Answer = Result<RegionResponse, RequestError>;

/// The requests of one process that are under way.
#[derive(Default)]
struct Waiting {
    next: u64,
    responders: BTreeMap<u64, RegionResponder>,
}

/// The network of one process. A request or an answer that is lost on the way is waited for until the operation's time
/// is over, as with real connections that stand still.
#[derive(Clone)]
pub(super) struct WireNetwork {
    host: Host,
    waiting: Arc<Mutex<Waiting>>,
}

impl WireNetwork {
    pub(super) fn new(host: Host) -> Self {
        Self { host, waiting: Arc::default() }
    }

    /// The process ends: nobody is answered any more.
    pub(super) fn close(&self) {
        let responders = std::mem::take(&mut self.waiting.lock().responders);
        drop(responders);
    }

    fn wait(&self, responder: RegionResponder) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.next += 1;
        let number = waiting.next;
        waiting.responders.insert(number, responder);
        number
    }

    fn answered(&self, number: u64, answer: Answer) {
        let responder = self.waiting.lock().responders.remove(&number);
        if let Some(responder) = responder {
            responder.respond(answer);
        }
    }
}

impl Network for WireNetwork {
    /// The simulator carries raft's messages itself.
    fn outbox(&self, _: StoreId) -> Arc<dyn Outbox> {
        Arc::new(Nowhere)
    }

    fn join(&self, _: StoreHandle) {}

    fn leave(&self, _: StoreId) {}

    fn call(&self, to: StoreId, header: RequestHeader, request: RegionRequest, responder: RegionResponder) {
        let (number, network, from) = (self.wait(responder), self.clone(), self.host.id());
        self.host.carry(to, move |there| {
            let back = there.clone();
            let answer = move |answer: Answer| back.carry(from, move |_| network.answered(number, answer));
            match there.store().upgrade() {
                Some(store) => execute(&store, header, request, Responder::new(answer)),
                None => answer(Err(RequestError::ServerIsBusy { reason: "the leader's store is not reachable" })),
            }
        });
    }
}

struct Nowhere;

impl Outbox for Nowhere {
    fn send(&self, _: RegionMessage) -> bool {
        false
    }

    fn flush(&self) {}
}
