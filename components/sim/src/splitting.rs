//! Stores that split their regions by themselves, by size, by number of keys and by load, with ids from the coordinator.
//!
//! The store's own checker decides. It asks for ids as production's does: over the network, where the question or its answer
//! may get lost.

use std::collections::BTreeMap;
use std::time::Duration;

use store::{RegionIds, SplitConfig, SplitIds, SplitIdsAnswer};
use types::{Instant, RegionDescriptor, Responder};

use crate::cell::{Life, Outgoing};
use crate::chance::Dice;
use crate::coordinating::ToCoordinator;
use crate::simulation::{Due, Simulation, Wrong};

/// How long a store waits for ids.
const PATIENCE: Duration = Duration::from_secs(4);

/// Most questions for ids that a store has open.
const MOST_OPEN: usize = 64;

/// Ids that a store's split checker wants.
pub(crate) struct IdsWanted {
    region: RegionDescriptor,
    count: usize,
    responder: Responder<Option<SplitIdsAnswer>>,
}

/// Hands the checker's questions to the simulation.
pub(crate) struct AskedIds(pub(crate) Life);

impl SplitIds for AskedIds {
    fn ask(&self, region: &RegionDescriptor, count: usize, responder: Responder<Option<SplitIdsAnswer>>) {
        let wanted = IdsWanted { region: region.clone(), count, responder };
        self.0.give(Outgoing::WantIds(Box::new(wanted)));
    }
}

/// The questions for ids that a process has open, by their numbers.
#[derive(Default)]
pub(crate) struct OpenQuestions {
    asked: u64,
    open: BTreeMap<u64, (Instant, Responder<Option<SplitIdsAnswer>>)>,
}

impl OpenQuestions {
    /// Nobody waits any longer for what was asked so long ago.
    fn forget(&mut self, now: Instant) {
        self.open.retain(|_, (since, _)| now.since(*since) < PATIENCE);
    }

    /// An answer has come, if anybody still waits for it.
    pub(crate) fn answered(&mut self, number: u64, ids: Option<Vec<coordinator::SplitIds>>) {
        let Some((_, responder)) = self.open.remove(&number) else { return };
        let ids = ids.map(|ids| {
            ids.into_iter().map(|ids| RegionIds { region: ids.region, peers: ids.peers }).collect::<Vec<_>>()
        });
        responder.respond(ids);
    }
}

/// When stores split by themselves: in half of the runs, and as soon as a region has a few keys or is asked a little.
pub(crate) fn draw(dice: &mut Dice) -> SplitConfig {
    let never = SplitConfig::default().never();
    if dice.one_in(2) {
        return never;
    }
    let mut config = SplitConfig { check_interval: dice.millis(100, 3000), check_diff_bytes: 1, ..never };
    config.keys_per_split = dice.within(1, 4) as usize;
    if dice.one_in(2) {
        config = config.with_region_bytes(dice.within(256, 16 << 10));
    }
    if dice.one_in(2) {
        config = config.with_region_keys(dice.within(2, 24));
    }
    if dice.one_in(2) {
        config.busy_requests_per_second = dice.within(1, 40);
        config.busy_checks = dice.within(1, 3) as u32;
    }
    config
}

impl Simulation {
    /// A store looks over the regions that it leads. In peace regions stay as they are, and there is a most of them.
    pub(crate) fn check_splits(&mut self, at: usize, life: u64) -> Result<(), Wrong> {
        self.plan_by_own_clock(self.shape.store.split.check_interval, at, life, Due::SplitCheck);
        let splits = !self.moves.are_over && !self.has_all_regions();
        self.run(at, true, |running, _| {
            running.questions.forget(running.life.cell.now());
            if splits {
                running.stepper.run_split_check();
            }
        })
    }

    /// A store's checker wants ids.
    pub(crate) fn want_ids(&mut self, at: usize, wanted: IdsWanted, after: Duration) {
        let now = self.local_now(at);
        let store = self.nodes[at].store;
        let Some(running) = self.nodes[at].running_mut() else { return };
        let IdsWanted { region, count, responder } = wanted;
        let questions = &mut running.questions;
        if questions.open.len() >= MOST_OPEN {
            return responder.respond(None);
        }
        questions.asked += 1;
        questions.open.insert(questions.asked, (now, responder));
        let (number, life) = (questions.asked, running.life.number);
        let region = Box::new(region);
        self.tell_coordinator(at, life, after, ToCoordinator::SplitIds { store, number, region, count: count as u32 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_runs_split_by_each_reason_and_some_by_none() {
        let drawn: Vec<SplitConfig> = (0..64).map(|seed| draw(&mut Dice::fork(seed, "splitting", 0))).collect();
        let count = |holds: fn(&SplitConfig) -> bool| drawn.iter().filter(|config| holds(config)).count();
        assert!(count(|config| config.max_region_bytes > 0) > 4);
        assert!(count(|config| config.max_region_keys > 0) > 4);
        assert!(count(|config| config.busy_requests_per_second > 0) > 4);
        assert!(count(|config| *config == SplitConfig::default().never()) > 4);
    }
}
