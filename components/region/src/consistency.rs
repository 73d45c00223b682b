//! Comparing the replicas: every peer hashes the region at one index, the leader states its hash in the log, and each
//! compares its own.
//!
//! The two come in either order, since hashing takes its time. Only the newest question counts: a peer that is late with
//! its hash, or that replays, may miss a comparison, and never makes a false one. It hashes one moment at a time, and one more
//! at most waits for that, however many questions its log holds.
//!
//! That two differ does not say who is wrong. So each tells its hash to the leader, which counts: whoever differs from most
//! voters is told so, and is *quarantined*, the leader itself included. It goes on voting and acknowledging, for its log is as good as
//! the others', but it does not lead until it starts again, and hence serves nobody. Without a majority of one mind
//! nothing but the report happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::HashTask;
use proto::log::{ComputeHash, VerifyHash, admin};
use slog::{error, info};
use types::{LogIndex, Peer, PeerId, RegionDescriptor};

use crate::effect::{Effect, Inconsistency, Role};
use crate::machine::{Region, RegionError};
use crate::message::Note;

/// What a leader has heard of one comparison.
#[derive(Debug)]
struct Poll {
    index: LogIndex,
    descriptor: Arc<RegionDescriptor>,
    hashes: BTreeMap<PeerId, u64>,
}

impl Poll {
    /// The hash that more than half of the voters have.
    fn majority(&self) -> Option<u64> {
        let voters: Vec<PeerId> =
            self.descriptor.peers.iter().filter(|peer| peer.role.votes_afterwards()).map(|peer| peer.id).collect();
        let of = |hash: u64| voters.iter().filter(|voter| self.hashes.get(voter) == Some(&hash)).count();
        self.hashes.values().copied().find(|hash| of(*hash) * 2 > voters.len())
    }
}

/// What is known of the newest comparison.
#[derive(Debug, Default)]
pub(crate) struct Consistency {
    asked: Option<(LogIndex, Arc<RegionDescriptor>)>,
    /// What is being hashed, and the newest question that waits for it: each holds a moment of the state engine.
    hashing: Option<LogIndex>,
    waits: Option<HashTask>,
    ours: Option<u64>,
    /// The newest statement of a leader.
    stated: Option<(LogIndex, u64)>,
    /// What this peer hashed last.
    newest: Option<(LogIndex, u64, Arc<RegionDescriptor>)>,
    /// On a leader.
    poll: Option<Poll>,
    quarantined: bool,
}

impl Consistency {
    /// Whether this replica differs from most others.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.quarantined
    }
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
        let (index, descriptor) = (task.index, Arc::clone(&task.descriptor));
        self.consistency.poll = self.leader().map(|_| Poll { index, descriptor, hashes: BTreeMap::new() });
        match self.consistency.hashing {
            Some(_) => self.consistency.waits = Some(task),
            None => self.hash(task, effects),
        }
    }

    fn hash(&mut self, task: HashTask, effects: &mut Vec<Effect>) {
        self.consistency.hashing = Some(task.index);
        effects.push(Effect::Hash(self.generation, task));
    }

    /// This replica's hash is there. The leader states it.
    pub(crate) fn on_hash_computed(
        &mut self,
        index: LogIndex,
        hash: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), RegionError> {
        if self.consistency.hashing == Some(index) {
            self.consistency.hashing = None;
            if let Some(task) = self.consistency.waits.take() {
                self.hash(task, effects);
            }
        }
        let Some((_, descriptor)) = self.consistency.asked.as_ref().filter(|(asked, _)| *asked == index) else {
            return Ok(());
        };
        self.consistency.newest = Some((index, hash, Arc::clone(descriptor)));
        self.consistency.ours = Some(hash);
        if self.leader().is_some() {
            let admin = self.admin(admin::Kind::VerifyHash(VerifyHash { index: index.0, hash }));
            self.propose_admin(&[], admin)?;
            self.on_members_hash(self.peer.id, index, hash, effects);
        } else if let Some(leader) = self.standing.leader.and_then(|leader| self.descriptor.peer(leader)).copied() {
            self.send_note(leader, Note::Hash { index, hash }, effects);
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
        let Consistency { asked: Some((index, descriptor)), ours: Some(ours), stated: Some((of, leaders)), .. } =
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
        (self.consistency.asked, self.consistency.ours, self.consistency.stated) = (None, None, None);
    }

    /// A member told its hash to the leader.
    pub(crate) fn on_members_hash(&mut self, member: PeerId, index: LogIndex, hash: u64, effects: &mut Vec<Effect>) {
        let leads = self.leader().is_some();
        let Some(poll) = self.consistency.poll.as_mut().filter(|poll| leads && poll.index == index) else { return };
        if poll.descriptor.peer(member).is_none() || poll.hashes.contains_key(&member) {
            return;
        }
        let decided = poll.majority();
        poll.hashes.insert(member, hash);
        let Some(majority) = poll.majority() else { return };
        // Those that had spoken before are told when the majority is found, later ones as they come.
        let differs = |(peer, hash): (&PeerId, &u64)| (*hash != majority).then_some(*peer);
        let told: Vec<PeerId> = match decided {
            Some(_) => poll.hashes.get_key_value(&member).and_then(differs).into_iter().collect(),
            None => poll.hashes.iter().filter_map(differs).collect(),
        };
        for peer in told {
            if peer == self.peer.id {
                self.quarantine(majority, effects);
            } else if let Some(peer) = self.descriptor.peer(peer).copied() {
                self.send_note(peer, Note::Differs { index, hash: majority }, effects);
            }
        }
    }

    /// A leader says that this replica differs from most others.
    pub(crate) fn on_differs(&mut self, from: PeerId, index: LogIndex, hash: u64, effects: &mut Vec<Effect>) {
        let by_leader = self.standing.leader == Some(from);
        let differs = self.consistency.newest.as_ref().is_some_and(|(at, ours, _)| *at == index && *ours != hash);
        if by_leader && differs {
            self.quarantine(hash, effects);
        }
    }

    /// Leads no more, for its data is not what most others have.
    fn quarantine(&mut self, majority: u64, effects: &mut Vec<Effect>) {
        let Some((index, ours, descriptor)) = self.consistency.newest.clone() else { return };
        error!(
            self.logger, "this replica differs from most others and does not lead any more: replace it";
            "index" => index.0, "range" => %descriptor.range, "ours" => ours, "theirs" => majority,
        );
        self.consistency.quarantined = true;
        if self.standing.role != Role::Leader {
            // It reported when it compared itself with its leader.
            return;
        }
        let peer = self.peer.id;
        let agree: Vec<PeerId> = self.consistency.poll.as_ref().map_or(Vec::new(), |poll| {
            poll.hashes.iter().filter(|(_, hash)| **hash == majority).map(|(peer, _)| *peer).collect()
        });
        self.stop_leading(|peer: &Peer| agree.contains(&peer.id), effects);
        effects.push(Effect::Inconsistent(Inconsistency { descriptor, peer, index, ours, leaders: majority }));
    }
}
