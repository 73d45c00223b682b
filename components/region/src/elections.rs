//! When a peer campaigns.

use engine::ApplyState;
use types::seed::Seed;
use types::{LogIndex, PeerId, PeerRole, RegionDescriptor, RegionId, Term};

use crate::config::RegionConfig;

/// Election timeouts as a function of seed, region, peer and term.
///
/// The raft crate draws a timeout from its thread's generator whenever it resets itself, even where no visible state
/// changes (raftstore-rules §17). The machine overwrites that draw after every step with [`at`](Self::at), so that it
/// never matters.
///
/// Plain chance lets two followers of a dead leader time out within one tick of each other, split the votes and cost
/// the region a second timeout. So the voters share out the time from `election_ticks + 1` to `2 * election_ticks` in
/// **slots** of equal width, one for each: the slot is the voter's rank by id, rotated by a hash of region and term.
/// Every voter must compute the same rotation, whatever its store's seed; hence it depends on region and term alone. It
/// spreads the first slots, and with them the leaders of many regions, over the stores. Within the first half of its
/// slot a voter's timeout is moved by a jitter from the store's own seed, so that the many regions of a dead store do
/// not all campaign in the same tick; neighbours stay at least half a slot apart.
///
/// The first slot begins one tick late on purpose. A follower ignores a request for its vote, without an answer, until
/// `election_ticks` of its own ticks passed since the leader's last word. The ticks of two stores are out of phase by
/// up to one tick, so a candidate that asks after exactly `election_ticks` would often ask one tick too early, and
/// would then wait out a whole timeout.
#[derive(Debug)]
pub(crate) struct ElectionTimeouts {
    seed: Seed,
    region: RegionId,
    peer: PeerId,
    election_ticks: u64,
    voters: u64,
    rank: u64,
    current: Option<(Term, usize)>,
}

impl ElectionTimeouts {
    /// The timeouts of one peer of a region.
    pub(crate) fn new(config: &RegionConfig, descriptor: &RegionDescriptor, peer: PeerId) -> Self {
        let mut voters: Vec<PeerId> =
            descriptor.peers.iter().filter(|p| p.role != PeerRole::Learner).map(|p| p.id).collect();
        voters.sort_unstable();
        Self {
            seed: config.seed,
            region: descriptor.id,
            peer,
            election_ticks: u64::from(config.election_ticks),
            voters: (voters.len() as u64).max(1),
            rank: voters.iter().position(|id| *id == peer).unwrap_or(0) as u64,
            current: None,
        }
    }

    /// The timeout in ticks at a term; lies in `election_ticks + 1 .. 2 * election_ticks`.
    pub(crate) fn at(&mut self, term: Term) -> usize {
        match self.current {
            Some((current, ticks)) if current == term => ticks,
            _ => {
                let ticks = self.draw(term);
                self.current = Some((term, ticks));
                ticks
            }
        }
    }

    fn draw(&self, term: Term) -> usize {
        let room = self.election_ticks - 1;
        let width = (room / self.voters).max(1);
        let rotation = Seed(0).below(self.voters, &[self.region.0, term.0]);
        let slot = (self.rank + rotation) % self.voters;
        let jitter = self.seed.below(width.div_ceil(2), &[self.region.0, self.peer.0, term.0]);
        // More voters than ticks: the late ones share slots.
        let offset = (slot * width + jitter) % room;
        usize::try_from(self.election_ticks + 1 + offset).expect("below twice a u32")
    }
}

/// What a peer must not do for a while after a start (D8).
#[derive(Debug)]
pub(crate) struct Restraint {
    replay_to: LogIndex,
    silent_ticks: u32,
    fenced: bool,
}

impl Restraint {
    /// The restraint of a peer that starts with this commit index. Its election timeout is the shortest time after
    /// which a leader that it may have promised to obey has lost its lease.
    pub(crate) fn new(commit: LogIndex, may_have_voted: bool, election_ticks: u32) -> Self {
        Self { replay_to: commit, silent_ticks: if may_have_voted { election_ticks } else { 0 }, fenced: false }
    }

    /// The peer's state is missing (D10): for as long as this machine lives it neither votes nor campaigns.
    pub(crate) fn fence(&mut self) {
        self.fenced = true;
    }

    /// Whether the peer's state is missing.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// One tick passed.
    pub(crate) fn tick(&mut self) {
        self.silent_ticks = self.silent_ticks.saturating_sub(1);
    }

    /// Whether the peer still replays what was committed before the start: then it must neither tick nor obey a
    /// TimeoutNow, since both could make it campaign under a membership that it has not yet applied to the end.
    pub(crate) fn is_replaying(&self, apply_state: &ApplyState) -> bool {
        apply_state.applied < self.replay_to
    }

    /// Whether the peer must not take part in elections: its state is missing, or it forgot whether it heard a leader a moment
    /// ago. The latter need not be kept from campaigning by itself, since every timeout of [`ElectionTimeouts`] is longer.
    pub(crate) fn is_silent(&self) -> bool {
        self.fenced || self.silent_ticks > 0
    }
}

#[cfg(test)]
mod tests {
    use types::{Peer, StoreId};

    use super::*;

    fn timeouts(seed: u64, members: u64, peer: u64, region: u64, ticks: u32) -> ElectionTimeouts {
        let peers = (1..=members).map(|id| Peer::voter(PeerId(id), StoreId(id))).collect();
        let descriptor = RegionDescriptor { id: RegionId(region), peers, ..RegionDescriptor::default() };
        let config = RegionConfig { seed: Seed(seed), election_ticks: ticks, ..RegionConfig::default() };
        ElectionTimeouts::new(&config, &descriptor, PeerId(peer))
    }

    #[test]
    fn members_of_a_region_are_half_a_slot_apart_whatever_their_seeds() {
        for members in 1..=5 {
            for (region, term) in (0..200).map(|n| (n % 20, n / 20 + 5)) {
                let mut drawn: Vec<usize> =
                    (1..=members).map(|peer| timeouts(peer * 77, members, peer, region, 10).at(Term(term))).collect();
                drawn.sort_unstable();
                assert!(drawn.iter().all(|ticks| (11..20).contains(ticks)), "{drawn:?}");
                let width = 9 / members as usize;
                let apart = drawn.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(9);
                assert!(apart > width / 2, "{members} members of region {region} at term {term}: {drawn:?}");
            }
        }
    }

    #[test]
    fn every_member_has_the_first_slot_in_some_region() {
        let mut first = [0; 3];
        for region in 0..300 {
            let winner = (1..=3).min_by_key(|peer| timeouts(1, 3, *peer, region, 10).at(Term(6))).unwrap_or(0);
            first[winner as usize - 1] += 1;
        }
        assert!(first.iter().all(|count| *count > 60), "{first:?}");
    }

    #[test]
    fn more_voters_than_ticks_stay_in_bounds() {
        for peer in 1..=9 {
            let ticks = timeouts(3, 9, peer, 1, 3).at(Term(6));
            assert!((4..6).contains(&ticks), "{ticks}");
        }
    }

    #[test]
    fn restraint_ends() {
        let mut restraint = Restraint::new(LogIndex(9), true, 2);
        let applied = |applied| ApplyState { applied: LogIndex(applied), ..ApplyState::default() };
        assert!(restraint.is_replaying(&applied(8)) && !restraint.is_replaying(&applied(9)));
        assert!(restraint.is_silent());
        restraint.tick();
        restraint.tick();
        assert!(!restraint.is_silent());
        assert!(!Restraint::new(LogIndex(9), false, 2).is_silent());
    }

    #[test]
    fn a_fence_does_not_end() {
        let mut restraint = Restraint::new(LogIndex(9), false, 2);
        restraint.fence();
        (0..10).for_each(|_| restraint.tick());
        assert!(restraint.is_fenced() && restraint.is_silent());
    }
}
