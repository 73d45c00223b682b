//! A peer goes when the members can do without it, and not before it has done what its own log asks of it (D9).

use std::collections::BTreeMap;

use engine::{Birth, LogOp};
use types::{LogIndex, Peer, PeerId, PeerRole, RegionDescriptor, RegionId, StoreId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::{Ledger, RegionTruth, StateAccount};
use crate::observation::{Event, Observation};

const NAME: &str = "removal";

/// Watches peers that end.
#[derive(Debug, Default)]
pub struct Removal {
    /// What each region knew to be committed when its store was opened.
    at_start: BTreeMap<(StoreId, RegionId), LogIndex>,
    /// Who lives where, as the log engines were told.
    peers: BTreeMap<(StoreId, RegionId), PeerId>,
}

/// How far a member durably knows the log to be committed.
fn known_commit(peer: &Peer, region: RegionId, ledger: &Ledger) -> LogIndex {
    ledger.store(peer.store_id).map_or(LogIndex(0), |account| account.known_commit(region, peer.id))
}

/// Whether a quorum of these members durably knows that an entry is committed.
fn is_known(index: LogIndex, members: &RegionDescriptor, ledger: &Ledger) -> bool {
    let half = |votes: fn(PeerRole) -> bool| {
        let voters = || members.peers.iter().filter(|peer| votes(peer.role));
        voters().filter(|peer| known_commit(peer, members.id, ledger) >= index).count() * 2 > voters().count()
    };
    half(PeerRole::voted_before) && half(PeerRole::votes_afterwards)
}

/// The members do not count on the peer any more, and a quorum of them will never forget that.
fn check_dispensable(
    store: StoreId,
    region: RegionId,
    peer: PeerId,
    truth: &RegionTruth,
    ledger: &Ledger,
) -> Result<(), Violation> {
    let newest = &truth.replay().descriptor;
    ensure(NAME, newest.peer(peer).is_none(), || {
        format!("region {region}: peer {peer} on store {store} ends, and is a member of {:?}", newest.peers)
    })?;
    let Some(removed) = truth.removed_at(peer) else { return Ok(()) };
    let behind = truth.committed(removed).map(|entry| &entry.descriptor);
    let knows = |members: &RegionDescriptor| is_known(removed, members, ledger);
    ensure(NAME, knows(newest) || behind.is_some_and(|members| knows(members)), || {
        format!(
            "region {region}: peer {peer} on store {store} ends, and no quorum of the others has on disk that entry \
             {removed}, which removed it, is committed"
        )
    })
}

impl Removal {
    /// A region's records leave the state engine.
    fn on_gone(&self, store: StoreId, before: &StateAccount, ledger: &Ledger) -> Result<(), Violation> {
        let (region, applied) = (before.descriptor.id, before.apply_state.applied);
        let committed = self.at_start.get(&(store, region)).copied().unwrap_or_default();
        // Behind the entry that removed it a peer executes nothing.
        let is_removed = before.descriptor.peer_on(store).is_none();
        ensure(NAME, applied >= committed || is_removed, || {
            format!(
                "region {region}: its peer on store {store} ends when {applied} is applied, it started with {committed} \
                 committed"
            )
        })?;
        self.check_end(store, region, ledger)
    }

    fn check_end(&self, store: StoreId, region: RegionId, ledger: &Ledger) -> Result<(), Violation> {
        let peer = self.peers.get(&(store, region)).copied();
        let (Some(peer), Some(truth), Some(account)) = (peer, ledger.region(region), ledger.store(store)) else {
            return Ok(());
        };
        if truth.counts_on(peer, account.instance()) {
            check_dispensable(store, region, peer, truth, ledger)?;
        }
        Ok(())
    }

    /// A peer's records leave the log engine: its children do not need its log any more.
    fn on_removed(&mut self, store: StoreId, region: RegionId, ledger: &Ledger) -> Result<(), Violation> {
        self.check_end(store, region, ledger)?;
        let Some(peer) = self.peers.remove(&(store, region)) else { return Ok(()) };
        let Some(account) = ledger.store(store) else { return Ok(()) };
        let is_stranded = |child: RegionId| {
            let lifecycle = account.region_log(child).and_then(|log| log.lifecycle);
            let own = |birth| matches!(birth, Birth::Split { parent, parent_peer, .. } if (parent, parent_peer) == (region, peer));
            let lives = |peer: PeerId| !account.state.is_ending(child, peer);
            lifecycle.is_some_and(|lifecycle| lifecycle.peer.is_some_and(lives) && own(lifecycle.birth))
                && !account.state.durable().contains_key(&child)
                && !account.log.durable().markers.contains_key(&child)
        };
        let child = account.log.durable().regions.keys().copied().find(|child| is_stranded(*child));
        ensure(NAME, child.is_none(), || {
            format!(
                "region {region}: its peer {peer} on store {store} is forgotten, region {child:?} may need its split"
            )
        })
    }
}

impl Checker for Removal {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        match &observation.event {
            Event::Opened { content } => {
                self.at_start.retain(|(of, _), _| *of != store);
                self.peers.retain(|(of, _), _| *of != store);
                for (log, _) in &content.logs {
                    let commit = log.state.map_or(LogIndex(0), |state| state.hard_state.commit).max(log.commit_floor);
                    self.at_start.insert((store, log.region), commit);
                    if let Some(peer) = log.lifecycle.and_then(|lifecycle| lifecycle.peer) {
                        self.peers.insert((store, log.region), peer);
                    }
                }
                Ok(())
            }
            Event::StateWritten { .. } => ledger.changes().iter().try_for_each(|change| {
                let Some(before) = &change.before else { return Ok(()) };
                if ledger.state(store, change.region).is_some() {
                    return Ok(());
                }
                self.on_gone(store, before, ledger)
            }),
            Event::LogWritten { batch, .. } => {
                let marks = |region: RegionId| {
                    let of = |op: &LogOp| matches!(op, LogOp::PutMarker(marker) if marker.region() == region);
                    batch.ops.iter().any(of)
                };
                batch.ops.iter().try_for_each(|op| match op {
                    LogOp::PutLifecycle { region, lifecycle } => {
                        if let Some(peer) = lifecycle.peer {
                            self.peers.insert((store, *region), peer);
                        }
                        Ok(())
                    }
                    LogOp::Remove { region, .. } => {
                        let committed = self.at_start.remove(&(store, *region)).unwrap_or_default();
                        if !marks(*region) {
                            return self.on_removed(store, *region, ledger);
                        }
                        let applied = ledger.state(store, *region).map(|state| state.apply_state.applied);
                        ensure(NAME, applied.is_none_or(|applied| applied >= committed), || {
                            format!(
                                "region {region}: store {store} takes a snapshot when {applied:?} is applied, it started \
                                 with {committed} committed"
                            )
                        })
                    }
                    _ => Ok(()),
                })
            }
            Event::Wiped => {
                self.at_start.retain(|(of, _), _| *of != store);
                self.peers.retain(|(of, _), _| *of != store);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::memory::CrashPoint;
    use engine::{Durability, Lifecycle};
    use types::MemberChange;

    use super::*;
    use crate::check::testing::*;

    const GONE: MemberChange = MemberChange::remove(PeerId(103), StoreId(3));

    fn script() -> Script {
        Script::with(vec![Box::new(Removal::default())]).led()
    }

    /// Entry 7 removes the peer on store 3; stores 1 and 3 have applied it.
    fn removed() -> Script {
        let mut script = script();
        let state = || hard_state(6, 101, 5);
        script.append(3, vec![empty(6, 6)], state()).fine();
        for store in 1..=3 {
            script.append(store, vec![members(7, 6, 1, GONE)], state()).fine();
        }
        script.adopt(1, 7, &[GONE]).fine();
        script.apply(3, apply_state(6, 6), &[]).fine();
        script.adopt(3, 7, &[GONE]).fine();
        script
    }

    #[test]
    fn a_member_stays() {
        script().forget(2).violates(NAME, "is a member of");
    }

    #[test]
    fn a_quorum_knows_on_disk_who_is_gone() {
        removed().forget(3).violates(NAME, "no quorum of the others");
        let mut script = removed();
        for store in [1, 2] {
            script.append(store, Vec::new(), hard_state(6, 101, 7)).fine();
        }
        script.forget(3).fine();
    }

    /// Its peer votes for nobody any more, so it cannot help to elect who does not know either.
    #[test]
    fn who_knew_before_its_disk_was_emptied_counts() {
        let mut script = removed();
        for store in [1, 2] {
            script.append(store, Vec::new(), hard_state(6, 101, 7)).fine();
        }
        script.wipe(2);
        script.forget(3).fine();
    }

    #[test]
    fn what_was_committed_at_the_start_is_applied_first() {
        let mut script = removed();
        for store in 1..=2 {
            script.append(store, Vec::new(), hard_state(6, 101, 7)).fine();
        }
        script.append(3, Vec::new(), hard_state(6, 101, 7)).fine();
        // Store 3 has forgotten that its peer was removed, and much that comes before.
        script.crash(3, CrashPoint::OLDEST);
        script.open(3).fine();
        script.forget(3).violates(NAME, "it started with 7 committed");
    }

    #[test]
    fn children_outlive_their_parent() {
        let birth = Birth::Split { parent: LOW, parent_peer: PeerId(103), index: LogIndex(6) };
        let lifecycle = Lifecycle { peer: Some(PeerId(303)), next_peer: PeerId(304), birth };
        let remove = |script: &mut Script| {
            for store in [1, 2] {
                script.append(store, Vec::new(), hard_state(6, 101, 7)).fine();
            }
            let op = LogOp::Remove { region: LOW, next_peer: PeerId(104) };
            script.write_log(3, vec![op], Durability::Synced)
        };
        remove(&mut removed()).fine();
        let mut script = removed();
        let op = LogOp::PutLifecycle { region: RegionId(300), lifecycle };
        script.write_log(3, vec![op], Durability::Synced).fine();
        remove(&mut script).violates(NAME, "may need its split");
    }
}
