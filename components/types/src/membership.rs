//! Changes of a region's members, and what they make of its descriptor.
//!
//! One change by itself is *simple*: it takes effect at once. Several together make the configuration *joint* (raft thesis
//! §4.3): members that become voters are incoming, voters that become learners are demoting, and both halves must agree to
//! whatever is committed until the joint configuration is left. No changes at all is how it is left.
//!
//! Proposing and applying share these rules, so they belong to the frozen part of the log (raftstore-rules §4, §7).

use std::fmt;

use crate::descriptor::{Peer, PeerRole, RegionDescriptor};
use crate::epoch::CommandKind;
use crate::error::RequestError;
use crate::id::{PeerId, StoreId};

/// What becomes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MemberChangeKind {
    /// It votes: a newcomer, or a learner that is promoted.
    Vote = 0,
    /// It learns: a newcomer, or a voter that is demoted.
    Learn = 1,
    /// It leaves.
    Remove = 2,
}

impl MemberChangeKind {
    /// The kind with this number in the log, if there is one.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Vote),
            1 => Some(Self::Learn),
            2 => Some(Self::Remove),
            _ => None,
        }
    }
}

/// One change of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// What becomes of it.
    pub kind: MemberChangeKind,
    /// The member.
    pub peer: PeerId,
    /// Where it lives.
    pub store: StoreId,
}

/// As in a log, such as `vote 69 on store 68`.
impl fmt::Display for MemberChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            MemberChangeKind::Vote => "vote",
            MemberChangeKind::Learn => "learn",
            MemberChangeKind::Remove => "remove",
        };
        write!(f, "{what} {} on store {}", self.peer, self.store)
    }
}

impl MemberChange {
    /// Makes a peer a voter.
    pub const fn vote(peer: PeerId, store: StoreId) -> Self {
        Self { kind: MemberChangeKind::Vote, peer, store }
    }

    /// Makes a peer a learner.
    pub const fn learn(peer: PeerId, store: StoreId) -> Self {
        Self { kind: MemberChangeKind::Learn, peer, store }
    }

    /// Removes a peer.
    pub const fn remove(peer: PeerId, store: StoreId) -> Self {
        Self { kind: MemberChangeKind::Remove, peer, store }
    }
}

impl RegionDescriptor {
    /// The region behind these changes: one is simple, several make the configuration joint, none leaves it.
    ///
    /// # Errors
    /// `Invalid`, with the reason, when the changes do not fit the members. The same on every replica.
    pub fn change_members(&self, changes: &[MemberChange]) -> Result<Self, RequestError> {
        match changes {
            [] => self.leave_joint(),
            _ if self.is_joint() => Err(invalid("the region is between two configurations: leave the joint one first")),
            [change] => self.change_one(*change),
            _ => self.enter_joint(changes),
        }
    }

    fn leave_joint(&self) -> Result<Self, RequestError> {
        if !self.is_joint() {
            return Err(invalid("the region's configuration is not joint: there is nothing to leave"));
        }
        let mut next = self.clone();
        let mut ended = 0;
        for peer in &mut next.peers {
            let role = match peer.role {
                PeerRole::IncomingVoter => PeerRole::Voter,
                PeerRole::DemotingVoter => PeerRole::Learner,
                same => same,
            };
            ended += u64::from(role != peer.role);
            peer.role = role;
        }
        next.epoch = self.epoch.after(CommandKind::Members, ended);
        Ok(next)
    }

    fn change_one(&self, change: MemberChange) -> Result<Self, RequestError> {
        let mut next = self.clone();
        next.set_member(change, PeerRole::Voter, PeerRole::Learner)?;
        next.check_voters()?;
        next.epoch = self.epoch.after(CommandKind::Members, 1);
        Ok(next)
    }

    fn enter_joint(&self, changes: &[MemberChange]) -> Result<Self, RequestError> {
        let mut next = self.clone();
        for (position, change) in changes.iter().enumerate() {
            if changes[..position].iter().any(|other| other.peer == change.peer) {
                return Err(invalid(&format!("peer {} is changed twice", change.peer)));
            }
            let voted = self.peer(change.peer).is_some_and(|peer| peer.role == PeerRole::Voter);
            if voted && change.kind == MemberChangeKind::Remove {
                // A role for "votes until the joint configuration is left, then is gone" does not exist.
                let peer = change.peer;
                return Err(invalid(&format!(
                    "voter {peer} is removed among other changes: demote it, remove it next"
                )));
            }
            next.set_member(*change, PeerRole::IncomingVoter, PeerRole::DemotingVoter)?;
        }
        if !next.is_joint() {
            return Err(invalid("none of the changes is of a voter: make them one by one"));
        }
        next.check_voters()?;
        next.epoch = self.epoch.after(CommandKind::Members, changes.len() as u64);
        Ok(next)
    }

    /// Makes one change; `voting` is the role of a member that begins to vote, `demoted` that of a voter that ends to.
    fn set_member(&mut self, change: MemberChange, voting: PeerRole, demoted: PeerRole) -> Result<(), RequestError> {
        let MemberChange { kind, peer: id, store } = change;
        let refuse = |what: &str| Err(invalid(&format!("peer {id} {what}")));
        let Some(position) = self.peers.iter().position(|peer| peer.id == id) else {
            if kind == MemberChangeKind::Remove {
                return refuse("is not a member of the region");
            }
            // Raft takes 0 for nobody: it would leave such a member out without a word.
            if id == PeerId(0) || store == StoreId(0) {
                return refuse(&format!("on store {store} cannot join: no id is 0"));
            }
            if let Some(other) = self.peer_on(store) {
                return refuse(&format!("cannot join: store {store} has the region's peer {} already", other.id));
            }
            let role = if kind == MemberChangeKind::Vote { voting } else { PeerRole::Learner };
            self.peers.push(Peer { id, store_id: store, role });
            return Ok(());
        };
        let peer = &mut self.peers[position];
        if peer.store_id != store {
            let actual = peer.store_id;
            return refuse(&format!("lives on store {actual}, not on store {store}"));
        }
        match (kind, peer.role) {
            (MemberChangeKind::Vote, PeerRole::Learner) => peer.role = voting,
            (MemberChangeKind::Learn, PeerRole::Voter) => peer.role = demoted,
            (MemberChangeKind::Remove, _) => drop(self.peers.remove(position)),
            (MemberChangeKind::Vote, _) => return refuse("votes already"),
            (MemberChangeKind::Learn, _) => return refuse("is a learner already"),
        }
        Ok(())
    }

    fn check_voters(&self) -> Result<(), RequestError> {
        if self.peers.iter().any(|peer| peer.role.votes_afterwards()) {
            return Ok(());
        }
        Err(invalid("the region would be left without a voter"))
    }
}

fn invalid(reason: &str) -> RequestError {
    RequestError::Invalid { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::epoch::RegionEpoch;

    #[test]
    fn members_and_changes_are_shown_in_words() {
        let shown: Vec<String> = region().peers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["1 on store 1", "2 on store 2", "3 on store 3", "4 on store 4 (learner)"]);
        assert_eq!(MemberChange::vote(PeerId(4), StoreId(7)).to_string(), "vote 4 on store 7");
    }

    /// Peers 1, 2 and 3 vote on stores of the same number; peer 4 learns.
    fn region() -> RegionDescriptor {
        let mut peers: Vec<Peer> = (1..=3).map(|id| Peer::voter(PeerId(id), StoreId(id))).collect();
        peers.push(Peer { role: PeerRole::Learner, ..Peer::voter(PeerId(4), StoreId(4)) });
        RegionDescriptor { epoch: RegionEpoch { conf_ver: 10, version: 2 }, peers, ..RegionDescriptor::default() }
    }

    fn vote(id: u64) -> MemberChange {
        MemberChange::vote(PeerId(id), StoreId(id))
    }

    fn learn(id: u64) -> MemberChange {
        MemberChange::learn(PeerId(id), StoreId(id))
    }

    fn remove(id: u64) -> MemberChange {
        MemberChange::remove(PeerId(id), StoreId(id))
    }

    /// Each member as its id and the first letter of its role, then the conf_ver.
    fn describe(region: &RegionDescriptor) -> String {
        let role = |role| match role {
            PeerRole::Voter => 'v',
            PeerRole::Learner => 'l',
            PeerRole::IncomingVoter => 'i',
            PeerRole::DemotingVoter => 'd',
        };
        let peers: Vec<String> = region.peers.iter().map(|peer| format!("{}{}", peer.id, role(peer.role))).collect();
        format!("{} @{}", peers.join(" "), region.epoch.conf_ver)
    }

    fn changed(changes: &[MemberChange]) -> String {
        describe(&region().change_members(changes).unwrap())
    }

    #[test]
    fn one_change_takes_effect_at_once() {
        assert_eq!(changed(&[vote(5)]), "1v 2v 3v 4l 5v @11");
        assert_eq!(changed(&[learn(5)]), "1v 2v 3v 4l 5l @11");
        assert_eq!(changed(&[vote(4)]), "1v 2v 3v 4v @11");
        assert_eq!(changed(&[learn(3)]), "1v 2v 3l 4l @11");
        assert_eq!(changed(&[remove(2)]), "1v 3v 4l @11");
        assert_eq!(changed(&[remove(4)]), "1v 2v 3v @11");
    }

    #[test]
    fn several_changes_make_it_joint_until_it_is_left() {
        let changes = [vote(4), learn(3), learn(5), vote(6)];
        let joint = region().change_members(&changes).unwrap();
        assert_eq!(describe(&joint), "1v 2v 3d 4i 5l 6i @14");
        assert!(joint.is_joint());
        let left = joint.change_members(&[]).unwrap();
        assert_eq!(describe(&left), "1v 2v 3l 4v 5l 6v @17");
        assert!(!left.is_joint());
        assert_eq!(changed(&[vote(5), remove(4)]), "1v 2v 3v 5i @12");
        assert_eq!((left.epoch.version, left.range), (2, region().range));
    }

    #[test]
    fn what_does_not_fit_the_members_is_refused() {
        let joint = region().change_members(&[vote(4), learn(3)]).unwrap();
        let lone = RegionDescriptor { peers: region().peers[..1].to_vec(), ..region() };
        let elsewhere = MemberChange::remove(PeerId(2), StoreId(7));
        let crowded = MemberChange::learn(PeerId(9), StoreId(2));
        let cases: [(&RegionDescriptor, &[MemberChange], &str); 17] = [
            (&region(), &[], "nothing to leave"),
            (&joint, &[vote(5)], "leave the joint one first"),
            (&joint, &[vote(5), learn(1)], "leave the joint one first"),
            (&region(), &[vote(1)], "votes already"),
            (&region(), &[learn(4)], "is a learner already"),
            (&region(), &[remove(9)], "not a member"),
            (&region(), &[elsewhere], "lives on store 2, not on store 7"),
            (&region(), &[crowded], "store 2 has the region's peer 2 already"),
            (&region(), &[MemberChange::learn(PeerId(0), StoreId(5))], "no id is 0"),
            (&region(), &[MemberChange::vote(PeerId(5), StoreId(0))], "no id is 0"),
            (&region(), &[vote(0), vote(5)], "no id is 0"),
            (&region(), &[vote(4), remove(3)], "demote it, remove it next"),
            (&region(), &[learn(5), learn(6)], "one by one"),
            (&region(), &[vote(4), learn(4)], "changed twice"),
            (&region(), &[learn(1), learn(2), learn(3)], "without a voter"),
            (&lone, &[remove(1)], "without a voter"),
            (&lone, &[learn(1)], "without a voter"),
        ];
        for (region, changes, reason) in cases {
            let error = region.change_members(changes).unwrap_err().to_string();
            assert!(error.contains(reason), "{changes:?}: {error}");
        }
    }
}
