//! Splitting a region at given keys.

use std::sync::Arc;

use bytes::Bytes;
use slog::{Logger, info};
use store::StoreHandle;
use types::{RegionDescriptor, RequestError, limits};

use super::ask::ask;

/// Most keys of one request.
const MAX_KEYS: usize = 4096;

/// Most regions that one command makes: each costs its store a record and a peer, all in one round.
const REGIONS_PER_COMMAND: usize = 64;

/// Hears of the regions that a split made. Must not block.
pub trait SplitReports: Send + Sync + 'static {
    /// There are these now, in the order of their keys.
    fn made(&self, regions: Vec<RegionDescriptor>);
}

/// Splits the store's regions; cheap to clone.
#[derive(Clone)]
pub struct Splits {
    store: StoreHandle,
    reports: Arc<dyn SplitReports>,
    logger: Logger,
}

impl Splits {
    /// Splits regions of `store`, which has been given someone who hands out ids.
    pub fn new(store: StoreHandle, reports: Arc<dyn SplitReports>, logger: Logger) -> Self {
        Self { store, reports, logger }
    }

    /// Splits a region that this store leads at keys, in whatever order they come. `region` is what its range and epoch are
    /// believed to be. Returns the regions that there are then, in the order of their keys; the region itself alone, when it
    /// begins at the only key.
    ///
    /// # Errors
    /// The store's. With very many keys, a part of them may have been split at before it.
    pub async fn split(
        &self,
        region: &RegionDescriptor,
        keys: Vec<Bytes>,
    ) -> Result<Vec<RegionDescriptor>, RequestError> {
        let keys = ordered(region, keys)?;
        let (mut made, mut rest) = (Vec::new(), region.clone());
        for keys in keys.chunks(REGIONS_PER_COMMAND) {
            let regions = ask(|responder| self.store.split_at(rest.id, rest.epoch, keys.to_vec(), responder)).await?;
            // It keeps the rightmost part, where the next keys are.
            let (derived, children): (Vec<_>, Vec<_>) = regions.into_iter().partition(|made| made.id == region.id);
            made.extend(children);
            rest = derived.into_iter().next().unwrap_or(rest);
        }
        made.push(rest);
        if made.len() > 1 {
            let ids: Vec<u64> = made.iter().map(|region| region.id.0).collect();
            info!(self.logger, "region split on request"; "region_id" => region.id.0, "regions" => ?ids);
            self.reports.made(made.clone());
        }
        Ok(made)
    }
}

/// The keys, ascending, if all of them are the region's.
fn ordered(region: &RegionDescriptor, mut keys: Vec<Bytes>) -> Result<Vec<Bytes>, RequestError> {
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
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use types::{KeyRange, Peer, RegionEpoch};

    use super::*;

    fn order(keys: &[&'static str]) -> Result<Vec<Bytes>, RequestError> {
        let region = RegionDescriptor {
            id: 1.into(),
            range: KeyRange::new("d", "m"),
            epoch: RegionEpoch { conf_ver: 1, version: 1 },
            peers: vec![Peer::voter(2.into(), 1.into())],
        };
        ordered(&region, keys.iter().map(|key| Bytes::from_static(key.as_bytes())).collect())
    }

    #[test]
    fn keys_are_put_in_order_and_taken_once() {
        assert_eq!(order(&["k", "e", "k", "f"]), Ok(vec!["e".into(), "f".into(), "k".into()]));
    }

    #[test]
    fn keys_of_others_are_refused_before_anything_happens() {
        for outside in ["c", "m", "z", ""] {
            assert!(matches!(order(&["e", outside]), Err(RequestError::KeyNotInRegion { .. })), "{outside:?}");
        }
        assert!(matches!(order(&[]), Err(RequestError::Invalid { .. })));
        assert!(matches!(order(&["e"; MAX_KEYS + 1]), Err(RequestError::Invalid { .. })));
    }
}
