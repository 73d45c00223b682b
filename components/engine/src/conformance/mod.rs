//! What every implementation of the two engines must do, as checks that any crate can run against its own.
//!
//! An implementation hands in a fixture: something that opens an engine on a fresh, empty disk of its own and can let
//! the process that opened it die. [`check_log`] and [`check_state`] run every check on a fixture of its own.
//!
//! Crash checks come in two halves, `before` and `after` the crash, so that the first half can run in a child process
//! that kills itself: look the check up by its name there. The second half accepts every state that the traits allow
//! after a crash, and no other.
//!
//! A check panics when the engine is at fault; the message names the check.
//!
//! Reading order: this file, then [`log`], [`state`], [`crash`], [`random`].

#![allow(clippy::unwrap_used, reason = "a check reports by panicking, and an engine's error is a finding")]

pub mod crash;
pub mod log;
pub mod random;
pub mod sample;
pub mod state;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{LogEngine, StateEngine};

/// One disk with a log engine.
pub trait LogFixture {
    /// Opens the engine; the first time on an empty disk, later on whatever is there. Called once between crashes.
    fn open(&mut self) -> Arc<dyn LogEngine>;

    /// Lets the process that opened the engine die without a word. What it wrote without waiting for the disk may be
    /// lost or not, as the implementation can arrange.
    fn crash(&mut self);
}

/// One disk with a state engine.
pub trait StateFixture {
    /// Opens the engine; the first time on an empty disk, later on whatever is there. Called once between crashes.
    fn open(&mut self) -> Arc<dyn StateEngine>;

    /// Lets the process that opened the engine die without a word, and without a flush.
    fn crash(&mut self);

    /// A directory in which the engine can write files for its ingest.
    fn files(&self) -> PathBuf;
}

/// A check of a log engine that is new and empty.
#[derive(Clone, Copy, Debug)]
pub struct LogCheck {
    /// What must hold.
    pub name: &'static str,
    /// Panics when it does not.
    pub run: fn(&dyn LogEngine),
}

/// A check of a log engine over a crash.
#[derive(Clone, Copy, Debug)]
pub struct LogCrashCheck {
    /// What must hold.
    pub name: &'static str,
    /// Writes to a new and empty engine; the crash follows at once.
    pub before: fn(&dyn LogEngine),
    /// Panics when the reopened engine holds what no crash allows.
    pub after: fn(&dyn LogEngine),
}

/// A check of a state engine that is new and empty. The path is [`StateFixture::files`].
#[derive(Clone, Copy, Debug)]
pub struct StateCheck {
    /// What must hold.
    pub name: &'static str,
    /// Panics when it does not.
    pub run: fn(&dyn StateEngine, &Path),
}

/// A check of a state engine over a crash. The path is [`StateFixture::files`].
#[derive(Clone, Copy, Debug)]
pub struct StateCrashCheck {
    /// What must hold.
    pub name: &'static str,
    /// Writes to a new and empty engine; the crash follows at once.
    pub before: fn(&dyn StateEngine, &Path),
    /// Panics when the reopened engine holds what no crash allows.
    pub after: fn(&dyn StateEngine),
}

/// Runs every check of a log engine, each on a fixture of its own.
///
/// # Panics
/// When a check fails.
pub fn check_log(mut make: impl FnMut() -> Box<dyn LogFixture>) {
    for check in log::CHECKS.iter().chain(random::LOG_CHECKS) {
        println!("log engine: {}", check.name);
        let mut fixture = make();
        (check.run)(&*fixture.open());
    }
    for check in crash::LOG_CHECKS {
        println!("log engine, crash: {}", check.name);
        let mut fixture = make();
        let engine = fixture.open();
        (check.before)(&*engine);
        drop_after_crash(engine, || fixture.crash());
        (check.after)(&*fixture.open());
    }
}

/// Runs every check of a state engine, each on a fixture of its own.
///
/// # Panics
/// When a check fails.
pub fn check_state(mut make: impl FnMut() -> Box<dyn StateFixture>) {
    for check in state::CHECKS.iter().chain(random::STATE_CHECKS) {
        println!("state engine: {}", check.name);
        let mut fixture = make();
        (check.run)(&*fixture.open(), &fixture.files());
    }
    for check in crash::STATE_CHECKS {
        println!("state engine, crash: {}", check.name);
        let mut fixture = make();
        let engine = fixture.open();
        (check.before)(&*engine, &fixture.files());
        drop_after_crash(engine, || fixture.crash());
        (check.after)(&*fixture.open());
    }
}

/// A handle that were dropped before the crash would close the engine in order.
fn drop_after_crash<E: ?Sized>(engine: Arc<E>, crash: impl FnOnce()) {
    crash();
    drop(engine);
}
