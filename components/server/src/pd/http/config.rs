//! How regions are placed, over HTTP.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use coordinator::{Change, View};
use placement::PlacementConfig;
use placement::config::SETTINGS;
use serde_json::{Map, Value, json};
use slog::info;

use super::{Answer, Refused, bad};
use crate::pd::bridge::Bridge;

const REPLICATION: &str = "replication";
const SCHEDULE: &str = "schedule";

async fn section(bridge: &Bridge, name: &'static str) -> Result<Value, Refused> {
    let config = bridge.look(|view: View<'_>| Ok(view.placement().config().clone())).await?;
    Ok(Value::Object(settings(&config, name)))
}

fn settings(config: &PlacementConfig, section: &str) -> Map<String, Value> {
    let of_section = |name: &&'static str| name.split_once('.').filter(|(prefix, _)| *prefix == section);
    let entry = |name: &'static str| {
        let (_, short) = of_section(&name)?;
        Some((short.to_owned(), typed(config.get(name)?)))
    };
    SETTINGS.into_iter().filter_map(entry).collect()
}

/// Numbers and switches are themselves in JSON; all else is text.
fn typed(text: String) -> Value {
    match serde_json::from_str(&text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(text),
    }
}

pub(super) async fn all(State(bridge): State<Bridge>) -> Answer {
    Ok(Json(json!({
        REPLICATION: section(&bridge, REPLICATION).await?,
        SCHEDULE: section(&bridge, SCHEDULE).await?,
    })))
}

pub(super) async fn replication(State(bridge): State<Bridge>) -> Answer {
    Ok(Json(section(&bridge, REPLICATION).await?))
}

pub(super) async fn schedule(State(bridge): State<Bridge>) -> Answer {
    Ok(Json(section(&bridge, SCHEDULE).await?))
}

type Body = Result<Json<Map<String, Value>>, JsonRejection>;

pub(super) async fn set(State(bridge): State<Bridge>, body: Body) -> Answer {
    change(&bridge, None, body?.0).await
}

pub(super) async fn set_replication(State(bridge): State<Bridge>, body: Body) -> Answer {
    change(&bridge, Some(REPLICATION), body?.0).await
}

pub(super) async fn set_schedule(State(bridge): State<Bridge>, body: Body) -> Answer {
    change(&bridge, Some(SCHEDULE), body?.0).await
}

async fn change(bridge: &Bridge, section: Option<&str>, body: Map<String, Value>) -> Answer {
    let settings = read(section, body)?;
    info!(bridge.logger(), "placement configured"; "settings" => ?settings);
    bridge.ask(|reply| Change::Configure { settings, reply }).await?;
    Ok(Json(json!("The config is updated.")))
}

/// Names with or without their section, or sections as objects.
fn read(section: Option<&str>, body: Map<String, Value>) -> Result<Vec<(String, String)>, Refused> {
    let mut settings = Vec::new();
    for (name, value) in body {
        match value {
            Value::Object(inner) if section.is_none() && [REPLICATION, SCHEDULE].contains(&name.as_str()) => {
                settings.extend(read(Some(&name), inner)?);
            }
            value => settings.push((full_name(section, &name), text(&name, value)?)),
        }
    }
    if settings.is_empty() {
        return Err(bad("nothing to set: give an object with settings"));
    }
    // Labels before the level that is one of them.
    settings.sort_by_key(|(name, _)| SETTINGS.iter().position(|known| known == name));
    Ok(settings)
}

/// The setting that a short name means; a name that is none is refused later, with all that are.
fn full_name(section: Option<&str>, name: &str) -> String {
    let is_meant = |known: &&&str| {
        let (prefix, short) = known.split_once('.').unwrap_or_default();
        **known == name || short == name && section.is_none_or(|section| section == prefix)
    };
    SETTINGS.iter().find(is_meant).map_or_else(|| name.to_owned(), |known| (*known).to_owned())
}

fn text(name: &str, value: Value) -> Result<String, Refused> {
    let wrong = || bad(format!("setting {name:?} needs a text, a number, true or false, or a list of texts"));
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(switch) => Ok(switch.to_string()),
        Value::Array(list) => {
            let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            words.map(|words| words.join(",")).ok_or_else(wrong)
        }
        Value::Null | Value::Object(_) => Err(wrong()),
    }
}
