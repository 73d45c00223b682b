//! `raftyard ctl config`.

use client::http::Method;
use serde_json::{Map, Value};

use super::args::ConfigOrder;
use super::cluster::Cluster;
use super::error::CtlError;
use super::output::{Output, Side, table};

/// Shows or sets how regions are placed.
pub async fn run(cluster: &Cluster, output: Output, order: Option<&ConfigOrder>) -> Result<(), CtlError> {
    match order {
        None => {
            let answer = cluster.pd(Method::Get, "/config", None).await?;
            output.show(&answer, || settings(&answer))?;
        }
        Some(ConfigOrder::Set { name, value }) => {
            let body = Map::from_iter([(name.clone(), Value::String(value.clone()))]);
            let answer = cluster.pd(Method::Post, "/config", Some(Value::Object(body))).await?;
            output.show(&answer, || format!("{name} is {value}"))?;
        }
    }
    Ok(())
}

fn settings(answer: &Value) -> String {
    let empty = Map::new();
    let mut rows = Vec::new();
    for (section, settings) in answer.as_object().unwrap_or(&empty) {
        for (name, value) in settings.as_object().unwrap_or(&empty) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            rows.push([format!("{section}.{name}"), value]);
        }
    }
    table([("setting", Side::Left), ("value", Side::Left)], rows, "there is no setting")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_have_their_full_names() {
        let answer = json!({"replication": {"max-replicas": 3}, "schedule": {"max-store-down-time": "30m"}});
        let shown = settings(&answer);
        assert!(shown.contains("replication.max-replicas      3"), "{shown}");
        assert!(shown.contains("schedule.max-store-down-time  30m"), "{shown}");
    }
}
