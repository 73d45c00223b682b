//! When a leader forgets the front of the log (raftstore-rules §9).
//!
//! The log is kept from the lowest index that all members match, a dead member's included, and for a member that gets a
//! snapshot from that snapshot's index. Its bytes are bounded all the same: beyond
//! [`max_log_bytes`](crate::RegionConfig::max_log_bytes) members that are far behind are left to a snapshot.
//!
//! A leader goes by the length of its own log. One that began from a snapshot, for which others may have kept theirs, has them
//! compacted once to where its own begins.

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
        let limit = self.config.max_log_bytes;
        // A member that comes forward more slowly than the log grows is no better than one that does not move.
        let suffices = self.is_worth_compacting(kept) && self.log_bytes - self.bytes_up_to(kept) < limit;
        if self.log_bytes < limit || suffices {
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
        // Its own short log says nothing about the others': they are told once where this one begins, or more.
        let shortens_others = self.began_at.is_some_and(|began| target >= began);
        let worth = self.is_worth_compacting(target) || shortens_others;
        if !worth || raft.lead_transferee.is_some() || !raft.commit_to_current_term() {
            return Ok(());
        }
        let Ok(term) = raft.raft_log.term(target.0) else { return Ok(()) };
        let admin = self.admin(admin::Kind::CompactLog(CompactLog { index: target.0, term }));
        if let Some(entry) = self.propose_admin(&[], admin)? {
            self.began_at = None;
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
        target.0 - truncated.0 >= self.config.compact_entries
            || self.bytes_up_to(target) >= self.config.compact_bytes
            || self.log_bytes >= self.config.max_log_bytes
    }

    /// About how many bytes of log a compaction to this index frees. Entries count as equally large: exact sizes of what
    /// left the cache would cost a read of the engine.
    fn bytes_up_to(&self, target: LogIndex) -> u64 {
        let truncated = self.node.store().apply_state().truncated;
        let entries = target.0.saturating_sub(truncated.0);
        let all = self.last_index().0.saturating_sub(truncated.0).max(1);
        (u128::from(self.log_bytes) * u128::from(entries) / u128::from(all)) as u64
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
