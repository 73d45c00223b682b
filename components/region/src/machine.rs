//! The machine itself.

use std::sync::Arc;

use engine::{ApplyState, EngineError, HardState, LogEngine};
use slog::Logger;
use types::{Generation, LogIndex, Peer, RegionDescriptor};

use crate::config::RegionConfig;
use crate::effect::Effect;
use crate::input::{Input, RegionStatus};

/// What a peer starts from: read from both engines and checked by the driver (D8).
#[derive(Clone, Debug)]
pub struct Restored {
    /// The region, from the state engine.
    pub descriptor: RegionDescriptor,
    /// This store's peer.
    pub peer: Peer,
    /// How far the state engine is.
    pub apply_state: ApplyState,
    /// From the log engine, its commit index raised to the commit floor and to what is applied.
    pub hard_state: HardState,
    /// The newest index in the log; the truncated index when the log is empty.
    pub last_index: LogIndex,
    /// Bytes of log that the log engine holds, about.
    pub log_bytes: u64,
    /// This `RawNode`'s number.
    pub generation: Generation,
    /// Whether the peer may have voted in an earlier life of this process: then it neither votes nor campaigns for
    /// one election timeout (D8).
    pub may_have_voted: bool,
}

/// A region cannot go on. Fatal to the store.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The log engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The raft crate refused what was restored.
    #[error("raft refused the state of region {region}: {cause}")]
    Raft {
        /// The region.
        region: u64,
        /// Its words.
        cause: String,
    },
}

/// One region's peer.
pub struct Region {}

impl Region {
    /// A peer that goes on from what was restored.
    pub fn new(
        config: Arc<RegionConfig>,
        restored: Restored,
        log: Arc<dyn LogEngine>,
        logger: &Logger,
    ) -> Result<Self, RegionError> {
        let _ = (config, restored, log, logger);
        unimplemented!("under construction")
    }

    /// Takes something that happened. Cheap: most work is gathered until [`finish_round`](Self::finish_round).
    pub fn step(&mut self, input: Input, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        let _ = (input, effects);
        unimplemented!("under construction")
    }

    /// Ends a round: makes one entry of the gathered proposals, and one ready of everything.
    pub fn finish_round(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        let _ = effects;
        unimplemented!("under construction")
    }

    /// What the region looks like.
    pub fn status(&self) -> RegionStatus {
        unimplemented!("under construction")
    }

    /// Gives up everything that waits, as *unknown* or refused; used when the store stops.
    pub fn shut_down(self, effects: &mut Vec<Effect>) {
        let _ = effects;
    }
}
