//! Ids for new regions and their peers, where there is no placement driver: a counter that all members share.
//!
//! The counter is a key of the region at the start of the key space: the [reserved key](types::reserved), which no user can
//! write or see. Ids are taken in blocks, by a compare-and-swap through that region's log: whatever happens to leaders,
//! members and messages, it succeeds for one of those who expect the same value, and the value only grows. So a block is
//! given once. Nothing about the counter needs to be remembered (D16); what a member remembers is only a guess of what it
//! will find, and ids of a block that is its own. When it is not known whether a block was taken, nobody uses it: there
//! are enough.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::IdCounter;
use parking_lot::Mutex;
use runtime::clock::Clock;
use slog::{Logger, debug, error, info};
use store::layout::FIRST_STATIC_ID;
use store::{RegionIds, SplitIds, SplitIdsAnswer, StoreHandle, WeakStoreHandle};
use types::reserved::RESERVED_KEY;
use types::{CommandOutput, Instant, RegionDescriptor, RequestError, Responder};

use crate::network::Network;
use crate::request::{RegionRequest, RegionResponder, RegionResponse, execute};
use crate::routing::header;

/// Ids that are taken at once, so that a store that splits much asks seldom.
const BLOCK_IDS: u64 = 256;

/// Most requests that wait for a block.
const MAX_WAITING: usize = 256;

/// How long an answer is waited for before the next request makes another try. One that comes later is taken, too.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most compare-and-swaps for one block: each fails only because another member has just taken one.
const MAX_SWAPS: u32 = 16;

/// Hands out ids from the counter that the members of a static cluster share. Never blocks and starts no thread: answers
/// come on the store's.
///
/// It does not try again by itself when the counter's region has no leader or cannot be reached: whoever asked does.
#[derive(Clone)]
pub struct IdAllocator {
    shared: Arc<Shared>,
}

struct Shared {
    /// Weak: the store owns the allocator.
    store: WeakStoreHandle,
    network: Arc<dyn Network>,
    /// No id below this may be given: the cluster's layout has them.
    least: u64,
    clock: Arc<dyn Clock>,
    logger: Logger,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the counter is believed to hold: a guess that the compare-and-swap puts right.
    guess: Option<Bytes>,
    /// Ids that are this member's own to give, once each.
    own: VecDeque<Range<u64>>,
    waiting: VecDeque<Wanted>,
    /// The try that is under way, and since when.
    asking: Option<(Try, Instant)>,
    /// How many tries there were.
    tries: u64,
}

/// One try to take a block, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Try(u64);

/// Ids that somebody waits for.
struct Wanted {
    regions: usize,
    peers: usize,
    responder: Responder<Option<SplitIdsAnswer>>,
}

impl Wanted {
    fn ids(&self) -> u64 {
        self.regions as u64 * (1 + self.peers as u64)
    }
}

impl State {
    /// Begins a try, unless one is under way whose answer may still come.
    fn begin(&mut self, now: Instant) -> Option<Try> {
        if self.asking.is_some_and(|(_, since)| now.since(since) < PATIENCE) {
            return None;
        }
        self.tries += 1;
        let number = Try(self.tries);
        self.asking = Some((number, now));
        Some(number)
    }

    /// Ends a try; false when it was given up before.
    fn end(&mut self, number: Try) -> bool {
        let current = self.asking.is_some_and(|(asking, _)| asking == number);
        if current {
            self.asking = None;
        }
        current
    }

    fn available(&self) -> u64 {
        self.own.iter().map(|block| block.end - block.start).sum()
    }

    /// The next of the own ids.
    fn next(&mut self) -> u64 {
        let block = self.own.front_mut().expect("as many ids are there as were asked for");
        let id = block.start;
        block.start += 1;
        if block.start == block.end {
            self.own.pop_front();
        }
        id
    }

    fn give(&mut self, wanted: &Wanted) -> SplitIdsAnswer {
        let mut region =
            || RegionIds { region: self.next().into(), peers: (0..wanted.peers).map(|_| self.next().into()).collect() };
        (0..wanted.regions).map(|_| region()).collect()
    }
}

impl IdAllocator {
    /// Ids for the store's regions, above all of those that `layout` uses.
    pub fn new(
        store: WeakStoreHandle,
        network: Arc<dyn Network>,
        layout: &[RegionDescriptor],
        clock: Arc<dyn Clock>,
        logger: Logger,
    ) -> Self {
        let least = layout.iter().map(above).max().unwrap_or(0).max(FIRST_STATIC_ID);
        Self { shared: Arc::new(Shared { store, network, least, clock, logger, state: Mutex::default() }) }
    }
}

impl SplitIds for IdAllocator {
    fn ask(&self, region: &RegionDescriptor, count: usize, responder: Responder<Option<SplitIdsAnswer>>) {
        let wanted = Wanted { regions: count, peers: region.peers.len(), responder };
        let refused = {
            let mut state = self.shared.state.lock();
            if state.waiting.len() < MAX_WAITING {
                state.waiting.push_back(wanted);
                None
            } else {
                Some(wanted)
            }
        };
        match refused {
            Some(wanted) => wanted.responder.respond(None),
            None => self.shared.serve(),
        }
    }
}

/// The first id above all of a region's.
fn above(region: &RegionDescriptor) -> u64 {
    let peers = region.peers.iter().map(|peer| peer.id.0);
    peers.chain([region.id.0]).max().map_or(0, |id| id + 1)
}

impl Shared {
    /// Gives ids to whoever can be given some, and takes a block for the next one.
    fn serve(self: &Arc<Self>) {
        let mut given = Vec::new();
        let missing = {
            let mut state = self.state.lock();
            while state.waiting.front().is_some_and(|wanted| wanted.ids() <= state.available()) {
                let wanted = state.waiting.pop_front().expect("there is a first one");
                given.push((state.give(&wanted), wanted.responder));
            }
            let missing = state.waiting.front().map(|wanted| wanted.ids() - state.available());
            missing.and_then(|missing| Some((state.begin(self.clock.now())?, missing)))
        };
        for (ids, responder) in given {
            responder.respond(Some(ids));
        }
        if let Some((number, missing)) = missing {
            self.take_block(number, missing.max(BLOCK_IDS), MAX_SWAPS);
        }
    }

    fn take_block(self: &Arc<Self>, number: Try, ids: u64, swaps: u32) {
        let Some(store) = self.store.upgrade() else { return self.give_up(number, "the store is stopped") };
        let Some(view) = store.region_at(&RESERVED_KEY) else {
            return self.give_up(number, "the counter's region is not here");
        };
        let Some(leader) = view.leader else { return self.give_up(number, "the counter's region has no leader") };
        let guess = self.state.lock().guess.clone();
        let first = match guess.as_ref().map(|guess| IdCounter::decode(guess)).transpose() {
            Ok(found) => found.map_or_else(|| self.first_id(&store), |counter| counter.0),
            Err(error) => {
                error!(self.logger, "the counter of ids does not read: no region can be split"; "error" => %error);
                return self.give_up(number, "the counter does not read");
            }
        };
        let block = first..first + ids;
        let value = IdCounter(block.end).encode();
        let request = RegionRequest::SwapReserved { expected: guess, value: value.clone() };
        let shared = Arc::clone(self);
        let answer = RegionResponder::new(move |answer| shared.answered(number, answer, block, value, swaps));
        if leader.store_id == store.ident().store {
            execute(&store, header(&view, leader), request, answer);
        } else {
            self.network.call(leader.store_id, header(&view, leader), request, answer);
        }
    }

    /// Where a counter begins that was never written. No region was split then: every id that is used is one of the
    /// layout's, or was given by hand to a peer that this store knows of.
    fn first_id(&self, store: &StoreHandle) -> u64 {
        let known = store.regions().iter().map(|view| above(&view.descriptor)).max();
        known.unwrap_or(0).max(self.least)
    }

    fn answered(
        self: &Arc<Self>,
        number: Try,
        answer: Result<RegionResponse, RequestError>,
        block: Range<u64>,
        value: Bytes,
        swaps: u32,
    ) {
        match answer {
            Ok(RegionResponse::Written(CommandOutput::Compared { swapped: true, .. })) => {
                info!(self.logger, "ids taken"; "first" => block.start, "behind" => block.end);
                let mut state = self.state.lock();
                state.guess = Some(value);
                state.own.push_back(block);
                state.end(number);
                drop(state);
                self.serve();
            }
            Ok(RegionResponse::Written(CommandOutput::Compared { swapped: false, previous })) => {
                self.state.lock().guess = previous;
                match swaps.checked_sub(1) {
                    Some(swaps) if swaps > 0 => self.take_block(number, block.end - block.start, swaps),
                    _ => self.give_up(number, "others take ids all the time"),
                }
            }
            Ok(_) => self.give_up(number, "the counter's region gave an answer of another kind"),
            Err(error) => self.give_up(number, &error.to_string()),
        }
    }

    /// Tells everyone who waits that there are no ids now, unless a later try is under way.
    fn give_up(&self, number: Try, reason: &str) {
        debug!(self.logger, "no ids could be taken"; "reason" => reason);
        let waiting = {
            let mut state = self.state.lock();
            if state.end(number) { std::mem::take(&mut state.waiting) } else { VecDeque::new() }
        };
        for wanted in waiting {
            wanted.responder.respond(None);
        }
    }
}
