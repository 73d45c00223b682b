//! How a store comes to be a member of its cluster: at its first start and at every other.

use std::path::Path;
use std::time::Duration;

use client::PdClient;
use engine::StoreIdent;
use proto::metapb;
use slog::{Logger, info};
use store::Engines;
use types::RegionDescriptor;

use super::error::NodeError;
use super::{founding, intent};

/// How long a fresh store waits before it asks again for its first regions.
const LAYOUT_PAUSE: Duration = Duration::from_millis(100);

/// Questions between two lines in the log.
const LAYOUT_QUESTIONS_PER_LINE: u32 = 100;

/// The store as the placement driver shall know it, with the id of `ident`.
pub(super) struct Description {
    /// All but the id.
    pub(super) store: metapb::Store,
}

impl Description {
    fn of(&self, ident: StoreIdent) -> metapb::Store {
        metapb::Store { id: ident.store.0, ..self.store.clone() }
    }
}

/// Makes the store a member: gives an empty one its identity and its first regions, and registers it.
///
/// Safe to be interrupted anywhere: the id and the instance are written down before the placement driver hears of
/// them, and what was told is told again.
pub(super) async fn join(
    data_dir: &Path,
    engines: &Engines,
    pd: &PdClient,
    description: &Description,
    logger: &Logger,
) -> Result<StoreIdent, NodeError> {
    let made = store::bootstrapped(engines)?;
    let ident = match made {
        Some(ident) => ident,
        None => intend(data_dir, pd).await?,
    };
    if ident.cluster != pd.cluster_id() {
        let (found, expected) = (ident.cluster.0, pd.cluster_id().0);
        return Err(NodeError::OtherCluster { data_dir: data_dir.display().to_string(), found, expected });
    }
    fail_point!("join-intended");
    let store = description.of(ident);
    let first = if made.is_none() {
        founding::register(data_dir, pd, ident, &store, logger).await?
    } else {
        pd.put_store(&store).await?;
        None
    };
    fail_point!("join-registered");
    if made.is_none() {
        let regions = match first {
            Some(first) => vec![first],
            None => first_regions(pd, ident, logger).await?,
        };
        bootstrap(engines, ident, regions, logger).await?;
    }
    fail_point!("join-bootstrapped");
    if intent::read(data_dir)?.is_some() {
        confirm(pd, ident).await?;
        fail_point!("join-confirmed");
        intent::remove(data_dir)?;
        fail_point!("join-intent-removed");
    }
    Ok(ident)
}

/// Who this store will be: what it set out to be before a crash, or somebody new.
async fn intend(data_dir: &Path, pd: &PdClient) -> Result<StoreIdent, NodeError> {
    if let Some(ident) = intent::read(data_dir)? {
        return Ok(ident);
    }
    let ident = StoreIdent {
        cluster: pd.cluster_id(),
        store: pd.alloc_id().await?.into(),
        instance: runtime::clock::entropy_seed().into(),
    };
    fail_point!("join-id-given");
    intent::write(data_dir, ident)?;
    Ok(ident)
}

/// The regions that our coordinator gives a fresh store. Another placement driver gives none: it moves some here once the
/// store serves.
async fn first_regions(pd: &PdClient, ident: StoreIdent, logger: &Logger) -> Result<Vec<RegionDescriptor>, NodeError> {
    let mut asked = 0;
    loop {
        match pd.get_layout(ident.store, ident.instance).await {
            Ok(Some(regions)) => return Ok(regions),
            Ok(None) => {}
            Err(error) if error.is_unimplemented() => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        if asked % LAYOUT_QUESTIONS_PER_LINE == 0 {
            info!(logger, "waiting for enough stores to join the cluster"; "store_id" => ident.store.0);
        }
        asked += 1;
        tokio::time::sleep(LAYOUT_PAUSE).await;
    }
}

async fn bootstrap(
    engines: &Engines,
    ident: StoreIdent,
    regions: Vec<RegionDescriptor>,
    logger: &Logger,
) -> Result<(), NodeError> {
    info!(logger, "the store gets its first regions"; "store_id" => ident.store.0, "regions" => regions.len());
    let engines = engines.clone();
    let made = tokio::task::spawn_blocking(move || store::bootstrap(&engines, ident, &regions));
    made.await.expect("a bootstrap does not panic")?;
    Ok(())
}

/// Tells our coordinator that the store is made. Another placement driver need not know.
async fn confirm(pd: &PdClient, ident: StoreIdent) -> Result<(), NodeError> {
    match pd.confirm_bootstrap(ident.store, ident.instance).await {
        Err(error) if !error.is_unimplemented() => Err(error.into()),
        _ => Ok(()),
    }
}
