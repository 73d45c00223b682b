//! The placement driver's port on real sockets, asked by generated clients, over a coordinator whose journal is in memory.

#![allow(clippy::unwrap_used)]

mod births;
mod common;
mod compat;
mod every_call;
mod headers;
mod heartbeats;
mod hostile;
mod http;
mod operators;
mod regions;
mod safe_points;
mod stores;
mod timestamps;
