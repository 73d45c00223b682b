//! A store's services over sockets: raw calls, the batch stream, health and status. One program, so that the engines are
//! linked once.

#![allow(clippy::unwrap_used)]

mod batch;
mod health;
mod hostile;
mod raw;
mod refusals;
mod split;
mod status;
mod support;
