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
//! | `/region/{id}` | one of them, asked at this moment |
//!
//! Everything else is 404. All of it is read-only.

mod connections;
mod region;
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

pub use source::{RegionAnswer, StatusSource};
pub use store::StoreStatus;

use connections::Bounded;

/// Serves the status of `source` at `listener` until `shutdown` comes, and then until the requests that came before it
/// are answered.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    source: Arc<dyn StatusSource>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(Bounded::new(listener), router(source)).with_graceful_shutdown(shutdown).await
}

type Source = State<Arc<dyn StatusSource>>;

fn router(source: Arc<dyn StatusSource>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(async |State(source): Source| Json(source.status())))
        .route("/livez", get(async || Json(json!({ "live": true }))))
        .route("/readyz", get(ready))
        .route("/config", get(async |State(source): Source| Json(source.config())))
        .route("/regions", get(regions))
        .route("/region/{id}", get(region))
        .fallback(async || error(StatusCode::NOT_FOUND, "no such path"))
        .method_not_allowed_fallback(async || error(StatusCode::METHOD_NOT_ALLOWED, "use GET"))
        .with_state(source)
}

fn error(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(json!({ "error": message.into() }))).into_response()
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

async fn regions(State(source): Source) -> Response {
    match source.regions() {
        Some(regions) => Json(Value::Array(regions)).into_response(),
        None => error(StatusCode::NOT_FOUND, "this process holds no regions"),
    }
}

async fn region(State(source): Source, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse() else {
        return error(StatusCode::BAD_REQUEST, format!("{id:?} is no region id: give a number"));
    };
    match source.region(RegionId(id)).await {
        Some(region) => Json(region).into_response(),
        None => error(StatusCode::NOT_FOUND, format!("region {id} is not here")),
    }
}
