//! The status of a process over HTTP, for people, for Prometheus, and for the placement driver, which reads `/config`.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics` | every metric, in Prometheus' text format |
//! | `/status` | who the process is and what it does, as JSON |
//! | `/livez` | 200 for as long as the process answers at all |
//! | `/readyz` | 200 while it serves, 503 otherwise |
//! | `/config` | its configuration, as JSON |
//! | `/regions` | a store's regions as of their last change, as a JSON array |
//! | `/regions/{id}`, `/region/{id}` | one of them, asked at this moment |
//! | `/snapshots` | a store's snapshots in flight, as a JSON array |
//!
//! These are for GET. A store takes orders as well, for POST; they are for people, who give them by `raftyard ctl`:
//!
//! | path | what it does | answer |
//! |---|---|---|
//! | `/regions/{id}/split`, body `{"keys": ["6D", …]}` | splits a region that is led here | its parts, by key |
//! | `/regions/{id}/transfer?to_store={id}` | makes another member lead | once that one does |
//! | `/regions/{id}/consistency-check` | has the replicas compared | 202 at once |
//! | `/compact?start_key={hex}&end_key={hex}` | compacts a range of the state engine, or all | at its end |
//!
//! Keys are hex. Everything else is 404. Errors are `{"error": "…"}`: 400 for what is wrong, 404 for a region that is not
//! here, 409 where the store does not lead the region (with `leader`, where it is known) or the region is not as it was
//! thought to be, 503 for what may be tried again later.

mod config;
mod connections;
mod differing;
mod operations;
mod refused;
mod region;
mod snapshots;
mod source;
mod store;

use std::io;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use types::RegionId;

pub use config::shown;
pub use differing::Differing;
pub use operations::StoreOperations;
pub use source::{RegionAnswer, StatusSource};
pub use store::StoreStatus;

use connections::Bounded;
use refused::{Refused, refuse};

/// Serves the status of `source`, and what else there is, at `listener` until `shutdown` comes, and then until the requests that came before it
/// are answered.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    source: Arc<dyn StatusSource>,
    others: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(Bounded::new(listener), router(source, others)).with_graceful_shutdown(shutdown).await
}

type Source = State<Arc<dyn StatusSource>>;

fn router(source: Arc<dyn StatusSource>, others: Router) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(async |State(source): Source| Json(source.status())))
        .route("/livez", get(async || Json(json!({ "live": true }))))
        .route("/readyz", get(ready))
        .route("/config", get(async |State(source): Source| Json(source.config())))
        .route("/regions", get(regions))
        .route("/regions/{id}", get(region))
        .route("/snapshots", get(in_flight))
        // The name that TiKV has for it.
        .route("/region/{id}", get(region))
        .with_state(source)
        .method_not_allowed_fallback(async || -> Refused { refuse(StatusCode::METHOD_NOT_ALLOWED, "use GET") })
        .merge(others)
        .fallback(async || -> Refused { refuse(StatusCode::NOT_FOUND, "no such path") })
}

async fn metrics(State(source): Source) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, source.metrics()).into_response()
}

async fn ready(State(source): Source) -> Response {
    let ready = source.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready }))).into_response()
}

async fn regions(State(source): Source) -> Result<Json<Value>, Refused> {
    let regions = source.regions().ok_or_else(|| refuse(StatusCode::NOT_FOUND, "this process holds no regions"))?;
    Ok(Json(Value::Array(regions)))
}

async fn in_flight(State(source): Source) -> Result<Json<Value>, Refused> {
    let snapshots = source.snapshots().ok_or_else(|| refuse(StatusCode::NOT_FOUND, "this process holds no regions"))?;
    Ok(Json(Value::Array(snapshots)))
}

async fn region(State(source): Source, Path(id): Path<String>) -> Result<Json<Value>, Refused> {
    let id = parse_region(&id)?;
    let region = source.region(id).await;
    Ok(Json(region.ok_or_else(|| refuse(StatusCode::NOT_FOUND, format!("region {id} is not here")))?))
}

fn parse_region(id: &str) -> Result<RegionId, Refused> {
    let wrong = |_| refuse(StatusCode::BAD_REQUEST, format!("{id:?} is no region id: give a number"));
    id.parse().map(RegionId).map_err(wrong)
}
