//! How the members of a region do, as its leader sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proto::pdpb::PeerStats;
use region::{MemberStatus, RegionStatus};
use types::{Peer, PeerId, RegionId, Term};

use super::ReportConfig;

/// Members that need attention.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Health {
    /// Those that have been silent for long, and for how long.
    pub(super) down: Vec<PeerStats>,
    /// Those that the log cannot bring forward: they need a snapshot, or are about to get their first.
    pub(super) pending: Vec<Peer>,
}

impl Health {
    pub(super) fn is_fine(&self) -> bool {
        self.down.is_empty() && self.pending.is_empty()
    }

    /// Whether the same members need attention.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        let down = |health: &Self| health.down.iter().map(|down| down.peer).collect::<Vec<_>>();
        self.pending == other.pending && down(self) == down(other)
    }
}

/// Members that never answered their present leader, and since when that is known.
#[derive(Debug, Default)]
pub(super) struct Silence(BTreeMap<(RegionId, PeerId), (Term, Instant)>);

impl Silence {
    /// How the members of a region do that is led here.
    pub(super) fn health(&mut self, status: &RegionStatus, config: &ReportConfig, now: Instant) -> Health {
        let mut health = Health::default();
        for member in &status.members {
            let silent = self.silent_for(status, member, config.tick, now);
            if silent >= config.max_peer_down {
                let down_seconds = silent.as_secs();
                health.down.push(PeerStats { peer: Some(member.peer.into()), down_seconds });
            }
            // Without progress the match is zero, which is below every truncated index (raftstore-rules §12).
            if member.matched < status.apply_state.truncated && member.peer.id != status.peer.id {
                health.pending.push(member.peer);
            }
        }
        health
    }

    fn silent_for(&mut self, status: &RegionStatus, member: &MemberStatus, tick: Duration, now: Instant) -> Duration {
        let key = (status.descriptor.id, member.peer.id);
        if let Some(ticks) = member.silent_ticks {
            self.0.remove(&key);
            return tick.saturating_mul(ticks);
        }
        let (term, since) = self.0.entry(key).or_insert((status.term, now));
        if *term != status.term {
            (*term, *since) = (status.term, now);
        }
        now.duration_since(*since)
    }

    /// Forgets regions that are not among these.
    pub(super) fn keep(&mut self, regions: &BTreeSet<RegionId>) {
        self.0.retain(|(region, _), _| regions.contains(region));
    }
}

#[cfg(test)]
mod tests {
    use engine::ApplyState;
    use region::Role;
    use types::{KeyRange, LogIndex, RegionDescriptor, RegionEpoch};

    use super::*;

    const CONFIG: ReportConfig = ReportConfig {
        region_interval: Duration::from_secs(60),
        store_interval: Duration::from_secs(10),
        max_peer_down: Duration::from_secs(10),
        tick: Duration::from_secs(1),
    };

    fn status(term: u64, silent: Option<u32>, matched: u64) -> RegionStatus {
        let peers = [11, 12].map(|id: u64| Peer::voter(id.into(), (id - 10).into()));
        let member = |peer, matched: u64, silent_ticks| MemberStatus {
            peer,
            matched: LogIndex(matched),
            active: silent_ticks == Some(0),
            silent_ticks,
        };
        RegionStatus {
            descriptor: RegionDescriptor {
                id: 1.into(),
                range: KeyRange::all(),
                epoch: RegionEpoch { conf_ver: 1, version: 1 },
                peers: peers.to_vec(),
            },
            peer: peers[0],
            role: Role::Leader,
            term: Term(term),
            leader: Some(peers[0]),
            committed: LogIndex(20),
            apply_state: ApplyState { truncated: LogIndex(8), ..ApplyState::default() },
            fenced: false,
            quarantined: false,
            last_index: LogIndex(20),
            log_bytes: 0,
            members: vec![member(peers[0], 0, Some(0)), member(peers[1], matched, silent)],
        }
    }

    fn down(seconds: u64) -> Vec<PeerStats> {
        vec![PeerStats { peer: Some(Peer::voter(12.into(), 2.into()).into()), down_seconds: seconds }]
    }

    #[test]
    fn who_is_behind_the_log_is_pending() {
        let (mut silence, now) = (Silence::default(), Instant::now());
        let health = silence.health(&status(6, Some(0), 8), &CONFIG, now);
        assert!(health.is_fine(), "the log begins behind what it has: {health:?}");
        let health = silence.health(&status(6, Some(0), 7), &CONFIG, now);
        assert_eq!(health.pending, [Peer::voter(12.into(), 2.into())]);
        assert!(silence.health(&status(6, None, 0), &CONFIG, now).is_alike(&health));
    }

    #[test]
    fn who_is_silent_for_long_is_down() {
        let (mut silence, now) = (Silence::default(), Instant::now());
        assert!(silence.health(&status(6, Some(9), 20), &CONFIG, now).is_fine());
        assert_eq!(silence.health(&status(6, Some(12), 20), &CONFIG, now).down, down(12));
    }

    #[test]
    fn who_never_answered_is_down_in_the_end() {
        let (mut silence, begun) = (Silence::default(), Instant::now());
        let mut at = |term, silent, seconds| {
            let now = begun + Duration::from_secs(seconds);
            silence.health(&status(term, silent, 20), &CONFIG, now).down
        };
        assert_eq!(at(6, None, 0), []);
        assert_eq!(at(6, None, 11), down(11));
        assert_eq!(at(7, None, 12), [], "another leadership, which may hear of it yet");
        assert_eq!(at(7, None, 22), down(10));
        assert_eq!(at(7, Some(1), 23), []);
        assert_eq!(at(7, None, 30), []);
    }
}
