//! The client of the placement driver.
//!
//! Reading order: [`client`] has the calls, `leader` finds the member that answers them, [`heartbeats`] keeps the
//! stream of region heartbeats open.

pub mod client;
pub mod config;
pub mod error;
pub mod heartbeats;

mod answer;
mod leader;
mod splits;

pub use client::{PdClient, RegionRoute};
pub use config::PdConfig;
pub use error::PdError;
pub use heartbeats::{HeartbeatEvent, RegionHeartbeats};
pub use splits::{NewRegionIds, SplitReason};
