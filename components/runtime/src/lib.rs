//! Mailboxes, poller pools, timers and workers, and the seams for clock, chance and threads. Knows nothing of regions.
//!
//! An [`Actor`] is owned by its mailbox: idle (the mailbox holds it), notified (a poller holds it or will), or closed.
//! Sending to an idle actor puts it on its system's run queue; a poller takes a bounded number of actors a round, hands
//! each its messages through a [`Handler`], ends the round once for all of them, and gives them back.
//!
//! Invariants: one poller at a time handles an actor; a message that was accepted is handled or, when the actor is
//! closed, dropped; every queue has a bound; an actor that always has work goes behind the others in the queue; no lock
//! is held while messages or actors are dropped, so that their destructors may send.
//!
//! The same [`System`] runs under threads ([`Pool`]) or is driven on one thread by [`System::poll_once`], in the order
//! in which actors were notified. Threads start here, by the [`Spawner`] seam, and nowhere in the crates above.
//!
//! This crate must never know what a region is, wait by sleeping, or spin.
//!
//! Reading order: [`system`], then `mailbox`, [`pool`], [`worker`], [`timer`], and the seams [`spawn`] and [`clock`].

pub mod clock;
mod mailbox;
pub mod pool;
pub mod spawn;
pub mod system;
pub mod timer;
pub mod worker;

pub use observe::{QueueMetrics, SystemMetrics};

pub use clock::{Clock, ManualClock, ManualWallClock, MonotonicClock, SystemWallClock, WallClock, entropy_seed};
pub use pool::Pool;
pub use spawn::{Joinable, Spawner, ThreadSpawner};
pub use system::{Actor, Handler, SendError, System, SystemConfig, Verdict};
pub use timer::{TimerId, TimerWheel, WheelConfig, WheelFull};
pub use worker::{Runner, ScheduleError, Scheduler, Worker, WorkerThread};
