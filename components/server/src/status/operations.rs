//! What people may ask of a store over HTTP, beside looking: they do it by `raftyard ctl`.

use std::sync::Arc;

use ::region::Role;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{MethodRouter, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use slog::{Logger, info};
use store::{RegionView, StoreHandle};
use tokio::sync::Semaphore;
use types::{KeyRange, RequestError, StoreId};

use super::parse_region;
use super::refused::{Answer, Refused, from_hex, refuse};
use crate::http::region::{descriptor, peer};
use crate::moves::{Splits, ask};

/// Largest body that is read.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Does what people ask of a store.
pub struct StoreOperations {
    store: StoreHandle,
    splits: Splits,
    logger: Logger,
    /// One compaction at a time: each reads and writes as fast as the disk can.
    compaction: Arc<Semaphore>,
}

impl StoreOperations {
    /// Does it with `store`.
    pub fn new(store: StoreHandle, splits: Splits, logger: Logger) -> Self {
        Self { store, splits, logger, compaction: Arc::new(Semaphore::new(1)) }
    }

    /// The paths, for [`serve`](super::serve).
    pub fn routes(self) -> Router {
        let post = |method: MethodRouter<Arc<Self>>| {
            method.fallback(async || -> Refused { refuse(StatusCode::METHOD_NOT_ALLOWED, "use POST") })
        };
        Router::new()
            .route("/regions/{id}/split", post(self::post(split)))
            .route("/regions/{id}/transfer", post(self::post(transfer)))
            .route("/regions/{id}/consistency-check", post(self::post(check_consistency)))
            .route("/compact", post(self::post(compact)))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(Arc::new(self))
    }

    /// A region that this store leads.
    fn led(&self, id: &str) -> Result<RegionView, Refused> {
        let region = parse_region(id)?;
        let view = self.store.region(region).ok_or(RequestError::RegionNotFound { region })?;
        if view.role != Role::Leader {
            return Err(RequestError::NotLeader { region, leader: view.leader }.into());
        }
        Ok(view)
    }
}

type Store = State<Arc<StoreOperations>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: Vec<String>,
}

async fn split(State(store): Store, Path(id): Path<String>, keys: Result<Json<Keys>, JsonRejection>) -> Answer {
    let keys: Result<Vec<Bytes>, Refused> = keys?.0.keys.iter().map(|key| from_hex(key).map(Bytes::from)).collect();
    let region = store.led(&id)?.descriptor;
    let regions = store.splits.split(&region, keys?).await?;
    Ok(Json(json!({ "regions": regions.iter().map(|region| descriptor(region, peer)).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Destination {
    to_store: u64,
}

async fn transfer(
    State(store): Store,
    Path(id): Path<String>,
    to: Result<Query<Destination>, QueryRejection>,
) -> Answer {
    let to = StoreId(to?.0.to_store);
    let region = store.led(&id)?.descriptor.id;
    ask(|responder| store.store.transfer_leader(region, to, responder)).await?;
    info!(store.logger, "leader transferred on request"; "region_id" => region.0, "to_store" => to.0);
    Ok(Json(json!({ "region_id": region.0, "leader_store_id": to.0 })))
}

/// What it finds is told by `/status` of the store that is wrong.
async fn check_consistency(State(store): Store, Path(id): Path<String>) -> Result<(StatusCode, Json<Value>), Refused> {
    let region = store.led(&id)?.descriptor.id;
    store.store.check_consistency(region);
    Ok((StatusCode::ACCEPTED, Json(json!({ "region_id": region.0 }))))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    #[serde(default)]
    start_key: String,
    #[serde(default)]
    end_key: String,
}

async fn compact(State(store): Store, range: Result<Query<Range>, QueryRejection>) -> Answer {
    let Range { start_key, end_key } = range?.0;
    let range = KeyRange::new(from_hex(&start_key)?, from_hex(&end_key)?);
    let permit = Arc::clone(&store.compaction).try_acquire_owned();
    let permit = permit.map_err(|_| refuse(StatusCode::CONFLICT, "a compaction is under way: wait for its end"))?;
    let state = Arc::clone(&store.store.engines().state);
    info!(store.logger, "compaction begins on request"; "range" => %range);
    let before = state.statistics().disk_bytes;
    let compacting = tokio::task::spawn_blocking(move || {
        // It goes on when nobody waits for it any more, and keeps others out until its end.
        let _permit = permit;
        state.compact(&range);
        state.statistics().disk_bytes
    });
    let after = compacting.await.map_err(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    info!(store.logger, "compaction ended"; "disk_bytes_before" => before, "disk_bytes_after" => after);
    Ok(Json(json!({ "disk_bytes_before": before, "disk_bytes_after": after })))
}
