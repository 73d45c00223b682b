//! Comparing the replicas: every peer hashes the region at one index, the leader states its hash in the log, and each
//! compares its own.
//!
//! The two come in either order, since hashing takes its time. Only the newest question counts: a peer that is late with
//! its hash, or that replays, may miss a comparison, and never makes a false one.

use std::sync::Arc;

use engine::HashTask;
use proto::log::{ComputeHash, VerifyHash, admin};
use slog::{error, info};
use types::{LogIndex, RegionDescriptor};

use crate::effect::{Effect, Inconsistency};
use crate::machine::{Region, RegionError};

/// What is known of the newest comparison.
#[derive(Debug, Default)]
pub(crate) struct Consistency {
    asked: Option<(LogIndex, Arc<RegionDescriptor>)>,
    ours: Option<u64>,
    /// The newest statement of a leader.
    stated: Option<(LogIndex, u64)>,
}

impl Region {
    /// Proposes that all replicas hash the region.
    pub(crate) fn on_check_consistency(&mut self) -> Result<(), RegionError> {
        if self.leader().is_none() || !self.node.raft.apply_to_current_term() {
            return Ok(());
        }
        let admin = self.admin(admin::Kind::ComputeHash(ComputeHash {}));
        if let Some(index) = self.propose_admin(&[], admin)? {
            info!(self.logger, "consistency check begins"; "index" => index.0);
        }
        Ok(())
    }

    /// The region is to be hashed as it was at an applied index.
    pub(crate) fn adopt_hash_task(&mut self, task: HashTask, effects: &mut Vec<Effect>) {
        self.consistency.asked = Some((task.index, Arc::clone(&task.descriptor)));
        self.consistency.ours = None;
        effects.push(Effect::Hash(self.generation, task));
    }

    /// This replica's hash is there. The leader states it.
    pub(crate) fn on_hash_computed(
        &mut self,
        index: LogIndex,
        hash: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegionError> {
        if self.consistency.asked.as_ref().is_none_or(|(asked, _)| *asked != index) {
            return Ok(());
        }
        self.consistency.ours = Some(hash);
        if self.leader().is_some() {
            let admin = self.admin(admin::Kind::VerifyHash(VerifyHash { index: index.0, hash }));
            self.propose_admin(&[], admin)?;
        }
        self.compare(effects);
        Ok(())
    }

    /// A leader stated its hash.
    pub(crate) fn adopt_stated_hash(&mut self, of: LogIndex, hash: u64, effects: &mut Vec<Effect>) {
        self.consistency.stated = Some((of, hash));
        self.compare(effects);
    }

    fn compare(&mut self, effects: &mut Vec<Effect>) {
        let Consistency { asked: Some((index, descriptor)), ours: Some(ours), stated: Some((of, leaders)) } =
            &self.consistency
        else {
            return;
        };
        if of != index {
            return;
        }
        let (index, ours, leaders) = (*index, *ours, *leaders);
        if ours == leaders {
            info!(self.logger, "consistency check passed"; "index" => index.0);
        } else {
            error!(
                self.logger, "replicas differ";
                "index" => index.0, "range" => %descriptor.range, "ours" => ours, "leaders" => leaders,
            );
            let descriptor = Arc::clone(descriptor);
            effects.push(Effect::Inconsistent(Inconsistency { descriptor, peer: self.peer.id, index, ours, leaders }));
        }
        self.consistency = Consistency::default();
    }
}
