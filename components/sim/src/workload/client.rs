//! One client: it does one thing after the other, and finds its way like a real one.

use bytes::Bytes;
use types::backoff::Backoff;
use types::seed::{Rng, Seed};
use types::{Instant, RequestError, StoreId};

use super::ask::covered;
use super::desk::{Desk, Mode, Pending, Purpose};
use super::errand::Errand;
use super::routes::{Routes, Target};
use super::task::Task;
use crate::call::{Call, CallId, ClientId, RegionReply, Reply, Wires};
use crate::history::{Moment, OperationId};

/// One of the workload's clients.
#[derive(Debug)]
pub struct Client {
    id: ClientId,
    rng: Rng,
    routes: Routes,
    backoff: Backoff,
    state: State,
    /// When it gives up what it waits for, or goes on after a pause.
    until: Instant,
}

#[derive(Debug)]
enum State {
    /// There is nothing to do.
    Idle,
    /// Between two tasks.
    Resting,
    /// It waits for the coordinator to say where a key is.
    Routing(CallId, Job),
    /// It waits for a store, or for timestamps or ids.
    Asking(CallId, Option<Asked>, Job),
    /// Between two attempts.
    Pausing(Job),
}

/// What it works at.
#[derive(Debug)]
struct Job {
    task: Task,
    /// Whether it is an errand, which is done again until it is done.
    errand: Option<Errand>,
    give_up_at: Instant,
    /// The write that was attempted, if nobody knows more than that it had no effect so far.
    operation: Option<OperationId>,
}

/// Which store is asked about which key.
#[derive(Debug)]
struct Asked {
    store: StoreId,
    key: Bytes,
}

/// What surrounds a client while it acts.
pub struct Scene<'a> {
    pub now: Instant,
    pub desk: &'a mut Desk,
    pub wires: &'a mut dyn Wires,
}

impl Client {
    pub fn new(id: ClientId, seed: u64, desk: &Desk) -> Self {
        let (shortest, longest) = desk.config.backoff;
        let seed = Seed(seed);
        Self {
            id,
            rng: Rng::new(seed.hash(&[u64::from(id.0), 0])),
            routes: Routes::default(),
            backoff: Backoff::new(shortest, longest, seed.hash(&[u64::from(id.0), 1])),
            state: State::Idle,
            until: Instant::ORIGIN,
        }
    }

    /// Whether it has nothing under way.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether it waits for this call.
    pub fn waits_for(&self, id: CallId) -> bool {
        matches!(self.state, State::Routing(call, _) | State::Asking(call, ..) if call == id)
    }

    /// Rests for a while, if there is work to do; or goes on an errand, if there is one.
    pub fn rest(&mut self, scene: &mut Scene<'_>) {
        self.state = State::Idle;
        match scene.desk.mode {
            Mode::Rest => {}
            Mode::Errands => self.next(scene),
            Mode::Work => {
                let longest = 2 * scene.desk.config.rest.as_nanos() as u64;
                self.until = Instant(scene.now.0 + self.rng.below(longest.max(1)));
                self.state = State::Resting;
                scene.wires.wake_at(self.id, self.until);
            }
        }
    }

    /// Begins the next task.
    fn next(&mut self, scene: &mut Scene<'_>) {
        let errand = match scene.desk.mode {
            Mode::Work => None,
            Mode::Rest => return,
            Mode::Errands => match scene.desk.errands.pop_front() {
                Some(errand) => Some(errand),
                None => return,
            },
        };
        let task = errand.as_ref().map(|errand| errand.task.clone());
        let task = task.unwrap_or_else(|| scene.desk.pick(&mut self.rng));
        if let Some(register) = task.register() {
            scene.desk.history.register_mut(register).users += 1;
        }
        if self.rng.one_in(scene.desk.config.forgets_one_in) {
            self.routes = Routes::default();
        }
        self.backoff.reset();
        let give_up_at = scene.now + scene.desk.config.give_up_after;
        self.attempt(Job { task, errand, give_up_at, operation: None }, scene);
    }

    /// Ends the task, and begins the next one in time.
    fn finish(&mut self, job: Job, done: Result<(), &str>, scene: &mut Scene<'_>) {
        if let Some(register) = job.task.register() {
            scene.desk.history.register_mut(register).users -= 1;
        }
        if let Some(errand) = job.errand {
            scene.desk.errand_ended(errand, done);
        }
        self.rest(scene);
    }

    /// Sends what the task needs next.
    fn attempt(&mut self, job: Job, scene: &mut Scene<'_>) {
        let Some(key) = scene.desk.routing_key(&job.task) else { return self.ask_coordinator(job, scene) };
        match self.routes.target(&key) {
            Some(target) => self.ask_region(job, key, target, scene),
            None => {
                let pending = Pending { client: self.id, begin: Moment::ORIGIN, purpose: Purpose::Read };
                let call = scene.desk.call(pending, Call::Route { key }, scene.wires);
                self.state = State::Routing(call, job);
                self.wait(scene.desk.config.route_timeout, scene);
            }
        }
    }

    fn ask_coordinator(&mut self, job: Job, scene: &mut Scene<'_>) {
        let (purpose, call) = match job.task {
            Task::Ids { count } => (Purpose::Ids(count), Call::Ids { count }),
            Task::Timestamps { count } => (Purpose::Timestamps(count), Call::Timestamps { count }),
            _ => unreachable!("every other task has a key"),
        };
        let pending = Pending { client: self.id, begin: scene.desk.history.moment(scene.now), purpose };
        let call = scene.desk.call(pending, call, scene.wires);
        self.state = State::Asking(call, None, job);
        self.wait(scene.desk.config.timeout, scene);
    }

    fn ask_region(&mut self, mut job: Job, key: Bytes, target: Target, scene: &mut Scene<'_>) {
        let Some((call, action)) = scene.desk.region_call(&job.task, &target.range) else {
            // A batch whose keys are no longer in one region cannot be atomic.
            scene.desk.tally.skipped_batches += 1;
            return self.finish(job, Err("its keys are in several regions"), scene);
        };
        let (begin, purpose) = match (action, job.operation) {
            (None, _) => (scene.desk.history.moment(scene.now), Purpose::Read),
            (Some(_), Some(operation)) => {
                scene.desk.history.begin_again(operation, scene.now);
                (Moment::ORIGIN, Purpose::Write(operation))
            }
            (Some(action), None) => {
                let register = job.task.register().expect("a write is about a register");
                let operation = scene.desk.history.begin(register, self.id, action, scene.now);
                job.operation = Some(operation);
                (Moment::ORIGIN, Purpose::Write(operation))
            }
        };
        let Target { store, header, .. } = target;
        let pending = Pending { client: self.id, begin, purpose };
        let call = scene.desk.call(pending, Call::Region { to: store, header, call }, scene.wires);
        self.state = State::Asking(call, Some(Asked { store, key }), job);
        self.wait(scene.desk.config.timeout, scene);
    }

    fn wait(&mut self, longest: std::time::Duration, scene: &mut Scene<'_>) {
        self.until = scene.now + longest;
        scene.wires.wake_at(self.id, self.until);
    }

    fn pause(&mut self, job: Job, scene: &mut Scene<'_>) {
        let pause = self.backoff.pause();
        self.state = State::Pausing(job);
        self.wait(pause, scene);
    }

    /// It is woken: because it asked for it, or for nothing.
    pub fn wake(&mut self, scene: &mut Scene<'_>) {
        if scene.now < self.until {
            return;
        }
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {}
            State::Resting => self.next(scene),
            State::Pausing(job) => self.attempt(job, scene),
            State::Routing(_, job) => self.no_route(job, scene),
            State::Asking(_, asked, job) => self.not_answered(asked, job, scene),
        }
    }

    /// The coordinator does not say where a key is: what is known must do, or it says so later.
    fn no_route(&mut self, job: Job, scene: &mut Scene<'_>) {
        if scene.now >= job.give_up_at {
            return self.give_up(job, "the coordinator does not say where the key is", scene);
        }
        if let Some(key) = scene.desk.routing_key(&job.task) {
            self.routes.guess(&key);
        }
        self.pause(job, scene);
    }

    fn not_answered(&mut self, asked: Option<Asked>, mut job: Job, scene: &mut Scene<'_>) {
        scene.desk.tally.timeouts += 1;
        if let Some(Asked { store, key }) = asked {
            self.routes.unanswered(&key, store);
        }
        match job.operation.take() {
            // Its outcome is unknown, and stays so unless the answer comes late.
            Some(_) => scene.desk.tally.unknown_writes += 1,
            None => scene.desk.tally.failed_reads += 1,
        }
        self.finish(job, Err("no answer in time"), scene);
    }

    /// Ends a task of which nothing has taken effect.
    fn give_up(&mut self, mut job: Job, why: &str, scene: &mut Scene<'_>) {
        match job.operation.take() {
            Some(operation) => scene.desk.refused(operation),
            None => scene.desk.tally.failed_reads += 1,
        }
        self.finish(job, Err(why), scene);
    }

    /// The answer that it waits for.
    pub fn answered(&mut self, id: CallId, pending: &Pending, reply: Reply, scene: &mut Scene<'_>) {
        match (std::mem::replace(&mut self.state, State::Idle), reply) {
            (State::Routing(_, job), Reply::Route(Some(route))) => {
                self.routes.learn(route);
                self.routed(job, scene);
            }
            (State::Routing(_, job), Reply::Route(None) | Reply::Refused(_)) => self.no_route(job, scene),
            (State::Asking(_, Some(asked), job), Reply::Region(Ok(reply))) => {
                self.served(id, asked, pending, reply, job, scene);
            }
            (State::Asking(_, Some(asked), job), Reply::Region(Err(error))) => {
                self.refused(asked, &error, job, scene);
            }
            (State::Asking(_, None, job), reply) => {
                let done = if matches!(reply, Reply::Refused(_)) { Err("refused") } else { Ok(()) };
                scene.desk.handed_out(id, pending, &reply, scene.now);
                self.finish(job, done, scene);
            }
            (State::Routing(_, job) | State::Asking(_, _, job), reply) => {
                scene.desk.wrong_kind(id, &reply);
                self.finish(job, Err("an answer of another kind"), scene);
            }
            (state @ (State::Idle | State::Resting | State::Pausing(_)), _) => self.state = state,
        }
    }

    fn routed(&mut self, job: Job, scene: &mut Scene<'_>) {
        let key = scene.desk.routing_key(&job.task);
        if key.is_some_and(|key| self.routes.target(&key).is_some()) {
            self.attempt(job, scene);
        } else {
            // An answer about other keys: asking again at once would go on for ever.
            self.no_route(job, scene);
        }
    }

    fn refused(&mut self, asked: Asked, error: &RequestError, mut job: Job, scene: &mut Scene<'_>) {
        self.routes.refused(&asked.key, asked.store, error);
        let is_over = !error.is_retryable() || scene.now >= job.give_up_at;
        if !is_over {
            scene.desk.tally.retries += 1;
            return self.pause(job, scene);
        }
        match job.operation.take() {
            Some(operation) => scene.desk.not_written(operation, error),
            None => scene.desk.tally.failed_reads += 1,
        }
        self.finish(job, Err(&error.to_string()), scene);
    }

    fn served(
        &mut self,
        id: CallId,
        asked: Asked,
        pending: &Pending,
        reply: RegionReply,
        mut job: Job,
        scene: &mut Scene<'_>,
    ) {
        match (&mut job.task, reply, job.operation) {
            (_, RegionReply::Written(output), Some(operation)) => {
                scene.desk.written(operation, &output, scene.now);
                self.finish(job, Ok(()), scene);
            }
            (Task::Get { register, .. }, RegionReply::Value(value), None) => {
                scene.desk.read(*register, value.as_ref(), pending, scene.now);
                self.finish(job, Ok(()), scene);
            }
            (Task::Swap { register, swap }, RegionReply::Value(value), None) => {
                let register = *register;
                let Some(found) = scene.desk.read(register, value.as_ref(), pending, scene.now) else {
                    return self.finish(job, Err("what was read is damaged"), scene);
                };
                let kind = scene.desk.history.register(register).kind;
                *swap = Some((found, scene.desk.successor(kind, found, &mut self.rng)));
                self.attempt(job, scene);
            }
            (Task::Scan { family, range, limit }, RegionReply::Pairs(pairs, region), None) => {
                let covered = covered(range, &region, &pairs, *limit);
                if !covered.contains(&range.start) {
                    self.routes.unanswered(&asked.key, asked.store);
                    return self.pause(job, scene);
                }
                scene.desk.scanned(*family, &covered, &pairs, pending, scene.now);
                if covered.end == range.end {
                    return self.finish(job, Ok(()), scene);
                }
                range.start = covered.end;
                self.attempt(job, scene);
            }
            (_, reply, _) => {
                scene.desk.wrong_kind(id, &reply);
                self.finish(job, Err("an answer of another kind"), scene);
            }
        }
    }
}
