//! Commands of the store itself: log compactions, splits, changes of members, hashes.

use std::sync::Arc;

use engine::meta::{RegionState, descriptor_key, encode_descriptor, put_region};
use engine::{ApplyState, ChangeKind, Child, Family, HashTask};
use proto::log::CompactLog;
use types::{LogIndex, MemberChange, PlantedBug, RegionDescriptor, RequestError, SplitPlan, SplitRegions};

use crate::applier::{ApplyError, RegionApplier, compact_log};
use crate::arbiter::Birth;
use crate::entry::{AdminCommand, AdminKind};
use crate::round::{ApplyRound, Truncation};

impl ApplyRound {
    /// Executes a command of the store itself. `state` already counts its entry as applied. A command that is refused
    /// leaves no other trace.
    pub(crate) fn apply_admin(
        &mut self,
        applier: &mut RegionApplier,
        state: &mut ApplyState,
        command: AdminCommand,
    ) -> Result<Option<ChangeKind>, ApplyError> {
        let AdminCommand { epoch, kind } = command;
        let (region, command) = (Arc::clone(&applier.descriptor), kind.command());
        if !region.epoch.admits(command, epoch) {
            let error = RequestError::EpochNotMatch { region: region.id, current: vec![(*region).clone()] };
            return Ok(Some(ChangeKind::Refused(error)));
        }
        let change = match kind {
            AdminKind::CompactLog(compact) => {
                self.compact(applier, state, compact)?;
                None
            }
            AdminKind::Split(plan) => Some(self.split(applier, state.applied, &plan)),
            AdminKind::ChangeMembers(changes) => Some(self.change_members(applier, changes)),
            AdminKind::ComputeHash => Some(self.ask_hash(applier, state.applied)?),
            AdminKind::VerifyHash(verify) => {
                Some(ChangeKind::HashStated { of: LogIndex(verify.index), hash: verify.hash })
            }
        };
        let refused = matches!(change, Some(ChangeKind::Refused(_)));
        let after = applier.descriptor.epoch;
        assert_eq!(
            after != region.epoch,
            command.changes_epoch() && !refused,
            "region {}, entry {}: epoch {:?} became {after:?}, which the table does not promise",
            region.id,
            state.applied,
            region.epoch,
        );
        Ok(change)
    }

    fn compact(
        &mut self,
        applier: &RegionApplier,
        state: &mut ApplyState,
        compact: CompactLog,
    ) -> Result<(), ApplyError> {
        let region = applier.descriptor.id;
        if compact_log(region, state, compact)? {
            self.outcome.truncations.push(Truncation {
                region,
                peer: applier.peer,
                truncated: state.truncated,
                writer: self.writer,
                round: self.written.next(),
            });
        }
        Ok(())
    }

    /// The parent's new descriptor and its children's records are in the batch that has the parent's apply state (D2).
    fn split(&mut self, applier: &mut RegionApplier, index: LogIndex, plan: &SplitPlan) -> ChangeKind {
        let region = &applier.descriptor;
        let own = region.peers.iter().position(|peer| peer.id == applier.peer);
        let position = own.expect("nothing is applied behind the entry that removes the peer");
        let SplitRegions { derived, children } = match region.split(plan) {
            Ok(regions) => regions,
            Err(error) => return ChangeKind::Refused(error),
        };
        let mut born = Vec::with_capacity(children.len());
        for mut descriptor in children {
            if self.planted.has(PlantedBug::ChildEpochNotRaised) {
                descriptor.epoch.version = region.epoch.version;
            }
            let peer = descriptor.peers[position];
            let (parent, parent_peer) = (derived.id, applier.peer);
            let created = self.arbiter.claim(Birth { child: &descriptor, peer, parent, parent_peer, index });
            if created {
                let records = RegionState { descriptor, apply_state: ApplyState::BORN };
                put_region(&mut self.pending.batch, &records);
                born.push(Child { descriptor: records.descriptor, peer, created });
            } else {
                born.push(Child { descriptor, peer, created });
            }
        }
        ChangeKind::Split { derived: self.replace(applier, derived), children: born }
    }

    fn change_members(&mut self, applier: &mut RegionApplier, changes: Vec<MemberChange>) -> ChangeKind {
        match applier.descriptor.change_members(&changes) {
            Ok(descriptor) => ChangeKind::Members { descriptor: self.replace(applier, descriptor), changes },
            Err(error) => ChangeKind::Refused(error),
        }
    }

    fn replace(&mut self, applier: &mut RegionApplier, descriptor: RegionDescriptor) -> Arc<RegionDescriptor> {
        self.pending.batch.put(Family::Meta, descriptor_key(descriptor.id), encode_descriptor(&descriptor));
        applier.descriptor = Arc::new(descriptor);
        Arc::clone(&applier.descriptor)
    }

    /// Takes a snapshot of exactly what lies before this entry: what is pending is written first, between two entries.
    fn ask_hash(&mut self, applier: &RegionApplier, index: LogIndex) -> Result<ChangeKind, ApplyError> {
        self.write()?;
        let descriptor = Arc::clone(&applier.descriptor);
        Ok(ChangeKind::HashAsked(HashTask { descriptor, index, data: self.engine.snapshot() }))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests;
