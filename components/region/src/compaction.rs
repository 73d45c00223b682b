//! When a leader forgets the front of the log (raftstore-rules §9).
//!
//! The log is kept from the lowest index that all members match, a dead member's included, and for a member that gets a
//! snapshot from that snapshot's index. Its bytes are bounded all the same: beyond
//! [`max_log_bytes`](crate::RegionConfig::max_log_bytes) members that are far behind are left to a snapshot.

use proto::log::{CompactLog, admin};
use slog::debug;
use types::{LogIndex, PeerId};

use crate::machine::{Region, RegionError};

/// A proposed log compaction.
#[derive(Debug)]
pub(crate) struct Compaction {
    /// The index of its entry.
    entry: LogIndex,
}

impl Region {
    /// The newest index that may leave the log: this peer has applied it, and every member has it or can do without.
    fn compactable(&self) -> LogIndex {
        let state = self.node.store().apply_state();
        let members = self.descriptor.peers.iter();
        let kept = members.map(|member| self.needed_from(member.id)).min().unwrap_or_default().min(state.applied);
        if self.log_bytes < self.config.max_log_bytes || self.is_worth_compacting(kept) {
            return kept;
        }
        // Half of it: those who are only a little behind shall not pay for those who are far behind.
        LogIndex(state.truncated.0.midpoint(state.applied.0)).max(kept)
    }

    /// The log behind this index is what a member needs.
    fn needed_from(&self, member: PeerId) -> LogIndex {
        let outgoing = self.leader().and_then(|leader| leader.snapshots.get(&member));
        let snapshot = outgoing.map_or(LogIndex(0), |outgoing| outgoing.needs_log_from());
        self.matched(member).max(snapshot)
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
