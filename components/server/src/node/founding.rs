//! The first region of a cluster whose placement driver leaves it to its stores, as the real pd-server does (wire.md B).
//!
//! The first store to say so makes a region of all keys with itself as the only member; the others join empty, and the
//! placement driver fills them. What the region shall be is written down before the placement driver hears of it: a store
//! that dies in between finds out at its next start whether it was the first.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use client::{PdClient, PdError};
use engine::StoreIdent;
use proto::metapb;
use proto::pdpb::ErrorType;
use slog::{Logger, info};
use types::{KeyRange, Peer, RegionDescriptor, RegionEpoch};

use super::error::NodeError;
use super::intent;

/// How long a store waits before it tries again, when the placement driver does not know who was first.
const PAUSE: Duration = Duration::from_millis(250);

/// How often it tries.
const ATTEMPTS: u32 = 240;

/// Registers a store that is not made yet, and gives the cluster its first region if it has none and is to get it from
/// its stores. Returns that region when it is this store's.
///
/// # Errors
/// See [`NodeError`].
pub(super) async fn register(
    data_dir: &Path,
    pd: &PdClient,
    ident: StoreIdent,
    store: &metapb::Store,
    logger: &Logger,
) -> Result<Option<RegionDescriptor>, NodeError> {
    let wanted = match intent::read_first(data_dir)? {
        Some(wanted) => wanted,
        None => match pd.put_store(store).await {
            Ok(()) => return Ok(None),
            Err(PdError::Refused { kind: ErrorType::NotBootstrapped, .. }) => intend(data_dir, pd, ident).await?,
            Err(error) => return Err(error.into()),
        },
    };
    let is_first = found(pd, store, &wanted).await?;
    info!(logger, "the cluster has its first region"; "store_id" => ident.store.0, "is_ours" => is_first);
    if !is_first {
        intent::remove_first(data_dir)?;
    }
    pd.put_store(store).await?;
    Ok(is_first.then_some(wanted))
}

/// Writes down what the first region will be, if this store is the first.
async fn intend(data_dir: &Path, pd: &PdClient, ident: StoreIdent) -> Result<RegionDescriptor, NodeError> {
    let (region, peer) = (pd.alloc_id().await?, pd.alloc_id().await?);
    let wanted = RegionDescriptor {
        id: region.into(),
        range: KeyRange::all(),
        epoch: RegionEpoch::INITIAL,
        peers: vec![Peer::voter(peer.into(), ident.store)],
    };
    intent::write_first(data_dir, &wanted)?;
    Ok(wanted)
}

/// Whether the cluster's first region is the one that is wanted, which it becomes if there is none.
async fn found(pd: &PdClient, store: &metapb::Store, wanted: &RegionDescriptor) -> Result<bool, NodeError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let refused = match pd.bootstrap(store, wanted).await {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        match &refused {
            // Who died behind an attempt that succeeded learns so from its own region. A leader that has just begun may
            // not know the regions yet.
            PdError::Refused { kind: ErrorType::AlreadyBootstrapped, .. } => match pd.get_region(&Bytes::new()).await {
                Ok(Some(first)) => return Ok(first.descriptor.id == wanted.id),
                Ok(None) | Err(PdError::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            },
            // Another store's attempt came at the very same moment.
            PdError::Refused { kind: ErrorType::Unknown, .. } if attempt < ATTEMPTS => {}
            _ => return Err(refused.into()),
        }
        if attempt >= ATTEMPTS {
            return Err(refused.into());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
