//! Looks over the regions that the store leads, and begins the splits that are due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use observe::metrics::store::SplitCause;
use region::Role;
use slog::{debug, info};
use types::{Instant, RegionDescriptor, RegionId, RequestError, Responder};

use super::flow::{Counters, RegionFlow};
use super::size::RegionSize;
use super::{ids::SplitIds, load};
use crate::error::StoreError;
use crate::handle::{RegionView, StoreHandle, StoreState};
use crate::shared::Shared;

/// Most regions that one pass measures.
const MAX_LOOKS: usize = 256;

/// Most regions for which one pass looks for keys to cut at.
const MAX_CUTS: usize = 16;

/// What is known of a region that the store leads.
struct Watch {
    /// What had passed when it was measured; `None` before it was.
    measured: Option<RegionFlow>,
    /// When the last pass was, and what had passed by then.
    seen: (Instant, RegionFlow),
    /// How many times one after the other it was busy.
    busy: u32,
}

/// What a pass may still do.
struct Budget {
    looks: usize,
    cuts: usize,
}

/// One pass after the other over the regions that the store leads.
pub(crate) struct SplitChecker {
    watches: BTreeMap<RegionId, Watch>,
    /// Where the next pass begins: behind the last region that was measured, so that each gets its turn.
    cursor: RegionId,
}

impl SplitChecker {
    pub(crate) fn new() -> Self {
        Self { watches: BTreeMap::new(), cursor: RegionId(0) }
    }

    /// One pass. Bounded: what it does not get to waits for the next one.
    ///
    /// # Errors
    /// The state engine's.
    pub(crate) fn run(&mut self, shared: &Arc<Shared>, now: Instant) -> Result<(), StoreError> {
        if !matches!(shared.status.get(), StoreState::Starting | StoreState::Serving) {
            return Ok(());
        }
        let views = shared.table.all();
        shared.splits.flows.keep(&views.iter().map(|view| view.descriptor.id).collect());
        let led: BTreeMap<RegionId, RegionView> =
            views.into_iter().filter(|view| view.role == Role::Leader).map(|view| (view.descriptor.id, view)).collect();
        self.watches.retain(|region, _| led.contains_key(region));
        let turn: BTreeSet<(bool, RegionId)> = led.keys().map(|region| (*region <= self.cursor, *region)).collect();
        let mut budget = Budget { looks: MAX_LOOKS, cuts: MAX_CUTS };
        for (_, region) in turn {
            self.check(shared, &led[&region].descriptor, now, &mut budget)?;
        }
        Ok(())
    }

    fn check(
        &mut self,
        shared: &Arc<Shared>,
        region: &RegionDescriptor,
        now: Instant,
        budget: &mut Budget,
    ) -> Result<(), StoreError> {
        let counters = shared.splits.flows.open(region.id);
        let (config, flow, samples) = (&shared.config.split, counters.flow(), counters.take_samples());
        let watch = self.watches.entry(region.id).or_insert(Watch { measured: None, seen: (now, flow), busy: 0 });
        let (time, passed) = (now.since(watch.seen.0), flow.since(watch.seen.1));
        watch.seen = (now, flow);
        if counters.is_splitting(now) {
            return Ok(());
        }
        if counters.take_ended() {
            (watch.measured, watch.busy) = (None, 0);
        }
        let ids = shared.splits.ids();
        if watch.measured.is_none_or(|then| config.is_due(flow.since(then))) && budget.looks > 0 {
            budget.looks -= 1;
            self.cursor = region.id;
            let size = measure(shared, region)?;
            counters.set_size(size);
            let part_bytes = ids.as_ref().and_then(|_| config.part_bytes(size));
            if part_bytes.is_some() && budget.cuts == 0 {
                // Its turn comes with the next pass: as if it had not been looked at.
                return Ok(());
            }
            watch.measured = Some(flow);
            if let (Some(part_bytes), Some(ids)) = (part_bytes, &ids) {
                budget.cuts -= 1;
                let most = config.keys_per_split.max(1);
                let keys = engine::split::split_keys(&*shared.engines.state, &region.range, part_bytes, most)?;
                if !keys.is_empty() {
                    begin(shared, &**ids, counters, region, keys, SplitCause::Size);
                    return Ok(());
                }
            }
        }
        watch.busy = if config.is_busy(passed, time) && !time.is_zero() { watch.busy + 1 } else { 0 };
        if let Some(ids) = ids
            && watch.busy >= config.busy_checks.max(1)
            && let Some(key) = load::split_key(&region.range, &samples)
        {
            begin(shared, &*ids, counters, region, vec![key], SplitCause::Load);
        }
        Ok(())
    }
}

fn measure(shared: &Shared, region: &RegionDescriptor) -> Result<RegionSize, StoreError> {
    let state = &shared.engines.state;
    let size =
        RegionSize { bytes: state.approximate_bytes(&region.range)?, keys: state.approximate_keys(&region.range)? };
    debug!(shared.around.logger, "region measured"; "region" => region.id.0, "bytes" => size.bytes, "keys" => size.keys);
    Ok(size)
}

fn begin(
    shared: &Arc<Shared>,
    ids: &dyn SplitIds,
    counters: Arc<Counters>,
    region: &RegionDescriptor,
    keys: Vec<Bytes>,
    cause: SplitCause,
) {
    let around = &shared.around;
    info!(around.logger, "region is to be split"; "region" => region.id.0, "cause" => ?cause, "keys" => keys.len());
    counters.begin_split(around.clock.now());
    let (metrics, logger, id) = (Arc::clone(&around.metrics), around.logger.clone(), region.id.0);
    let done = Responder::new(move |result: Result<Vec<RegionDescriptor>, RequestError>| {
        counters.end_split();
        match result {
            Ok(_) => metrics.splits[cause].inc(),
            // It is looked at again with the next pass: whatever hindered it may be over then.
            Err(error) => info!(logger, "region was not split"; "region" => id, "reason" => %error),
        }
    });
    StoreHandle::new(Arc::clone(shared)).cut(ids, region, keys, done);
}
