//! Operators over HTTP.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bytes::Bytes;
use coordinator::{Request, View};
use placement::{Command, Operator, OperatorRecord, SplitPolicy, Step};
use proto::pdpb::OperatorStatus;
use serde::Deserialize;
use serde_json::{Value, json};
use slog::info;
use types::{Peer, RegionId, StoreId};

use super::{Answer, Refused, bad, from_hex, refuse};
use crate::pd::bridge::Bridge;
use crate::pd::operators::{MAX_GROUP_BYTES, MAX_SCATTERED, ending, kind, order, scatter_all};

#[derive(Debug, Deserialize)]
pub(super) struct Shape {
    object: Option<String>,
    from: Option<u64>,
}

pub(super) async fn list(State(bridge): State<Bridge>, shape: Result<Query<Shape>, QueryRejection>) -> Answer {
    let as_objects = shape?.0.object.is_some();
    let tell = move |view: View<'_>| {
        let tell = |operator: &Operator| if as_objects { to_json(&view, operator) } else { json!(to_text(operator)) };
        Ok(view.placement().operators().map(tell).collect::<Vec<_>>())
    };
    Ok(Json(Value::Array(bridge.look(tell).await?)))
}

pub(super) async fn records(State(bridge): State<Bridge>, shape: Result<Query<Shape>, QueryRejection>) -> Answer {
    let Shape { object, from } = shape?.0;
    // Operators know the monotonic clock alone: it is compared by how long ago.
    let now_s = bridge.unix_ms() / 1000;
    let look = move |view: View<'_>| {
        let ended_s = |record: &OperatorRecord| now_s.saturating_sub(view.now().since(record.ended).as_secs());
        let wanted = view.placement().records().filter(|record| ended_s(record) >= from.unwrap_or(0));
        let tell = |record: &OperatorRecord| {
            let lasted_s = record.ended.since(record.operator.created()).as_secs_f64();
            let status = ending(&record.ending).as_str_name();
            if object.is_some() {
                json!({
                    "operator": to_json(&view, &record.operator),
                    "status": status,
                    "reason": format!("{:?}", record.ending),
                    "finish_time": ended_s(record),
                    "duration_seconds": lasted_s,
                })
            } else {
                json!(format!("{} {status} ({:?}) after {lasted_s} s", to_text(&record.operator), record.ending))
            }
        };
        Ok(wanted.map(tell).collect::<Vec<_>>())
    };
    Ok(Json(Value::Array(bridge.look(look).await?)))
}

pub(super) async fn one(State(bridge): State<Bridge>, region: Result<Path<u64>, PathRejection>) -> Answer {
    let region = RegionId(region?.0);
    let look = move |view: View<'_>| {
        let running = view.placement().operator(region);
        let running = running.map(|operator| (to_json(&view, operator), OperatorStatus::Running));
        let ended = || {
            let record = view.placement().records().rev().find(|record| record.operator.region() == region)?;
            Some((to_json(&view, &record.operator), ending(&record.ending)))
        };
        Ok(running.or_else(ended))
    };
    match bridge.look(look).await? {
        Some((operator, status)) => Ok(Json(json!({ "operator": operator, "status": status.as_str_name() }))),
        None => Err(refuse(StatusCode::NOT_FOUND, format!("region {region} has no operator"))),
    }
}

pub(super) async fn cancel(State(bridge): State<Bridge>, region: Result<Path<u64>, PathRejection>) -> Answer {
    let region = RegionId(region?.0);
    bridge.ask(|reply| Request::CancelOperator { region, reply }).await?;
    info!(bridge.logger(), "operator cancelled"; "region" => region.0);
    Ok(Json(json!("The pending operator is canceled.")))
}

/// What is asked for, as the ecosystem's tools send it. Which fields count depends on the name.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wish {
    name: String,
    #[serde(default)]
    region_id: u64,
    store_id: Option<u64>,
    from_store_id: Option<u64>,
    to_store_id: Option<u64>,
    policy: Option<String>,
    keys: Option<Vec<String>>,
    region_ids: Option<Vec<u64>>,
    #[serde(default)]
    group: String,
}

pub(super) async fn add(State(bridge): State<Bridge>, wish: Result<Json<Wish>, JsonRejection>) -> Answer {
    let wish = wish?.0;
    if wish.group.len() > MAX_GROUP_BYTES {
        return Err(bad(format!("a group's name has at most {MAX_GROUP_BYTES} bytes")));
    }
    if wish.name == "scatter-regions" {
        return scatter(&bridge, wish).await;
    }
    let (name, region) = (wish.name.clone(), RegionId(wish.region_id));
    order(&bridge, region, command(wish)?).await?;
    info!(bridge.logger(), "operator asked for"; "name" => name, "region" => region.0);
    Ok(Json(json!("The operator is created.")))
}

async fn scatter(bridge: &Bridge, wish: Wish) -> Answer {
    let regions: Vec<RegionId> = wish.region_ids.unwrap_or_default().into_iter().map(RegionId).collect();
    if regions.is_empty() || regions.len() > MAX_SCATTERED {
        return Err(bad(format!("scatter-regions needs 1 to {MAX_SCATTERED} region_ids")));
    }
    let failed = scatter_all(bridge, &regions, &wish.group).await?;
    let done = (regions.len() - failed.len()) * 100 / regions.len();
    let failed: Vec<u64> = failed.into_iter().map(|region| region.0).collect();
    Ok(Json(json!({ "processed-percentage": done, "failed-regions": failed })))
}

fn command(wish: Wish) -> Result<Command, Refused> {
    let needs = |field: Option<u64>, name: &str| {
        field.map(StoreId).ok_or_else(|| bad(format!("{} needs a number {name}", wish.name)))
    };
    Ok(match wish.name.as_str() {
        "transfer-leader" => Command::TransferLeader { to: needs(wish.to_store_id.or(wish.store_id), "to_store_id")? },
        "add-peer" => Command::AddPeer { to: needs(wish.store_id, "store_id")? },
        "add-learner" => Command::AddLearner { to: needs(wish.store_id, "store_id")? },
        "remove-peer" => Command::RemovePeer { from: needs(wish.store_id, "store_id")? },
        "transfer-peer" | "move-peer" => Command::MovePeer {
            from: needs(wish.from_store_id, "from_store_id")?,
            to: needs(wish.to_store_id, "to_store_id")?,
        },
        "split-region" | "split" => Command::Split { policy: policy(wish.policy.as_deref(), wish.keys.as_deref())? },
        "scatter-region" => Command::Scatter { group: wish.group },
        other => {
            return Err(bad(format!(
                "there is no operator {other:?}: ask for transfer-leader, add-peer, add-learner, remove-peer, \
                 transfer-peer, split-region, scatter-region or scatter-regions"
            )));
        }
    })
}

fn policy(policy: Option<&str>, keys: Option<&[String]>) -> Result<SplitPolicy, Refused> {
    match policy.unwrap_or(if keys.is_some() { "usekey" } else { "approximate" }).to_ascii_lowercase().as_str() {
        "scan" => Ok(SplitPolicy::Scan),
        "approximate" => Ok(SplitPolicy::Approximate),
        "usekey" => {
            let keys = keys.ok_or_else(|| bad("policy usekey needs keys, in hex"))?;
            let keys = keys.iter().map(|key| from_hex(key).map(Bytes::from));
            Ok(SplitPolicy::Keys(keys.collect::<Result<_, _>>()?))
        }
        other => Err(bad(format!("there is no policy {other:?}: give scan, approximate or usekey"))),
    }
}

fn to_text(operator: &Operator) -> String {
    let steps: Vec<String> = operator.steps().map(step_text).collect();
    format!(
        "{} (kind:{}, region:{}, priority:{}, step:{}/{}) {}",
        operator.name(),
        kind(operator),
        operator.region(),
        operator.priority().name(),
        operator.current(),
        steps.len(),
        steps.join("; ")
    )
}

fn to_json(view: &View<'_>, operator: &Operator) -> Value {
    json!({
        "id": operator.id().0,
        "desc": operator.name(),
        "kind": kind(operator),
        "region_id": operator.region().0,
        "region_epoch": { "conf_ver": operator.epoch().conf_ver, "version": operator.epoch().version },
        "origin": operator.origin().name(),
        "priority": operator.priority().name(),
        "steps": operator.steps().map(step_text).collect::<Vec<_>>(),
        "current_step": operator.current(),
        "age_seconds": view.now().since(operator.created()).as_secs_f64(),
    })
}

fn step_text(step: &Step) -> String {
    let stores = |peers: &[Peer]| peers.iter().map(|peer| peer.store_id.to_string()).collect::<Vec<_>>().join(", ");
    let one = |peer: &Peer| format!("{} {} on store {}", step.name(), peer.id, peer.store_id);
    match step {
        Step::TransferLeader { to } => format!("{} to store {}", step.name(), stores(to)),
        Step::AddLearner { peer } | Step::Promote { peer } | Step::Demote { peer } | Step::RemovePeer { peer } => {
            one(peer)
        }
        Step::EnterJoint { promote, demote } => {
            format!("{}: promote on store {}, demote on store {}", step.name(), stores(promote), stores(demote))
        }
        Step::LeaveJoint => step.name().to_owned(),
        Step::Split { policy, .. } => format!("{} by {}", step.name(), policy.name()),
    }
}
