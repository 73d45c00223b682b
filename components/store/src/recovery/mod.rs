//! What a restart makes of the two engines (D8): which peers go on, from where, or why the store must not start.

mod finish;

use std::collections::{BTreeMap, BTreeSet};

use engine::{
    ApplyState, Birth, Durability, EngineError, Family, HardState, Lifecycle, LogBatch, LogOp, RegionLog,
    SnapshotMarker, StateRead, StoreIdent, WriterId, meta,
};
use region::Restored;
use slog::Logger;
use types::{Generation, LogIndex, Peer, PeerId, PlantedBug, PlantedBugs, RegionDescriptor, RegionId, Round};

use crate::error::StoreError;
use crate::lifecycle::{Claim, Standing};
use crate::shared::{Engines, Shared};
use finish::finish;

/// What a store starts from.
pub(crate) struct Recovered {
    pub(crate) ident: StoreIdent,
    /// The peers that go on, ordered by region.
    pub(crate) peers: Vec<Restored>,
    /// What is known of each region, those included whose peers do not go on.
    pub(crate) claims: BTreeMap<RegionId, Claim>,
    /// Where the numbers of snapshots go on.
    pub(crate) next_snapshot: u64,
}

/// Reads and checks both engines, and finishes what a crash interrupted.
pub(crate) fn recover(engines: &Engines, planted: PlantedBugs, logger: &Logger) -> Result<Recovered, StoreError> {
    let ident = read_ident(engines)?;
    let finished = finish(engines, logger)?;
    let mut states: BTreeMap<RegionId, meta::RegionState> =
        meta::read_regions(&*engines.state)?.into_iter().map(|state| (state.descriptor.id, state)).collect();
    let mut claims = BTreeMap::new();
    let mut peers = Vec::new();
    for marker in &finished.fenced {
        states.remove(&marker.region());
        let mut claim = Claim::new(Standing::Fenced, Some(marker.peer), PeerId(marker.peer.0 + 1), None);
        claim.ranges.clone_from(&marker.clear);
        claims.insert(marker.region(), claim);
        peers.push(fenced(engines, ident, marker, Generation(1))?);
    }
    let known: BTreeSet<RegionId> = engines.log.regions()?.into_iter().map(|log| log.region).collect();
    adopt(engines, ident, states.values().filter(|state| !known.contains(&state.descriptor.id)))?;
    for log in engines.log.regions()? {
        if claims.contains_key(&log.region) {
            continue;
        }
        let (claim, peer) = match states.remove(&log.region) {
            Some(state) => go_on(engines, ident, &log, state, planted)?,
            None => without_state(ident, &log, planted)?,
        };
        claims.insert(log.region, claim);
        peers.extend(peer);
    }
    check_overlaps(&peers)?;
    Ok(Recovered { ident, peers, claims, next_snapshot: finished.next_number })
}

/// A region that both engines know.
fn go_on(
    engines: &Engines,
    ident: StoreIdent,
    log: &RegionLog,
    state: meta::RegionState,
    planted: PlantedBugs,
) -> Result<(Claim, Option<Restored>), StoreError> {
    let restored = restore(engines, ident, log, state, planted)?;
    let (peer, range) = (restored.peer.id, restored.descriptor.range.clone());
    let next_peer = PeerId(peer.0 + 1).max(log.lifecycle.map_or(PeerId(0), |lifecycle| lifecycle.next_peer));
    Ok((Claim::new(Standing::Live, Some(peer), next_peer, Some(range)), Some(restored)))
}

/// A region that only L knows: gone, a newcomer, or a child that waits for its parent's replay (D8).
fn without_state(
    ident: StoreIdent,
    log: &RegionLog,
    planted: PlantedBugs,
) -> Result<(Claim, Option<Restored>), StoreError> {
    let Some(lifecycle) = log.lifecycle else {
        return Err(refuse(log.region, "the log engine has lost its lifecycle record".to_owned()));
    };
    let Lifecycle { peer, next_peer, birth } = lifecycle;
    let Some(peer) = peer else {
        return Ok((Claim::new(Standing::Absent, None, next_peer, None), None));
    };
    match birth {
        Birth::Split { .. } if log.bounds.is_none() && planted.has(PlantedBug::DormantAnswers) => {
            let claim = Claim::new(Standing::Newcomer, Some(peer), next_peer, None);
            Ok((claim, Some(newcomer(ident, log, peer, birth, Generation(1)))))
        }
        Birth::Split { .. } => Ok((Claim::new(Standing::Dormant, Some(peer), next_peer, None), None)),
        Birth::Message | Birth::Invited(_) if log.bounds.is_none() => {
            let claim = Claim::new(Standing::Newcomer, Some(peer), next_peer, None);
            Ok((claim, Some(newcomer(ident, log, peer, birth, Generation(1)))))
        }
        _ => Err(refuse(log.region, "it is in the log engine and not in the state engine".to_owned())),
    }
}

/// A peer whose snapshot was damaged behind its marker: silent until another one comes (D10).
fn fenced(
    engines: &Engines,
    ident: StoreIdent,
    marker: &SnapshotMarker,
    generation: Generation,
) -> Result<Restored, StoreError> {
    let region = marker.region();
    let state = engines.log.region(region)?.and_then(|log| log.state).filter(|state| state.peer == marker.peer);
    let Some(state) = state else {
        return Err(refuse(region, "a snapshot was being applied to it, and its log is not there".to_owned()));
    };
    Ok(Restored::fenced(marker, Peer::voter(marker.peer, ident.store), state.hard_state, generation))
}

fn newcomer(ident: StoreIdent, log: &RegionLog, peer: PeerId, birth: Birth, generation: Generation) -> Restored {
    let hard_state = log.state.map(|state| state.hard_state).unwrap_or_default();
    let invitation = match birth {
        Birth::Invited(invitation) => Some(invitation),
        _ => None,
    };
    let peer = Peer::voter(peer, ident.store);
    Restored::uninitialised(log.region, peer, hard_state, invitation, generation, true)
}

/// Writes the records of children whose split is durable in S and was not heard of any more by L (D8).
///
/// S never forgets what it holds now, so that they are as good as born with it.
fn adopt<'a>(
    engines: &Engines,
    ident: StoreIdent,
    orphans: impl Iterator<Item = &'a meta::RegionState>,
) -> Result<(), StoreError> {
    let mut batch = LogBatch::default();
    for meta::RegionState { descriptor, apply_state } in orphans {
        let region = descriptor.id;
        let peer = descriptor.peer_on(ident.store).filter(|_| *apply_state == ApplyState::BORN);
        let Some(peer) = peer.map(|peer| peer.id) else {
            return Err(refuse(region, "it is in the state engine and not in the log engine".to_owned()));
        };
        let lifecycle = Lifecycle { peer: Some(peer), next_peer: PeerId(peer.0 + 1), birth: Birth::Bootstrap };
        batch.ops.push(LogOp::PutLifecycle { region, lifecycle });
        batch.ops.push(LogOp::Append { region, peer, entries: Vec::new(), hard_state: HardState::BORN });
    }
    if !batch.is_empty() {
        engines.log.write(batch, Durability::Synced)?;
    }
    Ok(())
}

/// What a region's next `RawNode` starts from while its store runs: what both engines hold now.
pub(crate) fn restore_region(
    shared: &Shared,
    region: RegionId,
    generation: Generation,
) -> Result<Restored, StoreError> {
    let Shared { engines, ident, config, .. } = shared;
    if let Some(marker) = engines.log.markers()?.iter().find(|marker| marker.region() == region) {
        return fenced(engines, *ident, marker, generation);
    }
    let log = engines.log.region(region)?;
    let log = log.ok_or_else(|| refuse(region, "it is gone from the log engine".to_owned()))?;
    match meta::read_region(&*engines.state, region)? {
        Some(state) => Ok(Restored { generation, ..restore(engines, *ident, &log, state, config.planted)? }),
        None => match log.lifecycle {
            Some(Lifecycle { peer: Some(peer), birth, .. }) if log.bounds.is_none() => {
                Ok(newcomer(*ident, &log, peer, birth, generation))
            }
            _ => Err(refuse(region, "it is gone from the state engine".to_owned())),
        },
    }
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
    let newborn = apply_state == ApplyState::BORN && log.bounds.is_none();
    let hard_state = log.state.map(|state| state.hard_state).unwrap_or_default();
    // A message may have made it before its split did, and have asked nothing of it that has a term (D11).
    let hard_state = if newborn && hard_state.term < HardState::BORN.term { HardState::BORN } else { hard_state };
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
    // One that knows a later term may have known its leader, and must not help to unseat it.
    let unheard = hard_state.vote.0 == 0 && hard_state.term <= HardState::BORN.term;
    let fresh = newborn && unheard;
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
    let (Some(Lifecycle { peer: Some(known), .. }), Some(state)) = (log.lifecycle, log.state) else {
        return refuse("the log engine has lost its lifecycle record or its hard state".to_owned());
    };
    // A peer that was removed stays until it is told to go (D9), and is not in its descriptor any more.
    let peer = descriptor.peer_on(ident.store).copied().unwrap_or(Peer::voter(known, ident.store));
    if known != peer.id || state.peer != peer.id {
        return refuse(format!(
            "its descriptor names peer {}, its lifecycle record {known}, its log {}",
            peer.id, state.peer
        ));
    }
    Ok(peer)
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
    // Newcomers have no range, and what a fenced peer keeps is in its marker.
    let initialised = regions
        .iter()
        .filter(|region| !region.fenced)
        .map(|region| &region.descriptor)
        .filter(|region| !region.peers.is_empty());
    let mut ordered: Vec<&RegionDescriptor> = initialised.collect();
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
pub(crate) fn replay_targets(peers: &[Restored]) -> BTreeMap<RegionId, LogIndex> {
    // A removed peer executes nothing more, and serves nobody.
    let serves = |peer: &&Restored| peer.descriptor.peer(peer.peer.id).is_some();
    let behind = peers.iter().filter(serves);
    let behind = behind.filter(|peer| peer.apply_state.applied < peer.hard_state.commit);
    behind.map(|region| (region.descriptor.id, region.hard_state.commit)).collect()
}
