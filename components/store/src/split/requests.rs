//! What a store's handle offers for splitting.

use std::sync::Arc;

use bytes::Bytes;
use region::SplitResponder;
use slog::debug;
use types::reserved::{BEHIND_RESERVED, RESERVED_FAMILY, RESERVED_KEY};
use types::{
    KeyRange, NewRegion, RegionDescriptor, RegionEpoch, RegionId, RequestError, RequestHeader, Responder, SplitPlan,
    WriteResponder,
};

use super::flow::RegionFlow;
use super::ids::{SplitIds, SplitIdsAnswer};
use super::size::RegionSize;
use crate::handle::StoreHandle;

impl StoreHandle {
    /// Says who hands out ids for new regions. Until then the store splits nothing by itself, and refuses
    /// [`split_at`](Self::split_at).
    pub fn attach_split_ids(&self, ids: Arc<dyn SplitIds>) {
        self.shared.splits.attach(ids);
    }

    /// Cuts a region at keys, under ids that the store asks for by itself. Only on the leader's store, under the epoch for
    /// which the keys were chosen.
    ///
    /// Keys come in any order. Those at which the region begins or ends are cut already, and count as done. The answer has
    /// the regions behind the split in the order of their keys. It is `KeyNotInRegion` for a key that lies elsewhere,
    /// `ServerIsBusy` when there are no ids now; otherwise as [`split`](Self::split) answers.
    pub fn split_at(&self, region: RegionId, epoch: RegionEpoch, mut keys: Vec<Bytes>, responder: SplitResponder) {
        let Some(view) = self.region(region) else {
            return responder.respond(Err(RequestError::RegionNotFound { region }));
        };
        let descriptor = view.descriptor;
        if descriptor.epoch != epoch {
            let current = vec![(*descriptor).clone()];
            return responder.respond(Err(RequestError::EpochNotMatch { region, current }));
        }
        let range = &descriptor.range;
        keys.retain(|key| *key != range.start && *key != range.end);
        keys.sort_unstable();
        keys.dedup();
        if let Some(key) = keys.iter().find(|key| !range.contains(key)) {
            let (key, range) = (key.clone(), range.clone());
            return responder.respond(Err(RequestError::KeyNotInRegion { key, region, range }));
        }
        if keys.is_empty() {
            return responder.respond(Ok(vec![(*descriptor).clone()]));
        }
        let Some(ids) = self.shared.splits.ids() else {
            let reason = "this store is given no ids for new regions: split where ids are handed out".to_owned();
            return responder.respond(Err(RequestError::Invalid { reason }));
        };
        self.cut(&*ids, &descriptor, keys, responder);
    }

    /// Asks for ids, and proposes the split when they come.
    pub(super) fn cut(
        &self,
        ids: &dyn SplitIds,
        region: &RegionDescriptor,
        keys: Vec<Bytes>,
        responder: SplitResponder,
    ) {
        let (count, id, epoch) = (keys.len(), region.id, region.epoch);
        debug!(self.shared.around.logger, "ids asked for"; "region" => id.0, "keys" => count);
        // Whoever hands out ids may keep the responder for long: it must not keep the store open.
        let store = self.downgrade();
        let answer = Responder::new(move |ids: Option<SplitIdsAnswer>| {
            let busy = |reason| Err(RequestError::ServerIsBusy { reason });
            match (store.upgrade(), ids) {
                (Some(store), Some(ids)) if ids.len() == count => {
                    let new = |(key, ids): (Bytes, super::ids::RegionIds)| NewRegion {
                        key,
                        id: ids.region,
                        peers: ids.peers,
                    };
                    let regions = keys.into_iter().zip(ids).map(new).collect();
                    store.split(id, epoch, SplitPlan { regions, right_derive: true }, responder);
                }
                (Some(_), Some(_)) => responder.respond(busy("as many ids as new regions were asked for, others came")),
                (Some(_), None) => responder.respond(busy("there are no ids for new regions now")),
                (None, _) => responder.respond(busy("the store is stopped")),
            }
        });
        ids.ask(region, count, answer);
    }

    /// Swaps what the store itself keeps under the [reserved key](types::reserved), if it is what is expected. Only the region that begins at the start of the key space has it. Answers like
    /// [`write`](Self::write).
    pub fn swap_reserved(
        &self,
        header: RequestHeader,
        expected: Option<Bytes>,
        value: Bytes,
        responder: WriteResponder,
    ) {
        let command = apply::build::compare_and_swap(RESERVED_FAMILY, RESERVED_KEY, expected, Some(value));
        self.propose(header, command, KeyRange { start: RESERVED_KEY, end: BEHIND_RESERVED }, responder);
    }

    /// Notes that a request read a region: which range it was about, and the keys and the bytes that it found. What the store
    /// does not know of, it cannot see as load: whoever serves reads from its snapshots tells it.
    pub fn note_read(&self, region: RegionId, range: &KeyRange, keys: u64, bytes: u64) {
        self.shared.splits.flows.note_read(region, range, keys, bytes);
    }

    /// What passed through a region on this store; nothing when none of it was counted yet.
    pub fn region_flow(&self, region: RegionId) -> Option<RegionFlow> {
        self.shared.splits.flows.get(region).map(|counters| counters.flow())
    }

    /// About how much a region holds, as it was when the store measured it last. Measured is what the store leads: `None`
    /// says that it does not know yet.
    pub fn region_size(&self, region: RegionId) -> Option<RegionSize> {
        self.shared.splits.flows.get(region).and_then(|counters| counters.size())
    }
}
