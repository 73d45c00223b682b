//! The machine itself: leadership, the one write that is under way, and what follows from its end.
//!
//! ```text
//! Idle ── leads ──▶ Claiming ── claim applied ──▶ Loading ── loaded ──▶ Opening ── bound written ──▶ Serving
//!   ▲                  │                            │                      │                          │
//!   └── deposed, or the write or the read failed ───┴──────────────────────┴──────────────────────────┘
//! ```
//!
//! The claim is a write of the leadership's own term. Once it is applied, everything that was written before it has
//! been applied or never will be, so the linearizable read that follows sees it all (D16). What is read must hold this
//! very claim: another one means that somebody else leads by now.
//!
//! A machine that leads and failed to load tries again with the next request that it refuses; after an error of the state
//! engine, which may pass like any other of a disk, with the first one a second later.

use std::time::Duration;

use placement::{Drain, RegionOrder};
use types::{Instant, PlantedBug, RequestError, StoreId, Term};

use crate::config::CoordinatorConfig;
use crate::error::CoordinatorError;
use crate::leader::{Leader, Plan};
use crate::meta::{self, Meta};
use crate::record::{RawRecord, Record, RecordWrite};
use crate::request::{Held, Moment, Request};
use crate::view::View;

/// How long after an error of the state engine the records are read again, so that a disk which stays broken is not asked, and
/// written to, as often as requests come.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// Numbers the machine's writes and loads, so that an end is matched with its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskNumber(pub u64);

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The region's peer here leads in a term. Said again for the same term, it changes nothing.
    Elected {
        /// When.
        at: Moment,
        /// The term.
        term: Term,
    },
    /// The region's peer here leads no more.
    Deposed,
    /// Somebody asks for something.
    Request {
        /// When.
        at: Moment,
        /// What.
        request: Request,
    },
    /// A write ended. Every write must end, once, also one that was begun under an earlier leadership.
    Written {
        /// Which one.
        task: TaskNumber,
        /// Whether it was applied.
        result: Result<(), RequestError>,
    },
    /// A load ended.
    Loaded {
        /// Which one.
        task: TaskNumber,
        /// Everything that the region holds.
        result: Result<Vec<RawRecord>, LoadError>,
    },
}

/// The region could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The read was refused.
    Refused(RequestError),
    /// The state engine failed; says how.
    Engine(String),
}

/// What was given away, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Timestamps.
    pub timestamps: u64,
    /// How often the bound of the timestamps was moved.
    pub timestamp_windows: u64,
    /// Ids, those of the layout apart.
    pub ids: u64,
    /// What became of operators.
    pub placement: placement::Totals,
}

/// Something that the machine wants done. Effects are carried out in their order.
#[derive(Debug)]
pub enum Effect {
    /// Write to the region, atomically, as the leader of a term: refused when the region's term is another.
    Write {
        /// To be given back with [`Input::Written`].
        task: TaskNumber,
        /// The term.
        term: Term,
        /// What to write.
        writes: Vec<RecordWrite>,
    },
    /// Read everything that the region holds, linearizably.
    Load {
        /// To be given back with [`Input::Loaded`].
        task: TaskNumber,
    },
    /// Give somebody an answer.
    Answer(Answer),
    /// Give a region's leader an order that it did not ask for. One that is lost is given again when the region reports.
    Order(RegionOrder),
    /// Say that a store that was told to leave cannot be emptied just now; comes at most once a minute for each.
    Stalled {
        /// The store.
        store: StoreId,
        /// How far it is, and what for its regions wait.
        drain: Drain,
    },
    /// The machine serves, as of now.
    Serving {
        /// Under which term.
        term: Term,
    },
    /// The machine serves no more.
    StoodDown,
    /// The state engine failed while the records were read, by this cause; they will be read again.
    NotLoaded(String),
    /// The machine cannot go on; it answers everything with this error.
    Failed(CoordinatorError),
}

/// An answer on its way; delivered once. Dropped, it becomes [`CoordinatorError::Undetermined`].
pub struct Answer(Box<dyn FnOnce() + Send>);

impl Answer {
    pub(crate) fn new(deliver: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(deliver))
    }

    /// Gives the answer.
    pub fn deliver(self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

#[derive(Debug)]
enum Phase {
    /// Not leading, or leading and not trying.
    Idle,
    /// The claim is under way.
    Claiming { term: Term },
    /// The claim is applied, the read is under way.
    Loading { term: Term, task: TaskNumber },
    /// The first bound is under way.
    Opening(Box<Leader>),
    /// At work.
    Serving(Box<Leader>),
    /// For ever.
    Failed(CoordinatorError),
}

#[derive(Debug)]
enum Purpose {
    Claim,
    /// Carries the state after the write.
    Open(Box<Meta>),
    /// Carries the state after the write, and who waits for it.
    Change(Box<Meta>, Vec<Held>),
}

#[derive(Debug)]
struct Flight {
    task: TaskNumber,
    term: Term,
    purpose: Purpose,
}

/// The coordinator without IO, clocks and threads.
#[derive(Debug)]
pub struct Machine {
    config: CoordinatorConfig,
    /// The term in which the region's peer here leads.
    leadership: Option<Term>,
    phase: Phase,
    /// The one write that has not ended. It outlives the leadership that began it.
    flight: Option<Flight>,
    next_task: TaskNumber,
    /// When the newest input came that brought a time.
    latest: Moment,
    /// No claim before: the state engine has just failed.
    rests_until: Instant,
}

impl Machine {
    /// A coordinator that does not lead yet.
    ///
    /// # Errors
    /// [`CoordinatorError::Config`].
    pub fn new(config: CoordinatorConfig) -> Result<Self, CoordinatorError> {
        config.validate()?;
        Ok(Self {
            config,
            leadership: None,
            phase: Phase::Idle,
            flight: None,
            next_task: TaskNumber(1),
            latest: Moment::default(),
            rests_until: Instant::ORIGIN,
        })
    }

    /// Takes something that happened, and pushes what is to be done about it.
    pub fn step(&mut self, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Elected { at, term } => {
                self.latest = at;
                self.elected(term, effects);
            }
            Input::Deposed => {
                self.leadership = None;
                self.stand_down(&CoordinatorError::NotLeader, effects);
            }
            Input::Request { at, request } => self.request(at, request, effects),
            Input::Written { task, result } => self.written(task, result, effects),
            Input::Loaded { task, result } => self.loaded(task, result, effects),
        }
    }

    /// What readers see, as of `at`.
    ///
    /// # Errors
    /// `NotLeader` or `Failed`.
    pub fn view(&self, at: Moment) -> Result<View<'_>, CoordinatorError> {
        match &self.phase {
            Phase::Serving(leader) => Ok(View::new(leader, &self.config, at.now)),
            Phase::Failed(error) => Err(error.clone()),
            _ => Err(CoordinatorError::NotLeader),
        }
    }

    /// What was given away since the last call, for metrics.
    pub fn drain_totals(&mut self) -> Totals {
        match &mut self.phase {
            Phase::Serving(leader) => {
                let placement = leader.placement.drain_totals();
                Totals { placement, ..std::mem::take(&mut leader.totals) }
            }
            _ => Totals::default(),
        }
    }

    fn elected(&mut self, term: Term, effects: &mut Vec<Effect>) {
        if self.leadership != Some(term) {
            self.leadership = Some(term);
            self.stand_down(&CoordinatorError::NotLeader, effects);
            self.claim(effects);
        }
    }

    /// Forgets everything that was loaded and learnt (D16), and refuses who waits. Who waits for the write that is under
    /// way is answered when it ends.
    fn stand_down(&mut self, error: &CoordinatorError, effects: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Failed(_)) {
            return;
        }
        if let Phase::Serving(mut leader) = std::mem::replace(&mut self.phase, Phase::Idle) {
            let mut answers = Vec::new();
            leader.refuse_waiting(error, &mut answers);
            effects.extend(answers.into_iter().map(Effect::Answer));
            effects.push(Effect::StoodDown);
        }
    }

    fn fail(&mut self, error: CoordinatorError, effects: &mut Vec<Effect>) {
        self.stand_down(&error, effects);
        effects.push(Effect::Failed(error.clone()));
        self.phase = Phase::Failed(error);
    }

    /// Begins a claim if there is anything to claim. Not while a write is under way: what it does must be in what the
    /// claim's read sees.
    fn claim(&mut self, effects: &mut Vec<Effect>) {
        if self.latest.now < self.rests_until {
            return;
        }
        if let (Phase::Idle, Some(term), None) = (&self.phase, self.leadership, &self.flight) {
            if self.config.planted.has(PlantedBug::CoordinatorLoadsEarly) {
                return self.load(term, effects);
            }
            self.phase = Phase::Claiming { term };
            self.write(term, vec![Record::Claim(term).put()], Purpose::Claim, effects);
        }
    }

    fn load(&mut self, term: Term, effects: &mut Vec<Effect>) {
        let task = self.take_task();
        self.phase = Phase::Loading { term, task };
        effects.push(Effect::Load { task });
    }

    fn take_task(&mut self) -> TaskNumber {
        let task = self.next_task;
        self.next_task = TaskNumber(task.0 + 1);
        task
    }

    fn write(&mut self, term: Term, writes: Vec<RecordWrite>, purpose: Purpose, effects: &mut Vec<Effect>) {
        assert!(self.flight.is_none(), "one write is under way at a time");
        let task = self.take_task();
        self.flight = Some(Flight { task, term, purpose });
        effects.push(Effect::Write { task, term, writes });
    }

    fn request(&mut self, at: Moment, request: Request, effects: &mut Vec<Effect>) {
        self.latest = at;
        match &mut self.phase {
            Phase::Serving(leader) => {
                effects.extend(leader.take(&self.config, at, request).map(Effect::Answer));
                effects.extend(leader.orders.drain(..).map(Effect::Order));
                effects.extend(leader.stalled.drain(..).map(|(store, drain)| Effect::Stalled { store, drain }));
                self.write_next(effects);
            }
            Phase::Failed(error) => effects.push(Effect::Answer(request.refuse(error.clone()))),
            _ => {
                effects.push(Effect::Answer(request.refuse(CoordinatorError::NotLeader)));
                self.claim(effects);
            }
        }
    }

    /// Begins the next write, if none is under way and there is something to write.
    fn write_next(&mut self, effects: &mut Vec<Effect>) {
        while let (Phase::Serving(leader), None) = (&mut self.phase, &self.flight) {
            let term = leader.term;
            let Some(Plan { writes, meta, held }) = leader.plan_write(&self.config, self.latest) else { return };
            if writes.is_empty() {
                assert_eq!(meta, leader.meta, "what changes the state is written");
                effects.extend(held.into_iter().map(|held| Effect::Answer(held.release(Ok(())))));
                continue;
            }
            self.write(term, writes, Purpose::Change(Box::new(meta), held), effects);
        }
    }

    fn written(&mut self, task: TaskNumber, result: Result<(), RequestError>, effects: &mut Vec<Effect>) {
        let flight = self.flight.take().expect("only a write that is under way can end");
        assert_eq!(flight.task, task, "one write is under way at a time");
        let result = result.map_err(CoordinatorError::from);
        match flight.purpose {
            Purpose::Claim => self.claimed(result, effects),
            Purpose::Open(meta) => self.opened(*meta, result, effects),
            Purpose::Change(meta, held) => self.changed(flight.term, *meta, held, result, effects),
        }
    }

    fn claimed(&mut self, result: Result<(), CoordinatorError>, effects: &mut Vec<Effect>) {
        match (&self.phase, result) {
            (Phase::Claiming { term }, Ok(())) => {
                let term = *term;
                self.load(term, effects);
            }
            (Phase::Claiming { .. }, Err(_)) => self.phase = Phase::Idle,
            _ => self.claim(effects),
        }
    }

    fn loaded(&mut self, task: TaskNumber, result: Result<Vec<RawRecord>, LoadError>, effects: &mut Vec<Effect>) {
        let term = match self.phase {
            Phase::Loading { term, task: expected } if expected == task => term,
            _ => return,
        };
        self.phase = Phase::Idle;
        let records = match result {
            Ok(records) => records,
            Err(LoadError::Refused(_)) => return,
            Err(LoadError::Engine(cause)) => {
                self.rests_until = self.latest.now + RELOAD_PAUSE;
                return effects.push(Effect::NotLoaded(cause));
            }
        };
        let early = self.config.planted.has(PlantedBug::CoordinatorLoadsEarly);
        match meta::load(&records) {
            Err(error) => self.fail(error, effects),
            Ok(loaded) if loaded.claim != Some(term) && !early => {}
            Ok(loaded) => match Leader::open(&self.config, loaded.meta, term, self.latest) {
                Ok((leader, plan)) => {
                    self.phase = Phase::Opening(Box::new(leader));
                    self.write(term, plan.writes, Purpose::Open(Box::new(plan.meta)), effects);
                }
                Err(error) => self.fail(error, effects),
            },
        }
    }

    fn opened(&mut self, meta: Meta, result: Result<(), CoordinatorError>, effects: &mut Vec<Effect>) {
        match (std::mem::replace(&mut self.phase, Phase::Idle), result) {
            (Phase::Opening(mut leader), Ok(())) => {
                leader.adopt(&self.config, self.latest.now, meta, &mut Vec::new());
                effects.push(Effect::Serving { term: leader.term });
                self.phase = Phase::Serving(leader);
                self.write_next(effects);
            }
            (Phase::Opening(_), Err(_)) => {}
            (phase, _) => {
                self.phase = phase;
                self.claim(effects);
            }
        }
    }

    fn changed(
        &mut self,
        term: Term,
        meta: Meta,
        held: Vec<Held>,
        result: Result<(), CoordinatorError>,
        effects: &mut Vec<Effect>,
    ) {
        effects.extend(held.into_iter().map(|held| Effect::Answer(held.release(result.clone()))));
        let Phase::Serving(leader) = &mut self.phase else { return self.claim(effects) };
        assert_eq!(leader.term, term, "a new leadership begins after the last one's write has ended");
        let mut answers = Vec::new();
        match result {
            Ok(()) => leader.adopt(&self.config, self.latest.now, meta, &mut answers),
            // Nothing was written and memory shows nothing of it, so the leadership goes on. Whatever waits is refused as
            // well, and the next request tries again: a store that refuses at once would refuse at once for ever.
            Err(error @ CoordinatorError::NotWritten(_)) => {
                leader.refuse_waiting(&error, &mut answers);
                effects.extend(answers.into_iter().map(Effect::Answer));
                return;
            }
            // What the region holds is not known any more: claim it again.
            Err(_) => {
                self.stand_down(&CoordinatorError::NotLeader, effects);
                return self.claim(effects);
            }
        }
        effects.extend(answers.into_iter().map(Effect::Answer));
        self.write_next(effects);
    }
}
