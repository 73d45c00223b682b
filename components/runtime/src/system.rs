//! A set of actors and the queue of those that have work.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use observe::SystemMetrics;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::mailbox::{Mailbox, Notify};

/// How many ids [`System::broadcast`] collects under one lock (raftstore-rules §1).
const BROADCAST_CHUNK: usize = 256;

/// Something that handles messages, one poller at a time.
pub trait Actor: Send + 'static {
    /// What is sent to it.
    type Message: Send + 'static;
}

/// Why a message was not accepted; gives it back.
#[derive(PartialEq, Eq, thiserror::Error)]
pub enum SendError<M> {
    /// No actor has this id.
    #[error("no actor has this id; look up where it lives now")]
    Unknown(M),
    /// The actor, or the whole system, is closed.
    #[error("the actor is closed; nothing sent to it is handled any more")]
    Closed(M),
    /// The mailbox is at its bound.
    #[error("the actor's mailbox is full; send again later")]
    Full(M),
}

impl<M> SendError<M> {
    /// The message that was not accepted.
    pub fn into_inner(self) -> M {
        match self {
            Self::Unknown(message) | Self::Closed(message) | Self::Full(message) => message,
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    /// Names the reason only: few messages can be printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown(_) => "Unknown",
            Self::Closed(_) => "Closed",
            Self::Full(_) => "Full",
        })
    }
}

/// What is to be done with an actor after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits for its next message; at once behind the others when it has one.
    Idle,
    /// It takes part in another round, behind the others, even without a message.
    Again,
    /// It is removed, and the messages that wait for it are dropped.
    Close,
}

/// What a poller does with the actors of a round. Each poller has its own.
///
/// A panic in here is the handler's business: catch it where the state that it leaves is known. One that gets out closes
/// the actors of the round, and under [`System::run`] the whole system, so that no sender waits for an answer for ever.
pub trait Handler<A: Actor> {
    /// A round begins.
    fn begin(&mut self) {}

    /// Handles messages of one actor: at most `messages_per_round`, oldest first, none after [`Verdict::Again`].
    /// What it leaves in `inbox` stays in front of the actor's queue.
    fn handle(&mut self, actor: &mut A, inbox: &mut Vec<A::Message>);

    /// Ends the round, once for all of its actors, which stand in the order in which they were handled: the place for
    /// IO. May step the actors again; must not change their places. An actor and the one that replaced it under the same
    /// id can be in one round: tell them apart by their place, not by their id (raftstore-rules §1).
    fn end(&mut self, actors: &mut [Box<A>]);

    /// What is to be done with an actor of the round that has just ended.
    fn verdict(&self, actor: &A) -> Verdict;
}

/// The bounds of a system. None may be zero.
#[derive(Clone, Copy, Debug)]
pub struct SystemConfig {
    /// Messages that wait for one actor; [`System::force_send`] goes beyond.
    pub mailbox_capacity: usize,
    /// Actors in one round.
    pub actors_per_round: usize,
    /// Messages that one actor handles in one round.
    pub messages_per_round: usize,
}

struct Mailboxes<A: Actor> {
    by_id: BTreeMap<u64, Arc<Mailbox<A>>>,
    stopped: bool,
}

struct RunQueue<A: Actor> {
    waiting: VecDeque<Arc<Mailbox<A>>>,
    stopped: bool,
}

/// A set of actors, their mailboxes, and the run queue of those that have work. See the crate's documentation.
///
/// No lock is held while code of the user runs, with one exception: `pick` of [`System::poll_picking`].
pub struct System<A: Actor> {
    name: String,
    config: SystemConfig,
    metrics: SystemMetrics,
    mailboxes: RwLock<Mailboxes<A>>,
    run_queue: Mutex<RunQueue<A>>,
    has_work: Condvar,
}

impl<A: Actor> System<A> {
    /// A system without actors. The name is for threads and messages.
    ///
    /// # Panics
    /// When a bound is zero: nothing would ever be handled.
    pub fn new(name: impl Into<String>, config: SystemConfig, metrics: SystemMetrics) -> Arc<Self> {
        assert!(
            config.mailbox_capacity > 0 && config.actors_per_round > 0 && config.messages_per_round > 0,
            "a bound of zero lets nothing through: {config:?}"
        );
        Arc::new(Self {
            name: name.into(),
            config,
            metrics,
            mailboxes: RwLock::new(Mailboxes { by_id: BTreeMap::new(), stopped: false }),
            run_queue: Mutex::new(RunQueue { waiting: VecDeque::new(), stopped: false }),
            has_work: Condvar::new(),
        })
    }

    /// The system's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds an actor. An older one of the same id is closed, with its messages; a poller may still be in a round with
    /// it. A stopped system drops the actor.
    pub fn register(&self, id: u64, actor: A) {
        let mailbox = Arc::new(Mailbox::new(id, actor, self.config.mailbox_capacity));
        let refused = {
            let mut mailboxes = self.mailboxes.write();
            if mailboxes.stopped { Some(mailbox) } else { mailboxes.by_id.insert(id, mailbox) }
        };
        if let Some(mailbox) = refused {
            mailbox.close();
        }
    }

    /// Sends a message unless the actor's mailbox is full.
    ///
    /// # Errors
    /// The message comes back with the reason.
    pub fn send(&self, id: u64, message: A::Message) -> Result<(), SendError<A::Message>> {
        self.deliver(id, message, Mailbox::send)
    }

    /// Sends a message that must arrive, like the completion of something that the actor began: the mailbox's bound does
    /// not hold, what the actor may begin must have its own.
    ///
    /// # Errors
    /// The message comes back with the reason, which is never [`SendError::Full`].
    pub fn force_send(&self, id: u64, message: A::Message) -> Result<(), SendError<A::Message>> {
        self.deliver(id, message, Mailbox::force_send)
    }

    fn deliver(
        &self,
        id: u64,
        message: A::Message,
        push: impl FnOnce(&Mailbox<A>, A::Message) -> Result<Notify, SendError<A::Message>>,
    ) -> Result<(), SendError<A::Message>> {
        let notified = {
            let mailboxes = self.mailboxes.read();
            let Some(mailbox) = mailboxes.by_id.get(&id) else {
                return Err(if mailboxes.stopped { SendError::Closed(message) } else { SendError::Unknown(message) });
            };
            match push(mailbox, message) {
                Ok(Notify::Yes) => Arc::clone(mailbox),
                Ok(Notify::No) => return Ok(()),
                Err(error) => {
                    if matches!(error, SendError::Full(_)) {
                        self.metrics.full.inc();
                    }
                    return Err(error);
                }
            }
        };
        self.enqueue(notified);
        Ok(())
    }

    /// Sends a message to every actor, in the order of their ids, and returns how many could not take it. Ids are
    /// collected in chunks: an actor that comes or goes meanwhile may be left out.
    pub fn broadcast(&self, mut make: impl FnMut(u64) -> A::Message) -> usize {
        let mut refused = 0;
        let mut after = Bound::Unbounded;
        loop {
            let chunk: Vec<u64> = {
                let mailboxes = self.mailboxes.read();
                mailboxes.by_id.range((after, Bound::Unbounded)).map(|(id, _)| *id).take(BROADCAST_CHUNK).collect()
            };
            let Some(last) = chunk.last() else { return refused };
            after = Bound::Excluded(*last);
            refused += chunk.into_iter().filter(|id| self.send(*id, make(*id)).is_err()).count();
        }
    }

    /// Removes an actor and drops its messages. The actor is dropped at once, or by its poller after the round.
    pub fn close(&self, id: u64) {
        let removed = self.mailboxes.write().by_id.remove(&id);
        if let Some(mailbox) = removed {
            mailbox.close();
        }
    }

    /// The ids of all actors, ascending.
    pub fn ids(&self) -> Vec<u64> {
        self.mailboxes.read().by_id.keys().copied().collect()
    }

    /// How many actors there are.
    pub fn len(&self) -> usize {
        self.mailboxes.read().by_id.len()
    }

    /// Whether there is no actor.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages wait for an actor; nothing when there is no such actor.
    pub fn mailbox_len(&self, id: u64) -> Option<usize> {
        self.mailboxes.read().by_id.get(&id).map(|mailbox| mailbox.len())
    }

    /// How many actors wait for a poller.
    pub fn queued(&self) -> usize {
        self.run_queue.lock().waiting.len()
    }

    /// Does one round without waiting, with the actors that were notified first. False when none was.
    pub fn poll_once(&self, handler: &mut impl Handler<A>) -> bool {
        self.poll_picking(handler, |_| Some(0))
    }

    /// Like [`System::poll_once`], but `pick` chooses who takes part: given how many actors are queued, it names the
    /// place of the next one, or nothing to begin the round with those that it named. The seam by which a simulator
    /// shuffles what production takes in order. `pick` must not use the system.
    ///
    /// # Panics
    /// When `pick` names a place that is not there.
    pub fn poll_picking(&self, handler: &mut impl Handler<A>, mut pick: impl FnMut(usize) -> Option<usize>) -> bool {
        let mut round = Round::new(self);
        let mut run_queue = self.run_queue.lock();
        let taken = round.take(&mut run_queue, &mut pick);
        drop(run_queue);
        drop(taken);
        round.drive(handler)
    }

    /// Does rounds until [`System::stop`], waiting where there is no work. Any number of threads may do so.
    pub fn run(&self, handler: &mut impl Handler<A>) {
        let _stop_on_panic = StopOnPanic(self);
        loop {
            let mut round = Round::new(self);
            let mut run_queue = self.run_queue.lock();
            while run_queue.waiting.is_empty() && !run_queue.stopped {
                self.has_work.wait(&mut run_queue);
            }
            if run_queue.stopped {
                return;
            }
            let taken = round.take(&mut run_queue, &mut |_| Some(0));
            drop(run_queue);
            drop(taken);
            round.drive(handler);
        }
    }

    /// Stops the system for good: pollers leave after their round, every actor is dropped with its messages, and nothing
    /// is accepted any more.
    pub fn stop(&self) {
        let mailboxes = {
            let mut mailboxes = self.mailboxes.write();
            mailboxes.stopped = true;
            std::mem::take(&mut mailboxes.by_id)
        };
        let waiting = {
            let mut run_queue = self.run_queue.lock();
            run_queue.stopped = true;
            self.metrics.queued_actors.set(0);
            std::mem::take(&mut run_queue.waiting)
        };
        self.has_work.notify_all();
        for mailbox in mailboxes.values() {
            mailbox.close();
        }
        drop(waiting);
    }

    /// Whether [`System::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.run_queue.lock().stopped
    }

    fn enqueue(&self, mailbox: Arc<Mailbox<A>>) {
        let mut run_queue = self.run_queue.lock();
        if run_queue.stopped {
            return;
        }
        run_queue.waiting.push_back(mailbox);
        self.metrics.queued_actors.set(run_queue.waiting.len() as i64);
        drop(run_queue);
        self.has_work.notify_one();
    }

    /// Closes a mailbox and forgets it, unless its id has a newer one.
    fn remove(&self, mailbox: &Arc<Mailbox<A>>) {
        let removed = {
            let mut mailboxes = self.mailboxes.write();
            let same = mailboxes.by_id.get(&mailbox.id()).is_some_and(|current| Arc::ptr_eq(current, mailbox));
            if same { mailboxes.by_id.remove(&mailbox.id()) } else { None }
        };
        drop(removed);
        mailbox.close();
    }
}

/// The actors of one round, each beside its mailbox. Whoever is still in it when it is dropped met a panic.
struct Round<'a, A: Actor> {
    system: &'a System<A>,
    mailboxes: Vec<Arc<Mailbox<A>>>,
    actors: Vec<Box<A>>,
}

impl<'a, A: Actor> Round<'a, A> {
    fn new(system: &'a System<A>) -> Self {
        Self { system, mailboxes: Vec::new(), actors: Vec::new() }
    }

    /// Takes actors off the run queue up to the bound. Returns the mailboxes that were closed while they waited, to be
    /// dropped when the lock is released.
    fn take(
        &mut self,
        run_queue: &mut RunQueue<A>,
        pick: &mut impl FnMut(usize) -> Option<usize>,
    ) -> Vec<Arc<Mailbox<A>>> {
        let mut closed = Vec::new();
        while self.actors.len() < self.system.config.actors_per_round && !run_queue.waiting.is_empty() {
            let Some(place) = pick(run_queue.waiting.len()) else { break };
            let mailbox = run_queue.waiting.remove(place).expect("pick names a place that is there");
            match mailbox.take() {
                Some(actor) => {
                    self.mailboxes.push(mailbox);
                    self.actors.push(actor);
                }
                None => closed.push(mailbox),
            }
        }
        self.system.metrics.queued_actors.set(run_queue.waiting.len() as i64);
        closed
    }

    /// Does the round. False when there is nobody to do it with.
    fn drive(mut self, handler: &mut impl Handler<A>) -> bool {
        if self.actors.is_empty() {
            return false;
        }
        self.system.metrics.round_actors.observe(self.actors.len() as f64);
        handler.begin();
        let mut inbox = Vec::new();
        for (mailbox, actor) in self.mailboxes.iter().zip(&mut self.actors) {
            mailbox.fill(&mut inbox, self.system.config.messages_per_round);
            handler.handle(actor, &mut inbox);
            mailbox.put_back(&mut inbox);
        }
        handler.end(&mut self.actors);
        let verdicts: Vec<Verdict> = self.actors.iter().map(|actor| handler.verdict(actor)).collect();
        for ((mailbox, actor), verdict) in self.mailboxes.drain(..).zip(self.actors.drain(..)).zip(verdicts) {
            if verdict == Verdict::Close {
                self.system.remove(&mailbox);
            }
            if mailbox.give_back(actor, verdict == Verdict::Again) == Notify::Yes {
                self.system.enqueue(mailbox);
            }
        }
        true
    }
}

impl<A: Actor> Drop for Round<'_, A> {
    fn drop(&mut self) {
        for mailbox in &self.mailboxes {
            self.system.remove(mailbox);
        }
    }
}

/// Stops a system whose poller panics: with one poller less, or none, senders would wait for ever.
struct StopOnPanic<'a, A: Actor>(&'a System<A>);

impl<A: Actor> Drop for StopOnPanic<'_, A> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}
