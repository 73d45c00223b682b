//! Stores that are driven by a placement driver which is not ours: one that a test scripts, and that is as particular as the
//! real pd-server about what it is told (wire.md B).
//!
//! Reading order: `state` is what it knows and what it objects to, `service` its calls, `pd` the test's hand on it, `cluster`
//! stores under it; then the tests.

#![allow(clippy::unwrap_used)]

mod births;
mod cluster;
mod leaders;
mod members;
mod pd;
mod refusals;
mod reports;
mod service;
mod splits;
mod state;
mod streams;
