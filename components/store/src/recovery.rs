//! What a restart makes of the two engines (D8): which peers go on, from where, or why the store must not start.

use std::collections::BTreeMap;

use engine::{Birth, EngineError, Family, HardState, RegionLog, StateRead, StoreIdent, WriterId, meta};
use region::Restored;
use types::{Generation, LogIndex, Peer, PlantedBug, PlantedBugs, RegionDescriptor, RegionId, Round};

use crate::bootstrap::initial_apply_state;
use crate::error::StoreError;
use crate::shared::Engines;

/// What a store starts from.
pub(crate) struct Recovered {
    pub(crate) ident: StoreIdent,
    /// The peers that go on, ordered by region.
    pub(crate) regions: Vec<Restored>,
}

/// Reads and checks both engines.
pub(crate) fn recover(engines: &Engines, planted: PlantedBugs) -> Result<Recovered, StoreError> {
    let ident = read_ident(engines)?;
    let mut states: BTreeMap<RegionId, meta::RegionState> =
        meta::read_regions(&*engines.state)?.into_iter().map(|state| (state.descriptor.id, state)).collect();
    let mut regions = Vec::new();
    for log in engines.log.regions()? {
        match states.remove(&log.region) {
            Some(state) => regions.push(restore(engines, ident, &log, state, planted)?),
            None => check_absent(&log)?,
        }
    }
    if let Some((region, _)) = states.pop_first() {
        return Err(refuse(region, "it is in the state engine and not in the log engine".to_owned()));
    }
    check_overlaps(&regions)?;
    Ok(Recovered { ident, regions })
}

/// What a region's next `RawNode` starts from while its store runs: what both engines hold now.
pub(crate) fn restore_region(
    engines: &Engines,
    ident: StoreIdent,
    region: RegionId,
    generation: Generation,
    planted: PlantedBugs,
) -> Result<Restored, StoreError> {
    let gone = |engine: &str| refuse(region, format!("it is gone from the {engine} engine"));
    let log = engines.log.region(region)?.ok_or_else(|| gone("log"))?;
    let state = meta::read_region(&*engines.state, region)?.ok_or_else(|| gone("state"))?;
    Ok(Restored { generation, ..restore(engines, ident, &log, state, planted)? })
}

fn refuse(region: RegionId, cause: String) -> StoreError {
    StoreError::Restore { region, cause }
}

fn read_ident(engines: &Engines) -> Result<StoreIdent, StoreError> {
    let cause = "the data directory holds no store: bootstrap it first".to_owned();
    let ident = engines.log.ident()?.ok_or(StoreError::Ident { cause })?;
    let copy = meta::read_ident(&*engines.state)?;
    if copy == Some(ident) {
        return Ok(ident);
    }
    Err(StoreError::Ident { cause: format!("the log directory belongs to {ident:?}, the state directory to {copy:?}") })
}

/// A region that only L knows must have been removed.
fn check_absent(log: &RegionLog) -> Result<(), StoreError> {
    match log.lifecycle {
        Some(lifecycle) if lifecycle.peer.is_none() => Ok(()),
        Some(lifecycle) if lifecycle.birth != Birth::Bootstrap => {
            Err(refuse(log.region, "it was made by a split or a message, which this build does not know".to_owned()))
        }
        _ => Err(refuse(log.region, "it is in the log engine and not in the state engine".to_owned())),
    }
}

fn restore(
    engines: &Engines,
    ident: StoreIdent,
    log: &RegionLog,
    state: meta::RegionState,
    planted: PlantedBugs,
) -> Result<Restored, StoreError> {
    let meta::RegionState { descriptor, apply_state } = state;
    let region = descriptor.id;
    let peer = check_peer(ident, log, &descriptor)?;
    let hard_state = log.state.map(|state| state.hard_state).unwrap_or_default();
    let last_index = log.bounds.map_or(apply_state.truncated, |(_, last)| last);
    let applied = if planted.has(PlantedBug::CommitNotRaised) { LogIndex(0) } else { apply_state.applied };
    let hard_state = HardState { commit: hard_state.commit.max(log.commit_floor).max(applied), ..hard_state };

    let ensure = |holds: bool, cause: String| if holds { Ok(()) } else { Err(refuse(region, cause)) };
    // Raft skips entries that are missing without a word: that there are none is for us to check (D8).
    if let Some((first, _)) = log.bounds {
        let needed = apply_state.truncated.next();
        ensure(first <= needed, format!("its log begins at {first}, entry {needed} is missing"))?;
    }
    ensure(
        apply_state.truncated <= apply_state.applied,
        format!("its log is compacted to {}, applied only to {}", apply_state.truncated, apply_state.applied),
    )?;
    ensure(
        apply_state.applied <= last_index,
        format!("it has applied {}, but its log ends at {last_index}", apply_state.applied),
    )?;
    ensure(
        hard_state.commit <= last_index,
        format!("entries up to {} are committed, but its log ends at {last_index}", hard_state.commit),
    )?;
    check_applied_term(engines, peer, region, &apply_state)?;
    ensure(
        apply_state.applied_term <= hard_state.term,
        format!("it has applied term {}, but knows only term {}", apply_state.applied_term, hard_state.term),
    )?;
    let log_bytes = engines.log.approximate_bytes(region, apply_state.truncated.next(), last_index.next())?;
    let fresh = apply_state == initial_apply_state() && log.bounds.is_none() && hard_state.vote.0 == 0;
    Ok(Restored {
        invitation: None,
        descriptor,
        peer,
        apply_state,
        hard_state,
        last_index,
        log_bytes,
        generation: Generation(1),
        may_have_voted: !fresh && !planted.has(PlantedBug::RestartedVoterVotes),
        fenced: false,
    })
}

/// L's record, L's state and S's descriptor must speak of the same peer (D7).
fn check_peer(ident: StoreIdent, log: &RegionLog, descriptor: &RegionDescriptor) -> Result<Peer, StoreError> {
    let refuse = |cause: String| Err(refuse(descriptor.id, cause));
    let Some(peer) = descriptor.peer_on(ident.store) else {
        return refuse(format!("its descriptor has no peer on store {}", ident.store));
    };
    let (Some(lifecycle), Some(state)) = (log.lifecycle, log.state) else {
        return refuse("the log engine has lost its lifecycle record or its hard state".to_owned());
    };
    if lifecycle.peer != Some(peer.id) || state.peer != peer.id {
        return refuse(format!(
            "its descriptor names peer {}, its lifecycle record {:?}, its log {}",
            peer.id, lifecycle.peer, state.peer
        ));
    }
    Ok(*peer)
}

fn check_applied_term(
    engines: &Engines,
    peer: Peer,
    region: RegionId,
    apply_state: &engine::ApplyState,
) -> Result<(), StoreError> {
    let term = if apply_state.applied == apply_state.truncated {
        Some(apply_state.truncated_term)
    } else {
        engines.log.term(region, peer.id, apply_state.applied)?
    };
    if term == Some(apply_state.applied_term) {
        return Ok(());
    }
    let applied = apply_state.applied;
    let cause = format!("entry {applied} was applied with term {}, its log says {term:?}", apply_state.applied_term);
    Err(refuse(region, cause))
}

fn check_overlaps(regions: &[Restored]) -> Result<(), StoreError> {
    let mut ordered: Vec<&RegionDescriptor> = regions.iter().map(|region| &region.descriptor).collect();
    ordered.sort_by(|left, right| left.range.start.cmp(&right.range.start));
    for pair in ordered.windows(2) {
        if pair[0].range.overlaps(&pair[1].range) {
            let cause = format!("its range {} overlaps {} of region {}", pair[1].range, pair[0].range, pair[0].id);
            return Err(refuse(pair[1].id, cause));
        }
    }
    Ok(())
}

/// The newest round that a writer's batches in the state engine carry; not necessarily durable.
pub(crate) fn read_round(state: &dyn StateRead, writer: WriterId) -> Result<Round, StoreError> {
    let Some(bytes) = state.get(Family::Meta, &writer.key())? else {
        return Ok(Round(0));
    };
    let bytes: [u8; 8] = bytes.as_ref().try_into().map_err(|_| EngineError::Corruption {
        engine: "state",
        cause: format!("the round of {writer:?} has {} bytes instead of 8", bytes.len()),
    })?;
    Ok(Round(u64::from_be_bytes(bytes)))
}

/// Where replaying must arrive before a region serves.
pub(crate) fn replay_targets(regions: &[Restored]) -> BTreeMap<RegionId, LogIndex> {
    let behind = regions.iter().filter(|region| region.apply_state.applied < region.hard_state.commit);
    behind.map(|region| (region.descriptor.id, region.hard_state.commit)).collect()
}
