//! The commands that run one process of a cluster.
//!
//! Reading order: [`process_args`], [`server`], [`coordinator`], [`process`], then the helpers.

pub mod coordinator;
pub mod failure;
pub mod logging;
pub mod process;
pub mod process_args;
pub mod server;
pub mod signals;

pub use failure::Failure;
