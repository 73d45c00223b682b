//! Regions over HTTP.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use coordinator::{DownPeer, RegionInfo, View};
use serde::Deserialize;
use serde_json::{Value, json};
use types::{KeyRange, RegionId};

use super::{Answer, from_hex};
use crate::http::region::{descriptor, numbered_peer as peer};
use crate::pd::bridge::Bridge;

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    key: Option<String>,
    limit: Option<usize>,
}

/// By key; at most as many as one scan gives. Whoever wants more goes on behind the last one's end.
pub(super) async fn list(State(bridge): State<Bridge>, page: Result<Query<Page>, QueryRejection>) -> Answer {
    let Page { key, limit } = page?.0;
    let range = KeyRange::new(from_hex(key.as_deref().unwrap_or_default())?, Vec::new());
    let look = move |view: View<'_>| {
        Ok(view.scan_regions(&range, limit.unwrap_or(0)).into_iter().cloned().collect::<Vec<_>>())
    };
    let found: Vec<RegionInfo> = bridge.look(look).await?;
    let regions: Vec<Value> = found.iter().map(to_json).collect();
    Ok(Json(json!({ "count": regions.len(), "regions": regions })))
}

pub(super) async fn by_id(State(bridge): State<Bridge>, id: Result<Path<u64>, PathRejection>) -> Answer {
    let id = RegionId(id?.0);
    let found = bridge.look(move |view| Ok(view.region(id).cloned())).await?;
    Ok(Json(found.as_ref().map_or(Value::Null, to_json)))
}

#[derive(Debug, Deserialize)]
pub(super) struct Format {
    format: Option<String>,
}

/// The key as it stands in the path, percent-encoded; in hex with `?format=hex`.
pub(super) async fn by_key(
    State(bridge): State<Bridge>,
    key: Result<Path<String>, PathRejection>,
    format: Result<Query<Format>, QueryRejection>,
) -> Answer {
    let key = key?.0;
    let is_hex = format?.0.format.as_deref() == Some("hex");
    let key = if is_hex { from_hex(&key)? } else { key.into_bytes() };
    let found = bridge.look(move |view| Ok(view.region_at(&key).cloned())).await?;
    Ok(Json(found.as_ref().map_or(Value::Null, to_json)))
}

fn to_json(info: &RegionInfo) -> Value {
    let down = |down: &DownPeer| json!({ "peer": peer(&down.peer), "down_seconds": down.down_seconds });
    let mut shown = descriptor(&info.descriptor, peer);
    let reported = json!({
        "leader": info.leader.as_ref().map(peer),
        "down_peers": info.down_peers.iter().map(down).collect::<Vec<_>>(),
        "pending_peers": info.pending_peers.iter().map(peer).collect::<Vec<_>>(),
        "written_bytes": info.flow.bytes_written,
        "read_bytes": info.flow.bytes_read,
        "written_keys": info.flow.keys_written,
        "read_keys": info.flow.keys_read,
        "approximate_size": info.approximate_bytes.div_ceil(1 << 20),
        "approximate_keys": info.approximate_keys,
    });
    if let (Value::Object(shown), Value::Object(reported)) = (&mut shown, reported) {
        shown.extend(reported);
    }
    shown
}
