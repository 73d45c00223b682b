//! Random delivery, loss, reordering, duplication, slow disks, crashes and partitions, from one seed each.
//!
//! What must hold, always: a term has one leader; members apply the same entries; a client is answered once; a write
//! that was refused is never applied, one that was acknowledged is, once; a read sees every write that was acknowledged
//! before it was asked. When the chaos ends, the region serves again.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use region::{Input, Region, RegionConfig, RegionStatus, Role};
use support::cluster::{Answer, Cluster};
use support::describe;
use types::seed::{Rng, Seed};
use types::{PeerId, RequestError};

const STEPS: usize = 6000;
const SEEDS: u64 = 100;

struct Chaos {
    cluster: Cluster,
    rng: Rng,
    ids: Vec<u64>,
    asked: usize,
    /// For each read, how many answers had been given when it was asked.
    reads: BTreeMap<String, usize>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let voters = 1 + rng.below(5);
        let learners = rng.below(2);
        let config = RegionConfig {
            compact_entries: 1 + rng.below(20),
            max_log_bytes: 1000 + rng.below(4000),
            max_entry_bytes: 150,
            max_message_bytes: 1 + rng.below(300),
            max_inflight_messages: 1 + rng.below(4) as usize,
            max_apply_bytes: 1 + rng.below(400),
            max_uncommitted_bytes: 1000,
            entry_cache_bytes: rng.below(1000),
            seed: Seed(seed),
            ..RegionConfig::default()
        };
        let ids: Vec<u64> = (1..=voters + learners).collect();
        let (voters, learners) = ids.split_at(voters as usize);
        let mut cluster = Cluster::new(config, voters, learners);
        for id in &ids {
            cluster.member(*id).holds_persist = true;
            cluster.member(*id).holds_apply = true;
        }
        Self { cluster, rng, ids, asked: 0, reads: BTreeMap::new() }
    }

    fn some_member(&mut self) -> u64 {
        self.ids[self.rng.below(self.ids.len() as u64) as usize]
    }

    fn step(&mut self) {
        let id = self.some_member();
        match self.rng.below(100) {
            0..45 => self.deliver(),
            45..56 => self.cluster.tick(id),
            56..72 => self.cluster.persist(id),
            72..82 => self.cluster.apply(id),
            82..89 => self.propose(),
            89..93 => self.read(),
            93 => self.transfer(id),
            94 if self.rng.one_in(3) => self.crash(id),
            95 => self.restart(id),
            96 if self.rng.one_in(3) => self.cut(id),
            97 => self.cluster.cut.clear(),
            98 => {
                let peer = PeerId(self.some_member());
                self.cluster.round(id, vec![Input::Unreachable { peer }]);
            }
            _ => self.ids.clone().into_iter().for_each(|id| self.cluster.persist(id)),
        }
    }

    fn deliver(&mut self) {
        let waiting = self.cluster.network.len() as u64;
        if waiting == 0 {
            return;
        }
        // Mostly in order, sometimes not, sometimes twice, sometimes never.
        let reach = if self.rng.one_in(4) { waiting } else { waiting.min(3) };
        let position = self.rng.below(reach) as usize;
        let message = self.cluster.network.remove(position).unwrap();
        match self.rng.below(20) {
            0 => {}
            1 => {
                self.cluster.network.push_back(message.clone());
                self.cluster.deliver(message);
            }
            _ => self.cluster.deliver(message),
        }
    }

    /// A leader, more often than not; there may be several, of different terms.
    fn likely_leader(&mut self) -> u64 {
        let ids = self.ids.clone();
        let leads = |id: &u64| self.status(*id).is_some_and(|status| status.role == Role::Leader);
        let leaders: Vec<u64> = ids.iter().copied().filter(leads).collect();
        match leaders.len() as u64 {
            0 => self.some_member(),
            _ if self.rng.one_in(4) => self.some_member(),
            count => leaders[self.rng.below(count) as usize],
        }
    }

    fn status(&self, id: u64) -> Option<RegionStatus> {
        self.cluster.members[&id].region.as_ref().map(Region::status)
    }

    fn propose(&mut self) {
        let id = self.likely_leader();
        let header = self.cluster.header();
        let inputs = (0..1 + self.rng.below(3))
            .map(|_| {
                self.asked += 1;
                self.cluster.proposal(header, &format!("w{:04}", self.asked))
            })
            .collect();
        self.cluster.round(id, inputs);
    }

    fn read(&mut self) {
        let id = self.likely_leader();
        self.asked += 1;
        let name = format!("r{:04}", self.asked);
        self.reads.insert(name.clone(), self.cluster.answers.lock().unwrap().len());
        let input = self.cluster.read(self.cluster.header(), &name);
        self.cluster.round(id, vec![input]);
    }

    fn transfer(&mut self, id: u64) {
        self.asked += 1;
        let to = self.some_member();
        let input = self.cluster.transfer(to, &format!("t{:04}", self.asked));
        self.cluster.round(id, vec![input]);
    }

    fn crash(&mut self, id: u64) {
        let writes = self.cluster.member(id).writing.len() as u64;
        let done = self.rng.below(writes + 1) as usize;
        self.cluster.crash(id, done);
        if self.rng.one_in(3) {
            self.cluster.member(id).lose_state();
        }
    }

    fn restart(&mut self, id: u64) {
        if self.cluster.member(id).region.is_none() {
            self.cluster.start(id, true);
        }
    }

    fn cut(&mut self, id: u64) {
        for other in self.ids.clone() {
            if other != id && self.rng.one_in(2) {
                self.cluster.cut.insert((id, other));
            }
            if other != id && self.rng.one_in(2) {
                self.cluster.cut.insert((other, id));
            }
        }
    }

    /// The chaos ends: everyone is up, every disk works, every message arrives. The region must serve a write.
    fn settle(&mut self) {
        self.cluster.cut.clear();
        for id in self.ids.clone() {
            self.restart(id);
            self.cluster.member(id).holds_persist = false;
            self.cluster.member(id).holds_apply = false;
            self.cluster.round(id, Vec::new());
        }
        for _ in 0..200 {
            for id in self.ids.clone() {
                self.cluster.tick(id);
                self.cluster.deliver_until_quiet();
            }
        }
        let leader = self.leader();
        let written = |chaos: &Self| {
            let answers = chaos.cluster.answers.lock().unwrap();
            answers.iter().filter(|(_, answer)| *answer == Answer::Written).count()
        };
        let before = written(self);
        for _ in 0..20 {
            self.propose();
            self.read();
            self.cluster.tick(leader);
            self.cluster.deliver_until_quiet();
        }
        assert!(written(self) > before, "the region serves no write");
        for _ in 0..5 {
            self.cluster.tick(leader);
            self.cluster.deliver_until_quiet();
        }
        let last = self.cluster.member(leader).apply_state().applied;
        for id in self.ids.clone() {
            assert_eq!(self.cluster.member(id).apply_state().applied, last, "member {id} did not catch up");
        }
    }

    fn leader(&self) -> u64 {
        let leads = |id: &u64| self.status(*id).is_some_and(|status| status.role == Role::Leader);
        let leaders: Vec<u64> = self.ids.iter().copied().filter(leads).collect();
        assert_eq!(leaders.len(), 1, "no leader emerged");
        leaders[0]
    }

    fn check(&self) {
        let answers = self.cluster.answers.lock().unwrap().clone();
        let mut by_name = BTreeMap::new();
        for (position, (name, answer)) in answers.iter().enumerate() {
            let before = by_name.insert(name.as_str(), (position, answer));
            assert!(before.is_none(), "{name} was answered twice");
        }
        assert_eq!(by_name.len(), self.asked, "someone got no answer");

        let mut applied: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.cluster.committed.values() {
            for key in describe::commands(entry) {
                *applied.entry(key).or_default() += 1;
            }
        }
        for (name, (_, answer)) in &by_name {
            let times = applied.get(*name).copied().unwrap_or_default();
            match answer {
                Answer::Written => assert_eq!(times, 1, "{name} was acknowledged"),
                Answer::Error(RequestError::Undetermined { .. }) => assert!(times <= 1, "{name} was applied twice"),
                Answer::Error(error) => assert_eq!(times, 0, "{name} was refused: {error}"),
                Answer::Done | Answer::Split(_) => {}
                Answer::Read { keys, .. } => {
                    let asked_at = self.reads[*name];
                    let acknowledged = answers[..asked_at].iter().filter(|(_, answer)| *answer == Answer::Written);
                    for (write, _) in acknowledged {
                        assert!(keys.contains(write), "{name} misses {write}");
                    }
                }
            }
        }
    }
}

/// Runs one seed and gives what happened.
fn run(seed: u64) -> (Vec<String>, usize, usize) {
    let mut chaos = Chaos::new(seed);
    for _ in 0..STEPS {
        chaos.step();
    }
    chaos.settle();
    chaos.check();
    let written = chaos.cluster.answers.lock().unwrap().iter().filter(|(_, a)| *a == Answer::Written).count();
    let terms = chaos.cluster.leaders.len();
    (std::mem::take(&mut chaos.cluster.trace), written, terms)
}

#[test]
fn invariants_hold_in_chaos() {
    let (mut written, mut terms) = (0, 0);
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| run(seed));
        let Ok((_, writes, leaders)) = outcome else { panic!("seed {seed} failed, see above") };
        written += writes;
        terms += leaders;
    }
    // Chaos that serves nothing proves nothing.
    assert!(written > SEEDS as usize * 50 && terms > SEEDS as usize * 3, "{written} writes in {terms} terms");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 4] {
        assert!(run(seed).0 == run(seed).0, "seed {seed} gave two traces");
    }
}
