//! When a leader forgets the front of the log.
//!
//! Until there are snapshots, no member may be left behind: the log is kept from the lowest index that all members
//! match, a dead member's included. Its bytes are bounded by refusing writes.

use proto::log::{CompactLog, admin};
use slog::debug;
use types::{LogIndex, RequestError};

use crate::machine::{Region, RegionError};

/// A proposed log compaction.
#[derive(Debug)]
pub(crate) struct Compaction {
    /// The index of its entry.
    entry: LogIndex,
}

impl Region {
    /// The newest index that may leave the log: every member has it, and this peer has applied it.
    fn compactable(&self) -> LogIndex {
        let matched = self.descriptor.peers.iter().map(|member| self.matched(member.id)).min().unwrap_or_default();
        matched.min(self.node.store().apply_state().applied)
    }

    /// Refuses writes while the log is full for the sake of a member that is behind. While something can be compacted,
    /// or it is only this peer's own apply that is behind, the log will shrink by itself.
    pub(crate) fn check_log_room(&self) -> Result<(), RequestError> {
        if self.log_bytes < self.config.max_log_bytes {
            return Ok(());
        }
        let state = self.node.store().apply_state();
        if self.is_worth_compacting(self.compactable()) || !self.is_worth_compacting(state.applied) {
            return Ok(());
        }
        let (region, bytes, limit) = (self.descriptor.id, self.log_bytes, self.config.max_log_bytes);
        Err(RequestError::LogFull { region, bytes, limit })
    }

    /// Proposes a log compaction if one is worth its entry. One at a time.
    pub(crate) fn tick_compaction(&mut self) -> Result<(), RegionError> {
        let state = self.node.store().apply_state();
        let Some(leader) = self.leader_mut() else { return Ok(()) };
        if leader.compaction.as_ref().is_some_and(|compaction| compaction.entry > state.applied) {
            return Ok(());
        }
        leader.compaction = None;
        let target = self.compactable();
        let raft = &self.node.raft;
        if !self.is_worth_compacting(target) || raft.lead_transferee.is_some() || !raft.commit_to_current_term() {
            return Ok(());
        }
        let Ok(term) = raft.raft_log.term(target.0) else { return Ok(()) };
        let admin = self.admin(admin::Kind::CompactLog(CompactLog { index: target.0, term }));
        if let Some(entry) = self.propose_admin(&[], admin)? {
            debug!(self.logger, "log compaction proposed"; "to" => target.0, "entry" => entry.0);
            if let Some(leader) = self.leader_mut() {
                leader.compaction = Some(Compaction { entry });
            }
        }
        Ok(())
    }

    fn is_worth_compacting(&self, target: LogIndex) -> bool {
        let truncated = self.node.store().apply_state().truncated;
        // A single entry may be the last compaction's own: compacting it would go on for ever.
        if target <= truncated.next() {
            return false;
        }
        let entries = target.0 - truncated.0;
        let all = self.node.raft.raft_log.last_index() - truncated.0;
        // Entries count as equally large here: exact sizes of what left the cache would cost a read of the engine.
        let bytes = (u128::from(self.log_bytes) * u128::from(entries) / u128::from(all)) as u64;
        entries >= self.config.compact_entries
            || bytes >= self.config.compact_bytes
            || self.log_bytes >= self.config.max_log_bytes
    }

    /// The log now begins behind `truncated`; what lay below counts no more.
    pub(crate) fn forget_bytes(&mut self, truncated: LogIndex) -> Result<(), RegionError> {
        let store = self.node.store();
        let before = store.apply_state().truncated;
        if truncated > before {
            let gone = store.bytes_between(before.next(), truncated)?;
            self.log_bytes = self.log_bytes.saturating_sub(gone);
        }
        if truncated.0 == self.node.raft.raft_log.last_index() {
            self.log_bytes = 0;
        }
        Ok(())
    }
}
