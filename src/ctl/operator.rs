//! `raftyard ctl operator`.

use std::time::Duration;

use client::http::Method;
use serde_json::{Value, json};
use types::range::HexKey;

use super::answers::{Operator, OperatorRecord, OperatorState};
use super::args::{NewOperator, OperatorOrder, SplitBy};
use super::cluster::{Cluster, read};
use super::error::{CtlError, Whom};
use super::keys::Notation;
use super::output::{Output, Side, card, duration, table};

/// Shows operators, asks for one or ends one. `now_ms` is the time of day.
pub async fn run(
    cluster: &Cluster,
    output: Output,
    order: Option<&OperatorOrder>,
    now_ms: u64,
) -> Result<(), CtlError> {
    match order {
        None | Some(OperatorOrder::List) => {
            let answer = cluster.pd(Method::Get, "/operators?object", None).await?;
            let operators: Vec<Operator> = read(Whom::Pd, answer.clone())?;
            output.show(&answer, || under_way(&operators))?;
        }
        Some(OperatorOrder::Show { region }) => {
            let answer = cluster.pd(Method::Get, &format!("/operators/{region}"), None).await?;
            let state: OperatorState = read(Whom::Pd, answer.clone())?;
            output.show(&answer, || one(&state))?;
        }
        Some(OperatorOrder::History) => {
            let answer = cluster.pd(Method::Get, "/operators/records?object", None).await?;
            let records: Vec<OperatorRecord> = read(Whom::Pd, answer.clone())?;
            output.show(&answer, || ended(&records, now_ms))?;
        }
        Some(OperatorOrder::Add(new)) => {
            let (region, wish) = wish(new, output.keys)?;
            let answer = cluster.add_operator(wish).await?;
            output.show(&answer, || {
                format!("the placement driver takes it up; `raftyard ctl operator show {region}` tells how it goes")
            })?;
        }
        Some(OperatorOrder::Cancel { region }) => {
            let answer = cluster.pd(Method::Delete, &format!("/operators/{region}"), None).await?;
            output.show(&answer, || format!("the operator of region {region} is cancelled"))?;
        }
    }
    Ok(())
}

/// The region, and what is asked for in the words of the placement driver.
fn wish(new: &NewOperator, keys: Notation) -> Result<(u64, Value), CtlError> {
    Ok(match new {
        NewOperator::TransferLeader { region, store } => {
            (*region, json!({ "name": "transfer-leader", "region_id": region, "to_store_id": store }))
        }
        NewOperator::AddPeer { region, store } => {
            (*region, json!({ "name": "add-peer", "region_id": region, "store_id": store }))
        }
        NewOperator::RemovePeer { region, store } => {
            (*region, json!({ "name": "remove-peer", "region_id": region, "store_id": store }))
        }
        NewOperator::MovePeer { region, from, to } => (*region, move_peer(*region, *from, *to)),
        NewOperator::Split { region, keys: at, .. } if !at.is_empty() => {
            let at: Result<Vec<_>, _> = at.iter().map(|key| keys.parse(key)).collect();
            let at: Vec<String> = at?.iter().map(|key| HexKey(key).to_string()).collect();
            (*region, json!({ "name": "split-region", "region_id": region, "policy": "usekey", "keys": at }))
        }
        NewOperator::Split { region, policy, .. } => {
            let policy = match policy {
                None | Some(SplitBy::Approximate) => "approximate",
                Some(SplitBy::Scan) => "scan",
            };
            (*region, json!({ "name": "split-region", "region_id": region, "policy": policy }))
        }
    })
}

/// The wish that a region's peer on one store is replaced by one on another.
pub fn move_peer(region: u64, from: u64, to: u64) -> Value {
    json!({ "name": "transfer-peer", "region_id": region, "from_store_id": from, "to_store_id": to })
}

fn under_way(operators: &[Operator]) -> String {
    let columns = [
        ("region", Side::Right),
        ("what", Side::Left),
        ("asked by", Side::Left),
        ("priority", Side::Left),
        ("step", Side::Left),
        ("for", Side::Right),
    ];
    let row = |operator: &Operator| {
        [
            operator.region_id.to_string(),
            operator.desc.clone(),
            operator.origin.clone(),
            operator.priority.clone(),
            step(operator),
            duration(Duration::from_secs_f64(operator.age_seconds.max(0.0))),
        ]
    };
    table(columns, operators.iter().map(row).collect(), "no operator is under way")
}

/// Which step it is at, and what that does.
fn step(operator: &Operator) -> String {
    let all = operator.steps.len();
    match operator.steps.get(operator.current_step) {
        Some(step) => format!("{}/{all}: {step}", operator.current_step + 1),
        None => format!("{all}/{all}: done"),
    }
}

fn one(state: &OperatorState) -> String {
    let operator = &state.operator;
    let mark = |number: usize| match number.cmp(&operator.current_step) {
        std::cmp::Ordering::Less => "done",
        std::cmp::Ordering::Equal => "now",
        std::cmp::Ordering::Greater => "then",
    };
    let steps = operator.steps.iter().enumerate().map(|(number, step)| format!("\n  {:<4}  {step}", mark(number)));
    let head = card(&[
        ("region", operator.region_id.to_string()),
        ("what", operator.desc.clone()),
        ("status", state.status.clone()),
        ("asked by", operator.origin.clone()),
        ("priority", operator.priority.clone()),
    ]);
    format!("{head}\nsteps{}", steps.collect::<String>())
}

fn ended(records: &[OperatorRecord], now_ms: u64) -> String {
    let columns = [
        ("region", Side::Right),
        ("what", Side::Left),
        ("asked by", Side::Left),
        ("end", Side::Left),
        ("because", Side::Left),
        ("lasted", Side::Right),
        ("ended", Side::Right),
    ];
    let row = |record: &OperatorRecord| {
        let ago = Duration::from_secs((now_ms / 1000).saturating_sub(record.finish_time));
        [
            record.operator.region_id.to_string(),
            record.operator.desc.clone(),
            record.operator.origin.clone(),
            record.status.clone(),
            record.reason.clone(),
            duration(Duration::from_secs_f64(record.duration_seconds.max(0.0))),
            format!("{} ago", duration(ago)),
        ]
    };
    table(columns, records.iter().map(row).collect(), "no operator has ended since the placement driver began to lead")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn operator() -> Operator {
        let answer = json!({
            "id": 1, "desc": "admin-move-peer", "kind": "admin,region", "region_id": 4, "origin": "admin",
            "priority": "high", "steps": ["add learner 12 on store 4", "leave joint"], "current_step": 1,
            "age_seconds": 61.5,
        });
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn an_operator_has_a_row() {
        let shown = under_way(&[operator()]);
        for part in ["admin-move-peer", "high", "2/2: leave joint", "1 min 1 s"] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
        assert_eq!(under_way(&[]), "no operator is under way");
        assert_eq!(step(&Operator { current_step: 2, ..operator() }), "2/2: done");
    }

    #[test]
    fn an_operator_shows_its_steps() {
        let state = OperatorState { operator: operator(), status: "RUNNING".to_owned() };
        let shown = one(&state);
        assert!(shown.ends_with("steps\n  done  add learner 12 on store 4\n  now   leave joint"), "{shown}");
    }

    #[test]
    fn an_ended_operator_says_why() {
        let record = OperatorRecord {
            operator: operator(),
            status: "SUCCESS".to_owned(),
            reason: "Finished".to_owned(),
            finish_time: 100,
            duration_seconds: 2.0,
        };
        let shown = ended(&[record], 105_000);
        for part in ["SUCCESS", "Finished", "2 s", "5 s ago"] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
    }

    #[test]
    fn wishes_are_said_as_the_placement_driver_understands_them() {
        let new = NewOperator::Split { region: 4, keys: vec!["m".to_owned(), r"\xff".to_owned()], policy: None };
        let (region, body) = wish(&new, Notation::Escaped).unwrap();
        assert_eq!(region, 4);
        assert_eq!(body, json!({"name": "split-region", "region_id": 4, "policy": "usekey", "keys": ["6D", "FF"]}));
        let new = NewOperator::Split { region: 4, keys: vec![], policy: Some(SplitBy::Scan) };
        assert_eq!(wish(&new, Notation::Escaped).unwrap().1["policy"], "scan");
        let new = NewOperator::Split { region: 4, keys: vec![r"\q".to_owned()], policy: None };
        assert!(matches!(wish(&new, Notation::Escaped), Err(CtlError::Key(_))));
    }
}
