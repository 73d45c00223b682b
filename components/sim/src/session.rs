//! A store's connections to other stores, as the transport opens and loses them.
//!
//! Both ends check each other's instance before a message passes (D14). What cannot be sent is dropped, and the store is
//! told that nobody can be reached, at most once a second.

use std::sync::Arc;
use std::time::Duration;

use region::RegionMessage;
use types::Instant;

/// How long a store waits for a Welcome.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How soon a cut connection is noticed: an idle one is probed every ten seconds, with three to answer.
pub(crate) const BREAK_AFTER: Duration = Duration::from_secs(3);

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
const UNREACHABLE_INTERVAL: Duration = Duration::from_secs(1);

/// Most messages that wait for a connection; more are dropped.
const QUEUE: usize = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Connecting {
        attempt: u64,
    },
    /// To this life of the other store.
    Open {
        life: u64,
    },
}

/// What is to be done after a message was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send what waits to this life.
    Send(u64),
    /// Say Hello, and give up when nobody answers.
    Connect { attempt: u64 },
    /// Try again at this moment.
    Retry(Instant),
    /// Something is under way already.
    Wait,
}

/// A connection to one other store, from this side.
#[derive(Debug)]
pub(crate) struct Session {
    state: State,
    queue: Vec<Arc<RegionMessage>>,
    attempts: u64,
    backoff: Duration,
    not_before: Instant,
    retry_planned: bool,
    last_report: Option<Instant>,
    /// That the connection is cut will be noticed: somebody has planned it.
    pub(crate) break_planned: bool,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Closed,
            queue: Vec::new(),
            attempts: 0,
            backoff: BACKOFF_MIN,
            not_before: Instant::ORIGIN,
            retry_planned: false,
            last_report: None,
            break_planned: false,
        }
    }

    /// Queues messages; those without room are dropped.
    pub(crate) fn push(&mut self, messages: Vec<Arc<RegionMessage>>) {
        let room = QUEUE.saturating_sub(self.queue.len());
        self.queue.extend(messages.into_iter().take(room));
    }

    /// What is to be done about what waits.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if self.queue.is_empty() {
            return Step::Wait;
        }
        match self.state {
            State::Open { life } => Step::Send(life),
            State::Connecting { .. } => Step::Wait,
            State::Closed if now < self.not_before => {
                if std::mem::replace(&mut self.retry_planned, true) {
                    Step::Wait
                } else {
                    Step::Retry(self.not_before)
                }
            }
            State::Closed => {
                self.attempts += 1;
                self.state = State::Connecting { attempt: self.attempts };
                Step::Connect { attempt: self.attempts }
            }
        }
    }

    /// The pause is over.
    pub(crate) fn retry(&mut self) {
        self.retry_planned = false;
    }

    /// What waits, to be sent.
    pub(crate) fn take(&mut self) -> Vec<Arc<RegionMessage>> {
        std::mem::take(&mut self.queue)
    }

    pub(crate) fn is_connecting(&self, attempt: u64) -> bool {
        self.state == State::Connecting { attempt }
    }

    pub(crate) fn is_open_to(&self, life: u64) -> bool {
        self.state == State::Open { life }
    }

    /// The other side said Welcome, and is who it should be.
    pub(crate) fn open(&mut self, life: u64) {
        self.state = State::Open { life };
        self.backoff = BACKOFF_MIN;
    }

    /// The connection is lost, or was not made. True when the store is to be told.
    pub(crate) fn close(&mut self, now: Instant) -> bool {
        self.state = State::Closed;
        self.queue.clear();
        self.not_before = now + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        let is_due = self.last_report.is_none_or(|last| now.since(last) >= UNREACHABLE_INTERVAL);
        if is_due {
            self.last_report = Some(now);
        }
        is_due
    }
}
