//! An actor with the queue of messages that wait for it.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::system::{Actor, SendError};

/// Who has the actor.
enum State<A> {
    /// The mailbox has it and nothing is to be done.
    Idle(Box<A>),
    /// The mailbox has it, and stands once on its system's run queue.
    Notified(Box<A>),
    /// A poller has it for the length of a round.
    Held,
    /// It is dropped, or will be when its poller gives it back.
    Closed,
}

struct Inner<A: Actor> {
    state: State<A>,
    messages: VecDeque<A::Message>,
}

/// An actor with the queue of messages that wait for it.
///
/// State and queue change under one short lock, so that the release race has no room: a message is either in the queue
/// when the actor is given back, or its sender finds the actor idle (raftstore-rules §1).
///
/// Nothing that belongs to the user is dropped under the lock: a destructor may send.
pub(crate) struct Mailbox<A: Actor> {
    id: u64,
    capacity: usize,
    inner: Mutex<Inner<A>>,
}

/// Whether the caller has to put the mailbox on the run queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Notify {
    Yes,
    No,
}

impl<A: Actor> Mailbox<A> {
    /// A mailbox that is idle.
    pub(crate) fn new(id: u64, actor: A, capacity: usize) -> Self {
        let inner = Inner { state: State::Idle(Box::new(actor)), messages: VecDeque::new() };
        Self { id, capacity, inner: Mutex::new(inner) }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Queues a message unless the queue is at its bound.
    pub(crate) fn send(&self, message: A::Message) -> Result<Notify, SendError<A::Message>> {
        self.push(message, self.capacity)
    }

    /// Queues a message whatever the length of the queue.
    pub(crate) fn force_send(&self, message: A::Message) -> Result<Notify, SendError<A::Message>> {
        self.push(message, usize::MAX)
    }

    fn push(&self, message: A::Message, capacity: usize) -> Result<Notify, SendError<A::Message>> {
        let mut inner = self.inner.lock();
        if matches!(inner.state, State::Closed) {
            return Err(SendError::Closed(message));
        }
        if inner.messages.len() >= capacity {
            return Err(SendError::Full(message));
        }
        inner.messages.push_back(message);
        Ok(inner.notify())
    }

    /// Gives the actor to the poller that found the mailbox on the run queue; nothing when it was closed meanwhile.
    pub(crate) fn take(&self) -> Option<Box<A>> {
        let mut inner = self.inner.lock();
        match std::mem::replace(&mut inner.state, State::Held) {
            State::Notified(actor) => Some(actor),
            other => {
                assert!(matches!(other, State::Closed), "mailbox {} was on the run queue without work", self.id);
                inner.state = other;
                None
            }
        }
    }

    /// Moves at most `limit` of the oldest messages to the end of `inbox`.
    pub(crate) fn fill(&self, inbox: &mut Vec<A::Message>, limit: usize) {
        let mut inner = self.inner.lock();
        let count = inner.messages.len().min(limit);
        inbox.extend(inner.messages.drain(..count));
    }

    /// Puts messages that a handler left back in front of the queue; drops them when the mailbox is closed.
    pub(crate) fn put_back(&self, inbox: &mut Vec<A::Message>) {
        if inbox.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        if matches!(inner.state, State::Closed) {
            drop(inner);
            inbox.clear();
            return;
        }
        for message in inbox.drain(..).rev() {
            inner.messages.push_front(message);
        }
    }

    /// Takes the actor back at the end of a round. It stands on the run queue again when messages wait for it or the
    /// handler asked for another round.
    pub(crate) fn give_back(&self, actor: Box<A>, again: bool) -> Notify {
        let mut inner = self.inner.lock();
        match inner.state {
            State::Held => {
                inner.state = State::Idle(actor);
                if again || !inner.messages.is_empty() { inner.notify() } else { Notify::No }
            }
            State::Closed => {
                drop(inner);
                drop(actor);
                Notify::No
            }
            State::Idle(_) | State::Notified(_) => unreachable!("mailbox {} had its actor all along", self.id),
        }
    }

    /// Closes the mailbox: drops the queued messages, and the actor unless a poller holds it. False when it was closed.
    pub(crate) fn close(&self) -> bool {
        let (state, messages) = {
            let mut inner = self.inner.lock();
            (std::mem::replace(&mut inner.state, State::Closed), std::mem::take(&mut inner.messages))
        };
        drop(messages);
        !matches!(state, State::Closed)
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().messages.len()
    }
}

impl<A: Actor> Inner<A> {
    fn notify(&mut self) -> Notify {
        match std::mem::replace(&mut self.state, State::Held) {
            State::Idle(actor) => {
                self.state = State::Notified(actor);
                Notify::Yes
            }
            other => {
                self.state = other;
                Notify::No
            }
        }
    }
}
