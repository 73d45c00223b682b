//! Regions that split by themselves: when, where, and under which ids (raftstore-rules §5).
//!
//! What passes through a region is counted on its way ([`flow`]). Every now and then the checker walks over the
//! regions that the store leads. One that was written to enough since the last look is measured by the engine's own
//! estimates, and cut when it is too large or has too many keys ([`size`]). One that is asked for too much is cut where the
//! requests of late part into two halves (`load`), if there is such a place. The keys wait for ids from whoever hands
//! them out ([`ids`]), and are then proposed under the epoch for which they were chosen: a region that changed meanwhile
//! refuses them, and is looked at again.
//!
//! Nothing here reads a region through, and nothing waits: a look costs a few dozen seeks, and one pass makes a bounded
//! number of looks.
//!
//! Reading order: [`config`], [`flow`], `samples`, [`size`], `load`, [`ids`], `checker`, `requests`.

pub(crate) mod checker;
pub mod config;
pub mod flow;
pub mod ids;
pub(crate) mod load;
mod requests;
pub(crate) mod samples;
pub mod size;

use std::sync::Arc;

use parking_lot::RwLock;
use types::seed::Seed;

use self::flow::Flows;
use self::ids::SplitIds;

/// What a store keeps for splitting its regions.
pub(crate) struct Splits {
    pub(crate) flows: Flows,
    ids: RwLock<Option<Arc<dyn SplitIds>>>,
}

impl Splits {
    /// Nothing was counted yet, and nobody hands out ids. What is sampled is drawn from `seed`.
    pub(crate) fn new(seed: Seed) -> Self {
        Self { flows: Flows::new(seed), ids: RwLock::new(None) }
    }

    /// Who hands out ids, if anybody does.
    pub(crate) fn ids(&self) -> Option<Arc<dyn SplitIds>> {
        self.ids.read().clone()
    }

    pub(crate) fn attach(&self, ids: Arc<dyn SplitIds>) {
        *self.ids.write() = Some(ids);
    }
}
