//! The machine at work: one mailbox, one stepper at a time, no thread of its own.
//!
//! Whoever brings an input puts it into the mailbox. If nobody steps the machine, he does, until the mailbox is empty:
//! he takes the machine out, so that no lock is held while it steps or while effects are carried out. Everybody else
//! leaves his input and goes. So effects keep their order, an end that comes back at once (a refused write) is just the
//! next input, and a timestamp costs no change of threads.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use observe::metrics::coordinator::{OperatorEvent, StoreCondition};
use observe::{CoordinatorMetrics, Label};
use parking_lot::Mutex;
use placement::{Obstacle, RegionOrder};
use region::Role;
use runtime::clock::{Clock, WallClock};
use slog::{Logger, error, info, warn};
use store::RegionView;
use types::Term;

use crate::config::CoordinatorConfig;
use crate::error::CoordinatorError;
use crate::journal::{Journal, LoadDone, WriteDone};
use crate::machine::{Effect, Input, LoadError, Machine, Totals};
use crate::request::{Moment, Request};
use crate::store_info::StoreHealth;
use crate::view::View;

/// Most requests and queries in the mailbox; ends of writes and loads always find room.
pub const MAILBOX_CAPACITY: usize = 16 << 10;

type Query = Box<dyn FnOnce(Result<View<'_>, CoordinatorError>) + Send>;

/// What the coordinator needs from outside.
#[derive(Clone)]
pub struct Surroundings {
    /// Tells how long stores have been silent.
    pub clock: Arc<dyn Clock>,
    /// Pulls the timestamps forward.
    pub wall_clock: Arc<dyn WallClock>,
    /// Where the coordinator counts.
    pub metrics: Arc<CoordinatorMetrics>,
    /// Where it logs.
    pub logger: Logger,
}

/// Takes orders to stores. Must be short and must not block; what it cannot deliver is lost, and given again later.
pub trait OrderSink: Send + Sync + 'static {
    /// Takes an order for the store of its leader.
    fn order(&self, order: RegionOrder);
}

enum Letter {
    Input(Input),
    Query(Moment, Query),
}

struct Mailbox {
    letters: VecDeque<Letter>,
    /// `None` while somebody steps it, and for ever after it panicked.
    machine: Option<Machine>,
    /// Whether it panicked: then nobody knows what state it is in.
    is_lost: bool,
}

struct Shared {
    mailbox: Mutex<Mailbox>,
    journal: Box<dyn Journal>,
    around: Surroundings,
    orders: OnceLock<Arc<dyn OrderSink>>,
    /// For the ends of writes and loads: they must not keep the coordinator alive.
    me: Weak<Shared>,
}

/// A coordinator at work; cheap to clone. Nothing here blocks for long: a call may step the machine for other callers.
#[derive(Clone)]
pub struct Coordinator(Arc<Shared>);

/// A coordinator that others own.
pub(crate) struct WeakCoordinator(Weak<Shared>);

impl WeakCoordinator {
    pub(crate) fn upgrade(&self) -> Option<Coordinator> {
        self.0.upgrade().map(Coordinator)
    }
}

impl Coordinator {
    pub(crate) fn downgrade(&self) -> WeakCoordinator {
        WeakCoordinator(Arc::downgrade(&self.0))
    }

    /// A coordinator whose records are in `journal`. It serves once it is told that it leads.
    ///
    /// # Errors
    /// [`CoordinatorError::Config`].
    pub fn new(
        config: CoordinatorConfig,
        journal: impl Journal,
        around: Surroundings,
    ) -> Result<Self, CoordinatorError> {
        let machine = Some(Machine::new(config)?);
        let mailbox = Mutex::new(Mailbox { letters: VecDeque::new(), machine, is_lost: false });
        let journal = Box::new(journal);
        Ok(Self(Arc::new_cyclic(|me| Shared { mailbox, journal, around, orders: OnceLock::new(), me: me.clone() })))
    }

    /// Sends orders that nobody asked for by `sink` from now on; until then they wait for their regions' heartbeats.
    ///
    /// # Panics
    /// When there is one already.
    pub fn send_orders_by(&self, sink: Arc<dyn OrderSink>) {
        assert!(self.0.orders.set(sink).is_ok(), "one way for orders to a coordinator");
    }

    /// The region's peer here leads in a term.
    pub fn elected(&self, term: Term) {
        self.0.bring(Letter::Input(Input::Elected { at: self.0.moment(), term }));
    }

    /// The region's peer here leads no more.
    pub fn deposed(&self) {
        self.0.bring(Letter::Input(Input::Deposed));
    }

    /// Takes a change of the region's role here. Changes are handed in as they come: see
    /// [`Leadership`](crate::Leadership).
    pub fn region_changed(&self, view: &RegionView) {
        match view.role {
            Role::Leader => self.elected(view.term),
            Role::Follower | Role::PreCandidate | Role::Candidate => self.deposed(),
        }
    }

    /// Asks for something; the answer comes by the request's reply, perhaps before this returns.
    pub fn request(&self, request: impl Into<Request>) {
        let request = request.into();
        if self.0.has_room() {
            self.0.bring(Letter::Input(Input::Request { at: self.0.moment(), request }));
        } else {
            request.refuse(CoordinatorError::Busy { queue: "the mailbox" }).deliver();
        }
    }

    /// Looks at the state as it is now. `look` is called once, perhaps before this returns, on any thread that steps the
    /// machine: it must be short and must not block. It is dropped uncalled when the coordinator is lost.
    pub fn query(&self, look: impl FnOnce(Result<View<'_>, CoordinatorError>) + Send + 'static) {
        if self.0.has_room() {
            self.0.bring(Letter::Query(self.0.moment(), Box::new(look)));
        } else {
            look(Err(CoordinatorError::Busy { queue: "the mailbox" }));
        }
    }

    /// Sets the gauges of stores and regions; for whoever is about to read them.
    pub fn refresh_gauges(&self) {
        let metrics = Arc::clone(&self.0.around.metrics);
        self.query(move |view| set_gauges(&metrics, view.ok()));
    }
}

fn set_gauges(metrics: &CoordinatorMetrics, view: Option<View<'_>>) {
    metrics.is_leader.set(i64::from(view.is_some()));
    let regions = view.map(|view| view.region_counts()).unwrap_or_default();
    metrics.regions.set(regions.known as i64);
    metrics.regions_with_leader.set(regions.with_leader as i64);
    let placement = view.map(|view| view.placement());
    metrics.operators_running.set(placement.map_or(0, |placement| placement.operators().len() as i64));
    metrics.regions_waiting.set(placement.map_or(0, |placement| placement.waiting() as i64));
    let mut stores = [0; StoreCondition::ALL.len()];
    for store in view.iter().flat_map(|view| view.stores(false)) {
        let condition = match store.health {
            _ if !store.record.is_live() => StoreCondition::Tombstone,
            StoreHealth::Up if store.record.is_leaving() => StoreCondition::Offline,
            StoreHealth::Up => StoreCondition::Up,
            StoreHealth::Disconnected => StoreCondition::Disconnected,
            StoreHealth::Down => StoreCondition::Down,
        };
        stores[condition as usize] += 1;
    }
    for condition in StoreCondition::ALL {
        metrics.stores[*condition].set(stores[*condition as usize]);
    }
}

impl Shared {
    fn moment(&self) -> Moment {
        Moment { now: self.around.clock.now(), unix_ms: self.around.wall_clock.unix_ms() }
    }

    fn count(&self, totals: Totals) {
        self.around.metrics.timestamps.inc_by(totals.timestamps);
        self.around.metrics.timestamp_windows.inc_by(totals.timestamp_windows);
        self.around.metrics.ids.inc_by(totals.ids);
        self.count_operators(&totals.placement);
    }

    fn count_operators(&self, totals: &placement::Totals) {
        let metrics = &self.around.metrics;
        for (event, count) in [
            (OperatorEvent::Created, totals.created),
            (OperatorEvent::Finished, totals.finished),
            (OperatorEvent::TimedOut, totals.timed_out),
            (OperatorEvent::Cancelled, totals.cancelled),
            (OperatorEvent::Replaced, totals.replaced),
        ] {
            metrics.operators[event].inc_by(count);
        }
        metrics.orders.inc_by(totals.orders);
        metrics.operators_limited.inc_by(totals.limited);
        totals.lasted.iter().for_each(|lasted| metrics.operator_duration.observe(lasted.as_secs_f64()));
    }

    fn has_room(&self) -> bool {
        self.mailbox.lock().letters.len() < MAILBOX_CAPACITY
    }

    /// Puts a letter into the mailbox, and steps the machine until the mailbox is empty unless somebody does so already.
    fn bring(&self, letter: Letter) {
        let machine = {
            let mut mailbox = self.mailbox.lock();
            if mailbox.is_lost {
                drop(mailbox);
                return drop(letter);
            }
            mailbox.letters.push_back(letter);
            mailbox.machine.take()
        };
        if let Some(machine) = machine {
            Turn { shared: self, machine: Some(machine), effects: Vec::new() }.run();
        }
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Answer(answer) => answer.deliver(),
            Effect::Order(order) => {
                if let Some(sink) = self.orders.get() {
                    sink.order(order);
                }
            }
            Effect::Write { task, term, writes } => {
                let me = self.me.clone();
                let done = WriteDone::new(move |result| Self::end(&me, Input::Written { task, result }));
                self.journal.write(term, writes, done);
            }
            Effect::Load { task } => {
                let me = self.me.clone();
                let done = LoadDone::new(move |result| {
                    let result = result.unwrap_or_else(|error| Err(LoadError::Refused(error)));
                    Self::end(&me, Input::Loaded { task, result });
                });
                self.journal.load(done);
            }
            Effect::Stalled { store, drain } => {
                warn!(self.around.logger, "a store that is to leave cannot be emptied now"; "store" => store.0,
                    "regions" => drain.regions, "waiting" => drain.waiting.values().sum::<u64>(),
                    "because" => drain.main_obstacle().map_or("", Obstacle::why));
            }
            Effect::Serving { term } => {
                self.around.metrics.is_leader.set(1);
                info!(self.around.logger, "coordinator serves"; "term" => term.0);
            }
            Effect::StoodDown => {
                self.around.metrics.is_leader.set(0);
                info!(self.around.logger, "coordinator serves no more");
            }
            Effect::NotLoaded(cause) => {
                warn!(self.around.logger, "coordinator cannot read its records, and tries again"; "error" => cause);
            }
            Effect::Failed(error) => {
                error!(self.around.logger, "coordinator failed"; "code" => %error.code(), "error" => %error);
            }
        }
    }

    fn end(me: &Weak<Self>, input: Input) {
        if let Some(shared) = me.upgrade() {
            shared.bring(Letter::Input(input));
        }
    }
}

/// One caller's turn at the machine.
struct Turn<'a> {
    shared: &'a Shared,
    machine: Option<Machine>,
    effects: Vec<Effect>,
}

impl Turn<'_> {
    fn run(mut self) {
        while let Some(letter) = self.next_letter() {
            let machine = self.machine.as_mut().expect("it is given back with the last letter");
            match letter {
                Letter::Input(input) => machine.step(input, &mut self.effects),
                Letter::Query(at, look) => look(machine.view(at)),
            }
            self.shared.count(machine.drain_totals());
            self.effects.drain(..).for_each(|effect| self.shared.carry_out(effect));
        }
    }

    /// The next letter; gives the machine back when there is none, under the same lock, so that no letter is left.
    fn next_letter(&mut self) -> Option<Letter> {
        let mut mailbox = self.shared.mailbox.lock();
        let letter = mailbox.letters.pop_front();
        if letter.is_none() {
            mailbox.machine = self.machine.take();
        }
        letter
    }
}

impl Drop for Turn<'_> {
    /// A machine that is still here was left by a panic. Whoever waits learns it by his dropped reply.
    fn drop(&mut self) {
        if self.machine.is_some() {
            let letters = {
                let mut mailbox = self.shared.mailbox.lock();
                mailbox.is_lost = true;
                std::mem::take(&mut mailbox.letters)
            };
            error!(self.shared.around.logger, "coordinator panicked and answers nothing any more: restart it");
            drop(letters);
        }
    }
}
