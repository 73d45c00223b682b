//! How the emptying of a store stands.

use std::collections::BTreeMap;

use types::{Instant, PeerId, StoreId};

use crate::candidates::Scene;
use crate::checker::{self, Verdict};
use crate::machine::Placement;
use crate::obstacle::Obstacle;
use crate::region::RegionState;

/// Most regions that are looked at for one answer: what holds up so many holds up the others, too.
pub const MAX_LOOKS: usize = 1024;

/// How the emptying of a store stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// Regions that have a peer there.
    pub regions: u64,
    /// Those that have an operator, among the first [`MAX_LOOKS`].
    pub moving: u64,
    /// Those that wait, by what for, among the first [`MAX_LOOKS`].
    pub waiting: BTreeMap<Obstacle, u64>,
}

impl Drain {
    /// Whether nothing moves, though something should.
    pub fn is_stalled(&self) -> bool {
        self.moving == 0 && !self.waiting.is_empty()
    }

    /// What most of the regions that wait are waiting for.
    pub fn main_obstacle(&self) -> Option<Obstacle> {
        self.waiting.iter().max_by_key(|(_, regions)| **regions).map(|(obstacle, _)| *obstacle)
    }
}

impl Placement {
    /// How the emptying of a store stands that was told to leave. Changes nothing: asks the checkers what they would do.
    pub fn drain(&self, now: Instant, store: StoreId) -> Drain {
        let mut drain = Drain { regions: self.cluster().counts(store).regions, ..Drain::default() };
        for id in self.cluster().regions_on(store).take(MAX_LOOKS) {
            let Some(region) = self.cluster().region(id) else { continue };
            if self.operator(id).is_some() {
                drain.moving += 1;
            } else if let Some(obstacle) = self.obstacle(now, region) {
                *drain.waiting.entry(obstacle).or_default() += 1;
            }
        }
        drain
    }

    /// What keeps the checkers from a region that has no operator; nothing when they have nothing to do, or are about to.
    fn obstacle(&self, now: Instant, region: &RegionState) -> Option<Obstacle> {
        let idle = [(self.config().halt_scheduling, Obstacle::Halted), (!self.is_prepared(), Obstacle::Unprepared)];
        if let Some((_, obstacle)) = idle.into_iter().find(|(is_so, _)| *is_so) {
            return Some(obstacle);
        }
        let scene = Scene { config: self.config(), now, cluster: self.cluster(), controller: self.controller() };
        // What they would do is not done: the id is nobody's.
        match checker::check(scene, region, &mut || Some(PeerId(u64::MAX))) {
            Verdict::Waits(obstacle) => Some(obstacle),
            Verdict::Fine | Verdict::Act(_) => None,
        }
    }
}
