//! gRPC services, status HTTP, configuration and shutdown: what turns a store into a process that others talk to.
//!
//! Invariants: what strangers send gives an error and never a crash; everything that waits for a client or for the
//! store is bounded; the store's own threads are never made to wait.
//!
//! This crate must never decide what a region does: it asks a store's handle and puts the answers into messages.
//!
//! Reading order: [`node`], [`config`], [`kv`], [`moves`], [`health`], [`status`], [`pd`].

#[macro_use]
mod failpoint;

pub mod config;
mod config_keys;
pub mod health;
mod hex;
mod http;
pub mod kv;
pub mod moves;
pub mod node;
pub mod pd;
pub mod status;
