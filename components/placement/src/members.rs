//! A region's membership, and what each change makes of it.
//!
//! The arithmetic of conf_ver is raftstore-rules §4: one for a simple change, the number of changes for entering a joint
//! configuration, the number of peers in joint roles for leaving it.

use std::collections::BTreeMap;

use types::{Peer, PeerRole, RegionDescriptor, StoreId};

/// The members of a region at one conf_ver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    conf_ver: u64,
    peers: BTreeMap<StoreId, Peer>,
}

/// Why a change does not fit a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misfit;

impl Members {
    /// The membership of a region.
    pub fn of(descriptor: &RegionDescriptor) -> Self {
        let peers = descriptor.peers.iter().map(|peer| (peer.store_id, *peer)).collect();
        Self { conf_ver: descriptor.epoch.conf_ver, peers }
    }

    /// The membership's number.
    pub fn conf_ver(&self) -> u64 {
        self.conf_ver
    }

    /// The members, by store.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    fn change(
        &self,
        conf_ver: u64,
        change: impl FnOnce(&mut BTreeMap<StoreId, Peer>) -> Option<()>,
    ) -> Result<Self, Misfit> {
        let mut peers = self.peers.clone();
        change(&mut peers).ok_or(Misfit)?;
        let conf_ver = self.conf_ver.checked_add(conf_ver).ok_or(Misfit)?;
        Ok(Self { conf_ver, peers })
    }

    /// With one more learner.
    pub(crate) fn add_learner(&self, peer: Peer) -> Result<Self, Misfit> {
        self.change(1, |peers| {
            let learner = Peer { role: PeerRole::Learner, ..peer };
            peers.insert(peer.store_id, learner).is_none().then_some(())
        })
    }

    /// With a peer in another role.
    pub(crate) fn turn(&self, peer: Peer, from: PeerRole, to: PeerRole) -> Result<Self, Misfit> {
        self.change(1, |peers| turn(peers, peer, from, to))
    }

    /// Without a peer.
    pub(crate) fn remove(&self, peer: Peer) -> Result<Self, Misfit> {
        self.change(1, |peers| {
            let removed = peers.remove(&peer.store_id)?;
            let is_joint = matches!(removed.role, PeerRole::IncomingVoter | PeerRole::DemotingVoter);
            (removed.id == peer.id && !is_joint).then_some(())
        })
    }

    /// In a joint configuration.
    pub(crate) fn enter_joint(&self, promote: &[Peer], demote: &[Peer]) -> Result<Self, Misfit> {
        if self.joint_roles() > 0 {
            return Err(Misfit);
        }
        self.change((promote.len() + demote.len()) as u64, |peers| {
            let promoted =
                promote.iter().try_for_each(|peer| turn(peers, *peer, PeerRole::Learner, PeerRole::IncomingVoter));
            promoted?;
            demote.iter().try_for_each(|peer| turn(peers, *peer, PeerRole::Voter, PeerRole::DemotingVoter))
        })
    }

    /// Out of a joint configuration.
    pub(crate) fn leave_joint(&self) -> Result<Self, Misfit> {
        let joint = self.joint_roles();
        if joint == 0 {
            return Err(Misfit);
        }
        self.change(joint, |peers| {
            for peer in peers.values_mut() {
                peer.role = match peer.role {
                    PeerRole::IncomingVoter => PeerRole::Voter,
                    PeerRole::DemotingVoter => PeerRole::Learner,
                    role => role,
                };
            }
            Some(())
        })
    }

    fn joint_roles(&self) -> u64 {
        let is_joint = |peer: &&Peer| matches!(peer.role, PeerRole::IncomingVoter | PeerRole::DemotingVoter);
        self.peers.values().filter(is_joint).count() as u64
    }

    /// Whether the healthy members are a quorum, of both configurations when there are two.
    pub fn has_quorum(&self, is_healthy: impl Fn(&Peer) -> bool) -> bool {
        let quorum_of = |roles: [PeerRole; 2]| {
            let voters = || self.peers.values().filter(|peer| roles.contains(&peer.role));
            voters().filter(|peer| is_healthy(peer)).count() * 2 > voters().count()
        };
        quorum_of([PeerRole::Voter, PeerRole::IncomingVoter]) && quorum_of([PeerRole::Voter, PeerRole::DemotingVoter])
    }
}

fn turn(peers: &mut BTreeMap<StoreId, Peer>, peer: Peer, from: PeerRole, to: PeerRole) -> Option<()> {
    let member = peers.get_mut(&peer.store_id).filter(|member| member.id == peer.id && member.role == from)?;
    member.role = to;
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use types::RegionEpoch;

    use super::*;

    fn voter(store: u64) -> Peer {
        Peer::voter((store * 10).into(), store.into())
    }

    fn three_voters() -> Members {
        let epoch = RegionEpoch { conf_ver: 5, version: 1 };
        let peers = vec![voter(1), voter(2), voter(3)];
        Members::of(&RegionDescriptor { id: 1.into(), epoch, peers, ..RegionDescriptor::default() })
    }

    fn roles(members: &Members) -> Vec<(u64, PeerRole)> {
        members.peers().map(|peer| (peer.store_id.0, peer.role)).collect()
    }

    #[test]
    fn a_replacement_counts_as_the_region_does() {
        use PeerRole::{DemotingVoter, IncomingVoter, Learner, Voter};
        let added = three_voters().add_learner(voter(4)).unwrap();
        assert_eq!((added.conf_ver(), roles(&added)[3]), (6, (4, Learner)));
        let joint = added.enter_joint(&[voter(4)], &[voter(1)]).unwrap();
        assert_eq!(joint.conf_ver(), 8);
        assert_eq!(roles(&joint), [(1, DemotingVoter), (2, Voter), (3, Voter), (4, IncomingVoter)]);
        let left = joint.leave_joint().unwrap();
        assert_eq!((left.conf_ver(), roles(&left)[0], roles(&left)[3]), (10, (1, Learner), (4, Voter)));
        let removed = left.remove(voter(1)).unwrap();
        assert_eq!((removed.conf_ver(), roles(&removed)), (11, vec![(2, Voter), (3, Voter), (4, Voter)]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let members = three_voters();
        assert_eq!(members.add_learner(voter(3)), Err(Misfit), "one peer on a store");
        assert_eq!(members.turn(voter(3), PeerRole::Learner, PeerRole::Voter), Err(Misfit));
        assert_eq!(members.remove(voter(4)), Err(Misfit));
        assert_eq!(members.remove(Peer::voter(99.into(), 3.into())), Err(Misfit), "another peer of that store");
        assert_eq!(members.leave_joint(), Err(Misfit));
        let joint = members.add_learner(voter(4)).unwrap().enter_joint(&[voter(4)], &[voter(1)]).unwrap();
        assert_eq!(joint.enter_joint(&[], &[voter(2)]), Err(Misfit));
        assert_eq!(joint.remove(voter(1)), Err(Misfit), "no peer leaves while it has a joint role");
    }

    #[test]
    fn a_joint_configuration_needs_both_quorums() {
        let joint = three_voters().add_learner(voter(4)).unwrap().enter_joint(&[voter(4)], &[voter(1)]).unwrap();
        let quorum = |down: &[u64]| joint.has_quorum(|peer| !down.contains(&peer.store_id.0));
        assert!(quorum(&[]) && quorum(&[1]) && quorum(&[2]) && quorum(&[4]));
        assert!(!quorum(&[1, 2]), "the outgoing one has one of three");
        assert!(!quorum(&[3, 4]), "the incoming one has one of three");
        assert!(quorum(&[1, 4]), "each has two of three");
    }
}
