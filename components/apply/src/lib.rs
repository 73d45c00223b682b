//! Committed entries to batches of the state engine, deterministically.
//!
//! A [`RegionApplier`] is one region's state of applying; an [`ApplyRound`] gathers the entries of many regions into one
//! batch of the state engine and hands out the answers once it is written (D2, D3, D12).
//!
//! Invariants:
//! - A command leaves all of its changes or none (a save point each); the apply state rides in the same batch.
//! - Only errors that are the same on every replica are answers; everything else is an [`ApplyError`], fatal to the store.
//! - A command reads only its own region's keys, as they were just before it, and no clock.
//! - Answers leave after the write, never before.
//!
//! Reading order: [`command`], [`applier`], [`round`].

pub mod applier;
pub mod command;
pub mod round;

pub use applier::{ApplyError, RegionApplier};
pub use command::{CommandError, check_command};
pub use round::{Applied, ApplyRound, ApplyTask, RoundOutcome, Truncation};
