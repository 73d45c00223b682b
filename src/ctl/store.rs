//! `raftyard ctl store`.

use std::time::Duration;

use client::http::Method;
use serde_json::Value;
use types::StoreId;

use super::answers::{Draining, Store, Stores};
use super::args::{StoreArgs, StoreOrder};
use super::cluster::{Cluster, read};
use super::error::{CtlError, Whom};
use super::output::{Output, Side, bytes, card, duration, list, table};

/// Shows stores, or lets one leave or stay. `now_ms` is the time of day.
pub async fn run(cluster: &Cluster, output: Output, args: &StoreArgs, now_ms: u64) -> Result<(), CtlError> {
    match (&args.order, args.store) {
        (Some(StoreOrder::Remove { store }), _) => {
            let answer = cluster.pd(Method::Delete, &format!("/store/{store}"), None).await?;
            output.show(&answer, || {
                format!("store {store} is being emptied; `raftyard ctl store {store}` shows how many regions are left")
            })?;
        }
        (Some(StoreOrder::Keep { store }), _) => {
            let answer = cluster.pd(Method::Post, &format!("/store/{store}/state?state=Up"), None).await?;
            output.show(&answer, || format!("store {store} stays"))?;
        }
        (None, Some(store)) => {
            let answer = cluster.pd(Method::Get, &format!("/store/{store}"), None).await?;
            let store: Store = read(Whom::Pd, answer.clone())?;
            output.show(&answer, || one(&store, now_ms))?;
        }
        (None, None) => {
            let answer = cluster.pd(Method::Get, "/stores", None).await?;
            let stores: Stores = read(Whom::Pd, answer.clone())?;
            output.show(&answer, || all(&stores.stores, now_ms))?;
        }
    }
    Ok(())
}

/// Those of the cluster's stores that are meant: all of them when none is named.
pub async fn chosen(cluster: &Cluster, ids: &[u64]) -> Result<Vec<Store>, CtlError> {
    if ids.is_empty() {
        return cluster.stores().await;
    }
    let mut stores = Vec::with_capacity(ids.len());
    for id in ids {
        stores.push(cluster.store(StoreId(*id)).await?);
    }
    Ok(stores)
}

/// Puts the store's id into what it answered.
pub fn signed(store: StoreId, mut answer: Value) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("store_id".to_owned(), store.0.into());
    }
    answer
}

fn all(stores: &[Store], now_ms: u64) -> String {
    let columns = [
        ("store", Side::Right),
        ("state", Side::Left),
        ("address", Side::Left),
        ("status", Side::Left),
        ("regions", Side::Right),
        ("leaders", Side::Right),
        ("used", Side::Right),
        ("free", Side::Right),
        ("snapshots", Side::Right),
        ("heard", Side::Right),
    ];
    let row = |store: &Store| {
        let (identity, status) = (&store.store, &store.status);
        [
            identity.id.to_string(),
            identity.state_name.clone(),
            identity.address.clone(),
            identity.status_address.clone(),
            status.region_count.to_string(),
            status.leader_count.to_string(),
            bytes(status.used_bytes),
            bytes(status.available_bytes),
            snapshots(store),
            heard(store, now_ms),
        ]
    };
    table(columns, stores.iter().map(row).collect(), "no store has joined yet")
}

fn one(store: &Store, now_ms: u64) -> String {
    let (identity, status) = (&store.store, &store.status);
    let labels = identity.labels.iter().map(|label| format!("{}={}", label.key, label.value));
    let mut rows = vec![
        ("store", identity.id.to_string()),
        ("state", identity.state_name.clone()),
        ("address", identity.address.clone()),
        ("status", identity.status_address.clone()),
        ("labels", list(labels)),
        ("regions", status.region_count.to_string()),
        ("leaders", status.leader_count.to_string()),
        ("peers not caught up", status.pending_peer_count.to_string()),
        ("data of its regions", bytes(status.region_size << 20)),
        ("used on disk", bytes(status.used_bytes)),
        ("free on disk", format!("{} of {}", bytes(status.available_bytes), bytes(status.capacity_bytes))),
        ("snapshots", format!("{} (sent, received, installed)", snapshots(store))),
        ("busy", if status.is_busy { "yes" } else { "no" }.to_owned()),
        ("heard", heard(store, now_ms)),
    ];
    if let Some(drain) = &store.draining {
        rows.push(("draining", draining(drain)));
    }
    card(&rows)
}

fn draining(drain: &Draining) -> String {
    let waits = drain.waiting.iter().map(|wait| format!("{} wait: {}", wait.regions, wait.because));
    let moving = format!("{} of {} regions on their way", drain.moving, drain.regions);
    std::iter::once(moving).chain(waits).collect::<Vec<_>>().join("; ")
}

fn snapshots(store: &Store) -> String {
    let status = &store.status;
    format!("{}/{}/{}", status.sending_snap_count, status.receiving_snap_count, status.applying_snap_count)
}

fn heard(store: &Store, now_ms: u64) -> String {
    match store.store.last_heartbeat / 1_000_000 {
        0 => "never".to_owned(),
        at => format!("{} ago", duration(Duration::from_millis(now_ms.saturating_sub(at)))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::super::answers::DrainWait;
    use super::*;

    fn store() -> Store {
        let answer = json!({
            "store": {
                "id": 3, "address": "10.0.0.3:20160", "status_address": "10.0.0.3:20180", "state_name": "Offline",
                "last_heartbeat": 60_000_000_000_u64, "labels": [{"key": "zone", "value": "a"}], "more": 1,
            },
            "status": {
                "region_count": 7, "leader_count": 2, "used_bytes": 3 << 20, "available_bytes": 5_u64 << 30,
                "capacity_bytes": 10_u64 << 30, "sending_snap_count": 1, "receiving_snap_count": 2,
            },
        });
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn a_store_has_a_row() {
        let shown = all(&[store()], 63_000);
        for part in ["Offline", "10.0.0.3:20160", "10.0.0.3:20180", "3.00 MiB", "5.00 GiB", "1/2/0", "3 s ago"] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
        assert_eq!(all(&[], 0), "no store has joined yet");
    }

    #[test]
    fn a_store_has_a_card() {
        let shown = one(&store(), 63_000);
        for part in ["zone=a", "5.00 GiB of 10.00 GiB", "heard                3 s ago"] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
        assert!(!shown.contains("draining"));
        let waiting = vec![DrainWait { regions: 4, because: "the other stores are low on space".to_owned() }];
        let leaving = Store { draining: Some(Draining { regions: 7, moving: 2, waiting }), ..store() };
        let expected = "2 of 7 regions on their way; 4 wait: the other stores are low on space";
        assert!(one(&leaving, 63_000).ends_with(expected), "{}", one(&leaving, 63_000));
        let silent = Store::default();
        assert!(one(&silent, 63_000).ends_with("never"));
    }

    #[test]
    fn answers_are_signed() {
        assert_eq!(signed(StoreId(2), json!({"a": 1})), json!({"a": 1, "store_id": 2}));
    }
}
