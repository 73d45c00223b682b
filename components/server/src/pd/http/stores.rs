//! Stores over HTTP.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use coordinator::{Change, CoordinatorError, StoreHealth, StoreState, StoreView, View};
use placement::{Drain, Obstacle};
use serde::Deserialize;
use serde_json::{Value, json};
use slog::info;
use types::StoreId;

use super::{Answer, Refused, bad};
use crate::pd::bridge::Bridge;

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    state: Option<String>,
}

fn parse_state(text: &str) -> Result<StoreState, Refused> {
    match text.to_ascii_lowercase().as_str() {
        "up" | "0" => Ok(StoreState::Up),
        "offline" | "1" => Ok(StoreState::Offline),
        "tombstone" | "2" => Ok(StoreState::Tombstone),
        _ => Err(bad(format!("state {text:?} is none: give up, offline or tombstone"))),
    }
}

pub(super) async fn list(State(bridge): State<Bridge>, wanted: Result<Query<Wanted>, QueryRejection>) -> Answer {
    let wanted = wanted?.0.state.as_deref().map(parse_state).transpose()?;
    let look = move |view: View<'_>| {
        let is_wanted = |store: &StoreView<'_>| match wanted {
            Some(state) => store.record.state == state,
            None => store.record.is_live(),
        };
        Ok(view.stores(false).filter(is_wanted).map(|store| to_json(&view, &store)).collect::<Vec<_>>())
    };
    let stores = bridge.look(look).await?;
    Ok(Json(json!({ "count": stores.len(), "stores": stores })))
}

pub(super) async fn one(State(bridge): State<Bridge>, id: Result<Path<u64>, PathRejection>) -> Answer {
    let id = StoreId(id?.0);
    Ok(Json(bridge.look(move |view| Ok(to_json(&view, &view.store(id)?))).await?))
}

pub(super) async fn leave(State(bridge): State<Bridge>, id: Result<Path<u64>, PathRejection>) -> Answer {
    remove(&bridge, StoreId(id?.0)).await
}

async fn remove(bridge: &Bridge, store: StoreId) -> Answer {
    let state = bridge.ask(|reply| Change::RemoveStore { store, reply }).await?;
    info!(bridge.logger(), "store told to leave"; "store" => store.0, "state" => ?state);
    Ok(Json(json!(format!("The store is set as {state:?}."))))
}

pub(super) async fn set_state(
    State(bridge): State<Bridge>,
    id: Result<Path<u64>, PathRejection>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Answer {
    let store = StoreId(id?.0);
    let wanted = wanted?.0.state.ok_or_else(|| bad("give ?state=Up or ?state=Offline"))?;
    match parse_state(&wanted)? {
        StoreState::Up => {
            bridge.ask(|reply| Change::RestoreStore { store, reply }).await?;
            info!(bridge.logger(), "store told to stay"; "store" => store.0);
            Ok(Json(json!("The store's state is updated.")))
        }
        StoreState::Offline => remove(&bridge, store).await,
        StoreState::Tombstone => Err(CoordinatorError::Invalid {
            reason: "a store becomes a tombstone by itself, once it is empty".to_owned(),
        })?,
    }
}

fn to_json(view: &View<'_>, store: &StoreView<'_>) -> Value {
    let (description, state) = (&store.record.description, store.record.state);
    let state_name = match (state, store.health) {
        (StoreState::Tombstone, _) => "Tombstone",
        (StoreState::Offline, _) => "Offline",
        (StoreState::Up, StoreHealth::Up) => "Up",
        (StoreState::Up, StoreHealth::Disconnected) => "Disconnected",
        (StoreState::Up, StoreHealth::Down) => "Down",
    };
    let label = |(key, value): (&String, &String)| json!({ "key": key, "value": value });
    let counts = view.store_counts(description.id);
    let stats = store.stats.cloned().unwrap_or_default();
    let mut shown = json!({
        "store": {
            "id": description.id.0,
            "address": description.address,
            "peer_address": description.peer_address,
            "status_address": description.status_address,
            "version": description.version,
            "git_hash": description.git_hash,
            "deploy_path": description.deploy_path,
            "start_timestamp": description.start_timestamp,
            "labels": description.labels.iter().map(label).collect::<Vec<_>>(),
            "state": state as u8,
            "state_name": state_name,
            "last_heartbeat": store.last_heartbeat_unix_ms.saturating_mul(1_000_000),
        },
        "status": {
            "capacity_bytes": stats.capacity_bytes,
            "available_bytes": stats.available_bytes,
            "used_bytes": stats.used_bytes,
            "region_count": counts.regions,
            "region_size": counts.bytes >> 20,
            "leader_count": counts.leaders,
            "pending_peer_count": counts.pending_peers,
            "sending_snap_count": stats.sending_snapshots,
            "receiving_snap_count": stats.receiving_snapshots,
            "applying_snap_count": stats.applying_snapshots,
            "is_busy": stats.is_busy,
            "slow_score": stats.slow_score,
            "start_time": stats.start_time_s,
        },
    });
    if let Some(drain) = view.drain(store) {
        shown["draining"] = draining(&drain);
    }
    shown
}

/// How the emptying of a store stands; what for most of its regions wait comes first.
fn draining(drain: &Drain) -> Value {
    let mut waiting: Vec<(&Obstacle, &u64)> = drain.waiting.iter().collect();
    waiting.sort_by_key(|(_, regions)| Reverse(**regions));
    let wait = |(obstacle, regions): (&Obstacle, &u64)| json!({ "regions": regions, "because": obstacle.why() });
    json!({
        "regions": drain.regions,
        "moving": drain.moving,
        "waiting": waiting.into_iter().map(wait).collect::<Vec<_>>(),
    })
}
