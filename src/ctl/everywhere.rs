//! What is asked of many stores at a time: `snapshots`, `compact`, and the replicas that differ.

use std::time::Duration;

use client::http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use types::range::HexKey;
use types::{KeyRange, StoreId};

use super::answers::{Compaction, Differing, Snapshot, Store};
use super::cluster::{Cluster, read};
use super::error::{CtlError, Whom};
use super::keys::Notation;
use super::output::{Output, Side, bytes, duration, table};
use super::store::{chosen, signed};

/// How long a compaction is waited for.
const COMPACTION_PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Most stores that are asked at a time.
const STORES_AT_ONCE: usize = 32;

/// Answers of many stores, in the order of their ids, and those that gave none.
struct Gathered {
    answers: Vec<(StoreId, Value)>,
    failed: Vec<(StoreId, CtlError)>,
}

impl Gathered {
    async fn ask(cluster: &Cluster, stores: Vec<Store>, method: Method, path: &str) -> Self {
        let mut gathered = Self { answers: Vec::new(), failed: Vec::new() };
        let (mut waiting, mut asked) = (stores.into_iter(), JoinSet::new());
        loop {
            while asked.len() < STORES_AT_ONCE
                && let Some(store) = waiting.next()
            {
                let (cluster, path) = (cluster.clone(), path.to_owned());
                asked.spawn(async move { (store.id(), cluster.at_store(&store, method, &path, None).await) });
            }
            let Some(answer) = asked.join_next().await else { break };
            match answer.expect("a question does not panic and is not cancelled") {
                (store, Ok(answer)) => gathered.answers.push((store, answer)),
                (store, Err(error)) => gathered.failed.push((store, error)),
            }
        }
        gathered.answers.sort_by_key(|(store, _)| *store);
        gathered.failed.sort_by_key(|(store, _)| *store);
        gathered
    }

    /// Everything that lists of the stores hold, each with its store.
    fn joined(&self, list: impl Fn(&Value) -> &Value) -> Value {
        let of_store = |(store, answer): &(StoreId, Value)| {
            let items = list(answer).as_array().cloned().unwrap_or_default();
            items.into_iter().map(|item| signed(*store, item)).collect::<Vec<_>>()
        };
        Value::Array(self.answers.iter().flat_map(of_store).collect())
    }

    /// That all have answered, or who has not.
    fn check(mut self) -> Result<(), CtlError> {
        if self.failed.is_empty() {
            return Ok(());
        }
        let (missing, all) = (self.failed.len(), self.answers.len() + self.failed.len());
        let (_, first) = self.failed.swap_remove(0);
        Err(CtlError::Partly { missing, all, first: Box::new(first) })
    }
}

/// Shows the snapshots that are on their way.
pub async fn snapshots(cluster: &Cluster, output: Output, stores: &[u64]) -> Result<(), CtlError> {
    let gathered = Gathered::ask(cluster, chosen(cluster, stores).await?, Method::Get, "/snapshots").await;
    let answer = gathered.joined(|answer| answer);
    let snapshots: Vec<Snapshot> = read(Whom::Pd, answer.clone())?;
    output.show(&answer, || in_flight(&snapshots))?;
    gathered.check()
}

/// Shows the replicas that were found to differ from their leaders'.
pub async fn differing(cluster: &Cluster, output: Output) -> Result<(), CtlError> {
    let gathered = Gathered::ask(cluster, cluster.stores().await?, Method::Get, "/status").await;
    let answer = gathered.joined(|answer| &answer["differing_regions"]);
    let found: Vec<Differing> = read(Whom::Pd, answer.clone())?;
    output.show(&answer, || differ(&found, output.keys))?;
    gathered.check()
}

/// Compacts a range on stores, or all.
pub async fn compact(
    cluster: &Cluster,
    output: Output,
    stores: &[u64],
    (from, to): (Option<&str>, Option<&str>),
) -> Result<(), CtlError> {
    let key = |text: Option<&str>| output.keys.parse(text.unwrap_or_default());
    let range = KeyRange::new(key(from)?, key(to)?);
    if range.is_empty() {
        let [from, to] = [&range.start, &range.end].map(|key| output.keys.show(key));
        return Err(CtlError::Usage(format!(
            "no key lies between --from {from} and --to {to}: the first is to be smaller"
        )));
    }
    let path = format!("/compact?start_key={}&end_key={}", HexKey(&range.start), HexKey(&range.end));
    let stores = chosen(cluster, stores).await?;
    let gathered = Gathered::ask(&cluster.patient(COMPACTION_PATIENCE), stores, Method::Post, &path).await;
    let signed = gathered.answers.iter().map(|(store, answer)| signed(*store, answer.clone()));
    let answer = json!(signed.collect::<Vec<_>>());
    let compactions: Vec<Compaction> = read(Whom::Pd, answer.clone())?;
    output.show(&answer, || compacted(&compactions))?;
    gathered.check()
}

fn in_flight(snapshots: &[Snapshot]) -> String {
    let columns = [
        ("store", Side::Right),
        ("region", Side::Right),
        ("way", Side::Left),
        ("phase", Side::Left),
        ("done", Side::Right),
        ("of", Side::Right),
        ("part", Side::Right),
        ("for", Side::Right),
        ("note", Side::Left),
    ];
    let row = |snapshot: &Snapshot| {
        let way = match snapshot.direction.as_str() {
            "incoming" => format!("from store {}", snapshot.peer_store_id),
            _ => format!("to store {}", snapshot.peer_store_id),
        };
        let is_known = snapshot.bytes_total > 0;
        let part = (u128::from(snapshot.bytes_done) * 100).checked_div(u128::from(snapshot.bytes_total));
        let cancelled = snapshot.cancelled.as_ref().map(|reason| format!("is given up: {reason}"));
        [
            snapshot.store_id.to_string(),
            snapshot.region_id.to_string(),
            way,
            snapshot.phase.clone(),
            bytes(snapshot.bytes_done),
            if is_known { bytes(snapshot.bytes_total) } else { "?".to_owned() },
            part.map_or_else(|| "?".to_owned(), |part| format!("{part} %")),
            duration(Duration::from_secs_f64(snapshot.seconds.max(0.0))),
            cancelled.unwrap_or_default(),
        ]
    };
    table(columns, snapshots.iter().map(row).collect(), "no snapshot is on its way")
}

fn differ(found: &[Differing], keys: Notation) -> String {
    let columns = [
        ("store", Side::Right),
        ("region", Side::Right),
        ("peer", Side::Right),
        ("from", Side::Left),
        ("to", Side::Left),
        ("at index", Side::Right),
        ("hash", Side::Left),
        ("leader's hash", Side::Left),
    ];
    let row = |found: &Differing| {
        [
            found.store_id.to_string(),
            found.region_id.to_string(),
            found.peer_id.to_string(),
            keys.start(&found.start_key.0),
            keys.end(&found.end_key.0),
            found.index.to_string(),
            found.hash.clone(),
            found.leaders_hash.clone(),
        ]
    };
    table(columns, found.iter().map(row).collect(), "no replica was found to differ from its leader's")
}

fn compacted(compactions: &[Compaction]) -> String {
    let columns = [("store", Side::Right), ("before", Side::Right), ("after", Side::Right)];
    let row = |compaction: &Compaction| {
        let Compaction { store_id, disk_bytes_before, disk_bytes_after } = *compaction;
        [store_id.to_string(), bytes(disk_bytes_before), bytes(disk_bytes_after)]
    };
    table(columns, compactions.iter().map(row).collect(), "no store has compacted anything")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_snapshot_shows_how_far_it_is() {
        let answer = json!([
            {"store_id": 1, "region_id": 7, "direction": "outgoing", "peer_store_id": 4, "phase": "send",
             "bytes_done": 1 << 20, "bytes_total": 4 << 20, "seconds": 3, "cancelled": null},
            {"store_id": 4, "region_id": 8, "direction": "incoming", "peer_store_id": 1, "phase": "build",
             "bytes_done": 0, "bytes_total": 0, "seconds": 0, "cancelled": "a peer was removed"},
        ]);
        let shown = in_flight(&serde_json::from_value::<Vec<Snapshot>>(answer).unwrap());
        for part in ["to store 4", "1.00 MiB", "4.00 MiB", "25 %", "from store 1", "?", "a peer was removed"] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
        assert_eq!(in_flight(&[]), "no snapshot is on its way");
    }

    #[test]
    fn differing_replicas_are_named() {
        let answer = json!([{"store_id": 2, "region_id": 7, "start_key": "61", "end_key": "", "peer_id": 12,
            "index": 40, "hash": "00ff", "leaders_hash": "00fe"}]);
        let shown = differ(&serde_json::from_value::<Vec<Differing>>(answer).unwrap(), Notation::Escaped);
        for part in ["2", "7", "12", "a", "(last)", "40", "00ff", "00fe"] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
    }

    #[test]
    fn who_does_not_answer_is_said_behind_what_the_others_say() {
        let failed = (StoreId(2), CtlError::NoStatusAddress(StoreId(2)));
        let gathered = Gathered { answers: vec![(StoreId(1), json!([{"a": 1}]))], failed: vec![failed] };
        assert_eq!(gathered.joined(|answer| answer), json!([{"a": 1, "store_id": 1}]));
        let error = gathered.check().unwrap_err().to_string();
        assert!(error.starts_with("1 of 2 stores did not answer") && error.contains("store 2"), "{error}");
    }
}
