//! A store's first start: its identity and its first regions, safe to crash at each step (D14).
//!
//! The order is: one batch of the state engine, a fence, one synced batch of the log engine that ends with the ident.
//! Whoever finds no ident in the log engine begins again; whoever finds it has everything.

use engine::{
    ApplyState, Birth, Durability, Family, HardState, IterRange, Lifecycle, LogBatch, LogOp, StateBatch, StoreIdent,
    WriterId, meta,
};
use types::limits::{INITIAL_LOG_INDEX, INITIAL_LOG_TERM};
use types::{KeyRange, LogIndex, PeerId, PlantedBug, PlantedBugs, RegionDescriptor, Round, StoreId, Term};

use crate::error::StoreError;
use crate::recovery::read_round;
use crate::shared::Engines;
use crate::upkeep::fence;

/// Whether the store was bootstrapped, and as whom.
///
/// # Errors
/// The log engine's.
pub fn bootstrapped(engines: &Engines) -> Result<Option<StoreIdent>, StoreError> {
    Ok(engines.log.ident()?)
}

/// Gives an empty store its identity and its first regions; each region must have a peer on this store.
///
/// `ident.instance` must be drawn at random for this call. Durable when it returns. Crashing in it leaves a store that
/// is not bootstrapped; calling it again is then right, also with other regions.
///
/// # Errors
/// [`StoreError::Ident`] when the store is bootstrapped already, or when its state engine holds data that no bootstrap
/// left: then the log directory is missing, and starting anew would forget what the store had promised.
pub fn bootstrap(engines: &Engines, ident: StoreIdent, regions: &[RegionDescriptor]) -> Result<(), StoreError> {
    bootstrap_planting(engines, ident, regions, PlantedBugs::NONE)
}

/// [`bootstrap`] with planted bugs, for the simulator.
///
/// # Errors
/// As [`bootstrap`].
pub fn bootstrap_planting(
    engines: &Engines,
    ident: StoreIdent,
    regions: &[RegionDescriptor],
    planted: PlantedBugs,
) -> Result<(), StoreError> {
    if let Some(found) = engines.log.ident()? {
        let cause = format!("the store is bootstrapped already, as store {} of cluster {}", found.store, found.cluster);
        return Err(StoreError::Ident { cause });
    }
    let peers = own_peers(ident.store, regions)?;
    refuse_foreign_state(engines)?;
    let round = write_state(engines, ident, regions)?;
    fail_point!("bootstrap-state-written");
    if !planted.has(PlantedBug::BootstrapUnfenced) {
        fence(&*engines.state, &[(WriterId::Bootstrap, round)])?;
    }
    fail_point!("bootstrap-fenced");
    engines.log.write(log_batch(ident, regions, &peers), Durability::Synced)?;
    fail_point!("bootstrap-log-written");
    Ok(())
}

fn own_peers(store: StoreId, regions: &[RegionDescriptor]) -> Result<Vec<PeerId>, StoreError> {
    let peer = |region: &RegionDescriptor| {
        let cause = || StoreError::Restore {
            region: region.id,
            cause: format!("the layout gives it no peer on store {store}"),
        };
        region.peer_on(store).map(|peer| peer.id).ok_or_else(cause)
    };
    regions.iter().map(peer).collect()
}

/// Without an ident in L, S may hold nothing but what an interrupted bootstrap left.
fn refuse_foreign_state(engines: &Engines) -> Result<(), StoreError> {
    let used = |cause: String| Err(StoreError::Ident { cause });
    for region in meta::read_regions(&*engines.state)? {
        if region.apply_state != initial_apply_state() {
            let id = region.descriptor.id;
            return used(format!("the log directory is empty, but the state directory holds data of region {id}"));
        }
    }
    for family in Family::ALL.into_iter().filter(|family| *family != Family::Meta) {
        let mut iter = engines.state.iter(family, IterRange::new(KeyRange::all()))?;
        if iter.seek_to_first()? {
            return used("the log directory is empty, but the state directory holds user data".to_owned());
        }
    }
    Ok(())
}

fn write_state(engines: &Engines, ident: StoreIdent, regions: &[RegionDescriptor]) -> Result<Round, StoreError> {
    let round = read_round(&*engines.state, WriterId::Bootstrap)?.next();
    let mut batch = StateBatch::default();
    for left_over in meta::read_regions(&*engines.state)? {
        batch.delete(Family::Meta, meta::descriptor_key(left_over.descriptor.id));
        batch.delete(Family::Meta, meta::apply_state_key(left_over.descriptor.id));
    }
    for descriptor in regions {
        let apply_state = initial_apply_state();
        meta::put_region(&mut batch, &meta::RegionState { descriptor: descriptor.clone(), apply_state });
    }
    batch.put(Family::Meta, meta::ident_key(), ident.encode());
    batch.set_round(WriterId::Bootstrap, round);
    engines.state.write(&batch)?;
    Ok(round)
}

fn log_batch(ident: StoreIdent, regions: &[RegionDescriptor], peers: &[PeerId]) -> LogBatch {
    let mut batch = LogBatch::default();
    for (region, peer) in regions.iter().map(|region| region.id).zip(peers.iter().copied()) {
        let lifecycle = Lifecycle { peer: Some(peer), next_peer: PeerId(peer.0 + 1), birth: Birth::Bootstrap };
        batch.ops.push(LogOp::PutLifecycle { region, lifecycle });
        batch.ops.push(LogOp::Append { region, peer, entries: Vec::new(), hard_state: initial_hard_state() });
    }
    batch.ops.push(LogOp::PutIdent(ident));
    batch
}

/// What a region that is born here has applied: nothing, behind a log that begins so that newcomers need a snapshot.
pub(crate) fn initial_apply_state() -> ApplyState {
    ApplyState {
        applied: LogIndex(INITIAL_LOG_INDEX),
        applied_term: Term(INITIAL_LOG_TERM),
        truncated: LogIndex(INITIAL_LOG_INDEX),
        truncated_term: Term(INITIAL_LOG_TERM),
    }
}

fn initial_hard_state() -> HardState {
    HardState { term: Term(INITIAL_LOG_TERM), vote: PeerId(0), commit: LogIndex(INITIAL_LOG_INDEX) }
}
