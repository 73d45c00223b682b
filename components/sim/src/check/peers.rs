//! No peer comes back from the dead, and no disk speaks for the one that it replaced (D7, D9, D14).

use std::collections::BTreeMap;

use engine::{Lifecycle, LogBatch, LogOp};
use region::RegionMessage;
use types::{InstanceId, PeerId, RegionId, StoreId};

use crate::check::{Checker, Violation, ensure};
use crate::ledger::Ledger;
use crate::observation::{Event, Observation};

const NAME: &str = "peers";

/// Watches lifecycle records, and who speaks for whom.
#[derive(Debug, Default)]
pub struct Peers {
    /// The newest lifecycle record of each region, by store and life of its disk.
    records: BTreeMap<(StoreId, RegionId), Lifecycle>,
    /// Where each peer lives.
    homes: BTreeMap<PeerId, (RegionId, StoreId)>,
}

impl Peers {
    fn on_record(&mut self, store: StoreId, region: RegionId, lifecycle: Lifecycle) -> Result<(), Violation> {
        let before = self.records.insert((store, region), lifecycle);
        let goes_on = before.is_some_and(|before| before.peer == lifecycle.peer);
        let known = before.map_or(PeerId(0), |before| before.next_peer);
        let is_new = lifecycle.peer.is_none_or(|peer| peer >= known);
        ensure(NAME, lifecycle.next_peer >= known && (goes_on || is_new), || {
            format!("region {region}: on store {store} the lifecycle goes from {before:?} to {lifecycle:?}")
        })?;
        let Some(peer) = lifecycle.peer else { return Ok(()) };
        ensure(NAME, lifecycle.next_peer > peer, || {
            format!("region {region}: on store {store} peer {peer} lives, and could be created again: {lifecycle:?}")
        })?;
        let home = *self.homes.entry(peer).or_insert((region, store));
        ensure(NAME, home == (region, store), || {
            format!(
                "peer {peer} lives in region {region} on store {store}, and lived in region {} on store {}",
                home.0, home.1
            )
        })
    }

    fn on_removed(&mut self, store: StoreId, region: RegionId, next_peer: PeerId) -> Result<(), Violation> {
        let before = self.records.get(&(store, region)).copied();
        let is_enough = before.and_then(|before| before.peer).is_none_or(|peer| next_peer > peer);
        ensure(NAME, is_enough, || {
            format!("region {region}: store {store} removes {before:?} and would take it back, from {next_peer} on")
        })?;
        if let Some(record) = self.records.get_mut(&(store, region)) {
            record.peer = None;
            record.next_peer = record.next_peer.max(next_peer);
        }
        Ok(())
    }

    fn on_sent(&self, store: StoreId, message: &RegionMessage) -> Result<(), Violation> {
        let (region, peer) = (message.region, message.from.id);
        let living = self.records.get(&(store, region)).and_then(|record| record.peer);
        ensure(NAME, living == Some(peer) && message.from.store_id == store, || {
            format!("region {region}: store {store} sent a message of {:?}, there lives peer {living:?}", message.from)
        })
    }
}

/// Whoever is listened to is the disk that was met first under its store id.
fn check_life(store: StoreId, message: &RegionMessage, instance: InstanceId, ledger: &Ledger) -> Result<(), Violation> {
    let sender = message.from.store_id;
    let Some(account) = ledger.store(store).filter(|_| sender != store) else { return Ok(()) };
    let known = account.log.durable().instances.get(&sender).copied();
    ensure(NAME, known == Some(instance), || {
        let kind = message.raft.get_msg_type();
        format!("store {store} takes {kind:?} of store {sender} in its life {instance}, it has met life {known:?}")
    })
}

fn is_marked(batch: &LogBatch, region: RegionId) -> bool {
    batch.ops.iter().any(|op| matches!(op, LogOp::PutMarker(marker) if marker.region() == region))
}

impl Checker for Peers {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, observation: &Observation, ledger: &Ledger) -> Result<(), Violation> {
        let store = observation.store;
        match &observation.event {
            Event::LogWritten { batch, .. } => batch.ops.iter().try_for_each(|op| match op {
                LogOp::PutLifecycle { region, lifecycle } => self.on_record(store, *region, *lifecycle),
                // A log that is reset for a snapshot is the same peer's.
                LogOp::Remove { region, .. } if is_marked(batch, *region) => Ok(()),
                LogOp::Remove { region, next_peer } => self.on_removed(store, *region, *next_peer),
                LogOp::PutInstance { store: other, instance } => {
                    let known = ledger.store(store).and_then(|account| account.log.durable().instances.get(other));
                    ensure(NAME, known.is_none_or(|known| known == instance), || {
                        format!(
                            "store {store} takes life {instance} of store {other} for the one that it knew: {known:?}"
                        )
                    })
                }
                _ => Ok(()),
            }),
            // A write that failed may be found after all.
            Event::Opened { content } => content.logs.iter().try_for_each(|(log, _)| {
                log.lifecycle.map_or(Ok(()), |lifecycle| self.on_record(store, log.region, lifecycle))
            }),
            Event::Wiped => {
                self.records.retain(|(of, _), _| *of != store);
                Ok(())
            }
            Event::Sent { message } => self.on_sent(store, message),
            Event::Received { message, instance } => check_life(store, message, *instance, ledger),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use engine::{Birth, Durability};
    use region::MessageType;

    use super::*;
    use crate::check::testing::*;

    fn script() -> Script {
        Script::with(vec![Box::new(Peers::default())])
    }

    fn record(peer: Option<u64>, next_peer: u64) -> LogOp {
        let lifecycle = Lifecycle { peer: peer.map(PeerId), next_peer: PeerId(next_peer), birth: Birth::Message };
        LogOp::PutLifecycle { region: LOW, lifecycle }
    }

    fn write(script: &mut Script, op: LogOp) -> Result<(), Violation> {
        script.write_log(1, vec![op], Durability::Synced)
    }

    #[test]
    fn a_removed_peer_does_not_come_back() {
        let mut script = self::script();
        write(&mut script, LogOp::Remove { region: LOW, next_peer: PeerId(102) }).fine();
        write(&mut script, record(Some(101), 102)).violates(NAME, "the lifecycle goes from");
        let mut script = self::script();
        write(&mut script, LogOp::Remove { region: LOW, next_peer: PeerId(110) }).fine();
        write(&mut script, record(Some(120), 121)).fine();
        write(&mut script, record(Some(120), 110)).violates(NAME, "the lifecycle goes from");
    }

    #[test]
    fn a_removal_does_not_invite_the_peer_back() {
        let remove = LogOp::Remove { region: LOW, next_peer: PeerId(101) };
        write(&mut script(), remove).violates(NAME, "would take it back");
        write(&mut script(), record(Some(150), 150)).violates(NAME, "could be created again");
    }

    #[test]
    fn a_peer_has_one_home() {
        let mut script = self::script();
        write(&mut script, LogOp::Remove { region: LOW, next_peer: PeerId(102) }).fine();
        write(&mut script, record(Some(103), 104)).violates(NAME, "peer 103 lives");
    }

    #[test]
    fn only_the_living_speak() {
        let mut script = Script::with(vec![Box::new(Peers::default())]).led();
        script.sent(message(MessageType::MsgHeartbeat, 1, 2, 6)).fine();
        write(&mut script, LogOp::Remove { region: LOW, next_peer: PeerId(102) }).fine();
        script.sent(message(MessageType::MsgHeartbeat, 1, 2, 6)).violates(NAME, "sent a message of");
    }

    #[test]
    fn another_life_of_a_disk_is_not_listened_to() {
        let mut script = self::script();
        let received = |script: &mut Script, instance| {
            let message = Arc::new(message(MessageType::MsgRequestVoteResponse, 2, 1, 6));
            script.see(1, Event::Received { message, instance: InstanceId(instance) })
        };
        received(&mut script, 2).violates(NAME, "it has met life None");
        let meets = |instance| LogOp::PutInstance { store: StoreId(2), instance: InstanceId(instance) };
        write(&mut script, meets(2)).fine();
        received(&mut script, 2).fine();
        received(&mut script, 9).violates(NAME, "in its life 9");
    }
}
