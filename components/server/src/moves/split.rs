//! Splitting a region at given keys.

use std::sync::Arc;

use bytes::Bytes;
use client::{NewRegionIds, PdClient, SplitReason};
use futures::FutureExt;
use futures::future::BoxFuture;
use slog::{Logger, debug, info};
use store::StoreHandle;
use types::{NewRegion, RegionDescriptor, RequestError, SplitPlan, limits};

use super::ask::ask;

/// Most keys of one request.
const MAX_KEYS: usize = 4096;

/// Most regions that one command makes: each costs its store a record and a peer, all in one round.
const REGIONS_PER_COMMAND: usize = 64;

/// The parent keeps the rightmost part, as TiKV's does: where keys ascend in time, the region that is written to goes on as
/// it is.
const RIGHT_DERIVE: bool = true;

/// There are no ids for new regions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no ids for new regions: {0}")]
pub struct IdsError(pub String);

/// Where the ids of new regions come from.
pub trait IdSource: Send + Sync + 'static {
    /// Ids for so many new regions, which a split of `region` makes.
    fn take(
        &self,
        region: RegionDescriptor,
        count: u32,
        reason: SplitReason,
    ) -> BoxFuture<'static, Result<Vec<NewRegionIds>, IdsError>>;

    /// Hears of the regions that a split made, in the order of their keys.
    fn made(&self, regions: Vec<RegionDescriptor>) -> BoxFuture<'static, Result<(), IdsError>>;
}

impl IdSource for PdClient {
    fn take(
        &self,
        region: RegionDescriptor,
        count: u32,
        reason: SplitReason,
    ) -> BoxFuture<'static, Result<Vec<NewRegionIds>, IdsError>> {
        let pd = self.clone();
        async move { pd.ask_batch_split(&region, count, reason).await.map_err(|error| IdsError(error.to_string())) }
            .boxed()
    }

    fn made(&self, regions: Vec<RegionDescriptor>) -> BoxFuture<'static, Result<(), IdsError>> {
        let pd = self.clone();
        async move { pd.report_batch_split(&regions).await.map_err(|error| IdsError(error.to_string())) }.boxed()
    }
}

/// Why a region was not split, or not at all of its keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The region refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The new regions got no ids: ask again later.
    #[error(transparent)]
    Ids(#[from] IdsError),
}

/// Splits the store's regions; cheap to clone.
#[derive(Clone)]
pub struct Splits {
    store: StoreHandle,
    ids: Arc<dyn IdSource>,
    logger: Logger,
}

impl Splits {
    /// Splits regions of `store`; new ones are called as `ids` says.
    pub fn new(store: StoreHandle, ids: Arc<dyn IdSource>, logger: Logger) -> Self {
        Self { store, ids, logger }
    }

    /// Splits a region that this store leads at keys, in whatever order they come. `region` is what its range and epoch are
    /// believed to be. Returns the regions that there are then, in the order of their keys; the region itself alone, when it
    /// begins at the only key.
    ///
    /// # Errors
    /// [`SplitError`]. With very many keys, a part of them may have been split at before it.
    pub async fn split(
        &self,
        region: &RegionDescriptor,
        keys: Vec<Bytes>,
        reason: SplitReason,
    ) -> Result<Vec<RegionDescriptor>, SplitError> {
        let keys = cuts(region, keys)?;
        let (mut made, mut rest) = (Vec::new(), region.clone());
        for keys in keys.chunks(REGIONS_PER_COMMAND) {
            let regions = self.split_once(&rest, keys, reason).await?;
            let (derived, children): (Vec<_>, Vec<_>) = regions.into_iter().partition(|made| made.id == region.id);
            made.extend(children);
            rest = derived.into_iter().next().unwrap_or(rest);
        }
        made.push(rest);
        if made.len() > 1 {
            self.report(made.clone()).await;
        }
        Ok(made)
    }

    async fn split_once(
        &self,
        region: &RegionDescriptor,
        keys: &[Bytes],
        reason: SplitReason,
    ) -> Result<Vec<RegionDescriptor>, SplitError> {
        let ids = self.ids.take(region.clone(), keys.len() as u32, reason).await?;
        let new = |(key, ids): (&Bytes, NewRegionIds)| NewRegion { key: key.clone(), id: ids.region, peers: ids.peers };
        let plan = SplitPlan { regions: keys.iter().zip(ids).map(new).collect(), right_derive: RIGHT_DERIVE };
        let regions = ask(|responder| self.store.split(region.id, region.epoch, plan, responder)).await?;
        let ids: Vec<u64> = regions.iter().map(|region| region.id.0).collect();
        info!(self.logger, "region split"; "region_id" => region.id.0, "regions" => ?ids);
        Ok(regions)
    }

    async fn report(&self, regions: Vec<RegionDescriptor>) {
        if let Err(error) = self.ids.made(regions).await {
            debug!(self.logger, "a split is not reported, heartbeats will tell"; "reason" => %error);
        }
    }
}

/// The keys at which to cut, ascending. Where the region begins, it is cut already.
fn cuts(region: &RegionDescriptor, mut keys: Vec<Bytes>) -> Result<Vec<Bytes>, RequestError> {
    let invalid = |reason: String| Err(RequestError::Invalid { reason });
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return invalid(format!("{} keys to split at: give 1 to {MAX_KEYS}", keys.len()));
    }
    if let Some(long) = keys.iter().find(|key| key.len() > limits::MAX_KEY_BYTES) {
        let (length, limit) = (long.len(), limits::MAX_KEY_BYTES);
        return invalid(format!("a key of {length} bytes is longer than the limit of {limit}"));
    }
    if let Some(key) = keys.iter().find(|key| !region.range.contains(key)) {
        let (key, range) = (key.clone(), region.range.clone());
        return Err(RequestError::KeyNotInRegion { key, region: region.id, range });
    }
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| *key != region.range.start);
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use types::{KeyRange, Peer, RegionEpoch};

    use super::*;

    fn cut(keys: &[&'static str]) -> Result<Vec<Bytes>, RequestError> {
        let region = RegionDescriptor {
            id: 1.into(),
            range: KeyRange::new("d", "m"),
            epoch: RegionEpoch { conf_ver: 1, version: 1 },
            peers: vec![Peer::voter(2.into(), 1.into())],
        };
        cuts(&region, keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect())
    }

    #[test]
    fn keys_are_put_in_order_and_taken_once() {
        assert_eq!(cut(&["k", "e", "k", "f"]), Ok(vec!["e".into(), "f".into(), "k".into()]));
        assert_eq!(cut(&["d"]), Ok(vec![]), "the region begins there already");
        assert_eq!(cut(&["d", "e"]), Ok(vec!["e".into()]));
    }

    #[test]
    fn keys_of_others_are_refused() {
        for outside in ["c", "m", "z", ""] {
            assert!(matches!(cut(&["e", outside]), Err(RequestError::KeyNotInRegion { .. })), "{outside:?}");
        }
        assert!(matches!(cut(&[]), Err(RequestError::Invalid { .. })));
        assert!(matches!(cut(&["e"; MAX_KEYS + 1]), Err(RequestError::Invalid { .. })));
    }
}
