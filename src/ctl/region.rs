//! `raftyard ctl region`.

use std::cmp::Reverse;
use std::time::Duration;

use serde_json::{Value, json};
use types::{RegionId, StoreId};

use super::answers::{Peer, Region};
use super::args::{Measure, RegionArgs, RegionBy};
use super::cluster::{Cluster, read};
use super::error::{CtlError, Whom};
use super::keys::Notation;
use super::output::{Output, Side, bytes, card, duration, list, table};

/// Shows regions.
pub async fn run(cluster: &Cluster, output: Output, args: &RegionArgs) -> Result<(), CtlError> {
    match (&args.by, args.region) {
        (Some(RegionBy::Key { key }), _) => {
            let key = output.keys.parse(key)?;
            let answer = cluster.region_at_json(&key).await?;
            show_one(output, answer, || CtlError::NoRegion(output.keys.show(&key)))
        }
        (Some(RegionBy::Top { limit, by }), _) => {
            let regions = cluster.regions_json(&[], usize::MAX).await?;
            show_many(output, top(regions, *limit, *by)?, usize::MAX)
        }
        (None, Some(region)) => {
            let region = RegionId(region);
            let answer = cluster.region_json(region).await?;
            show_one(output, answer, || CtlError::UnknownRegion(region))
        }
        (None, None) => {
            let from = output.keys.parse(args.from.as_deref().unwrap_or_default())?;
            // One more than is shown tells whether there are more.
            let regions = cluster.regions_json(&from, args.limit.saturating_add(1)).await?;
            show_many(output, regions, args.limit)
        }
    }
}

fn show_one(output: Output, answer: Value, none: impl FnOnce() -> CtlError) -> Result<(), CtlError> {
    let region: Option<Region> = read(Whom::Pd, answer.clone())?;
    let region = region.ok_or_else(none)?;
    Ok(output.show(&answer, || one(&region, output.keys))?)
}

fn show_many(output: Output, mut answers: Vec<Value>, limit: usize) -> Result<(), CtlError> {
    let is_cut = answers.len() > limit;
    answers.truncate(limit);
    let answer = json!({ "count": answers.len(), "regions": answers });
    let regions: Vec<Region> = read(Whom::Pd, answer["regions"].clone())?;
    Ok(output.show(&answer, || many(&regions, output.keys, is_cut))?)
}

/// The largest ones first.
fn top(regions: Vec<Value>, limit: usize, by: Measure) -> Result<Vec<Value>, CtlError> {
    let field = match by {
        Measure::Size => "approximate_size",
        Measure::Keys => "approximate_keys",
        Measure::Written => "written_bytes",
        Measure::Read => "read_bytes",
    };
    let mut regions = regions;
    regions.sort_by_key(|region| (Reverse(region[field].as_u64()), region["id"].as_u64()));
    regions.truncate(limit);
    Ok(regions)
}

/// A table of regions, as the placement driver knows them.
pub fn many(regions: &[Region], keys: Notation, is_cut: bool) -> String {
    let columns = [
        ("region", Side::Right),
        ("from", Side::Left),
        ("to", Side::Left),
        ("leader", Side::Right),
        ("peers on", Side::Left),
        ("size", Side::Right),
        ("keys", Side::Right),
        ("written", Side::Right),
        ("health", Side::Left),
    ];
    let row = |region: &Region| {
        [
            region.id.to_string(),
            keys.start(&region.start_key.0),
            keys.end(&region.end_key.0),
            leader(region),
            list(members(region).into_iter().map(peer)),
            size(region),
            region.approximate_keys.to_string(),
            bytes(region.written_bytes),
            health(region),
        ]
    };
    let shown = table(columns, regions.iter().map(row).collect(), "the placement driver knows no region yet");
    let Some(last) = regions.last().filter(|_| is_cut) else { return shown };
    // In single quotes a shell takes everything as it is, but for those.
    let end = keys.show(&last.end_key.0).replace('\'', r"\047");
    format!("{shown}\n… and more: go on with --from '{end}'")
}

fn one(region: &Region, keys: Notation) -> String {
    card(&[
        ("region", region.id.to_string()),
        ("from", keys.start(&region.start_key.0)),
        ("to", keys.end(&region.end_key.0)),
        ("epoch", format!("{} of its members, {} of its range", region.epoch.conf_ver, region.epoch.version)),
        ("leader", leader(region)),
        ("peers", list(members(region).into_iter().map(|known| format!("{} on store {}", known.id, peer(known))))),
        ("size", size(region)),
        ("keys", format!("about {}", region.approximate_keys)),
        ("written", format!("{} in {} keys", bytes(region.written_bytes), region.written_keys)),
        ("read", format!("{} in {} keys", bytes(region.read_bytes), region.read_keys)),
        ("health", health(region)),
    ])
}

/// In whole MiB, as the placement driver counts: what is less is one of them.
fn size(region: &Region) -> String {
    match region.approximate_size {
        1 => "≤ 1 MiB".to_owned(),
        size => bytes(size << 20),
    }
}

/// By store, as people look for them.
fn members(region: &Region) -> Vec<&Peer> {
    let mut members: Vec<&Peer> = region.peers.iter().collect();
    members.sort_by_key(|peer| peer.store_id);
    members
}

fn leader(region: &Region) -> String {
    region.leader_store().map_or_else(|| "none".to_owned(), |StoreId(store)| store.to_string())
}

/// The store of a peer, and its role where that is not the ordinary one.
fn peer(peer: &Peer) -> String {
    match peer.role_name.as_str() {
        "" | "Voter" | "voter" => peer.store_id.to_string(),
        role => format!("{} ({role})", peer.store_id),
    }
}

/// What is wrong with a region, or that nothing is.
fn health(region: &Region) -> String {
    let mut wrong = Vec::new();
    if region.leader.is_none() {
        wrong.push("no leader is known".to_owned());
    }
    for down in &region.down_peers {
        let silent = duration(Duration::from_secs(down.down_seconds));
        wrong.push(format!("store {} silent for {silent}", down.peer.store_id));
    }
    for pending in &region.pending_peers {
        wrong.push(format!("store {} catches up", pending.store_id));
    }
    if wrong.is_empty() { "ok".to_owned() } else { wrong.join("; ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(id: u64, size: u64, keys: u64) -> Value {
        json!({
            "id": id, "start_key": "", "end_key": "6DFF", "epoch": {"conf_ver": 5, "version": 2},
            "peers": [
                {"id": 11, "store_id": 1, "role": 0, "role_name": "Voter"},
                {"id": 12, "store_id": 2, "role": 1, "role_name": "Learner"},
            ],
            "leader": {"id": 11, "store_id": 1, "role": 0, "role_name": "Voter"},
            "down_peers": [], "pending_peers": [],
            "written_bytes": 2048, "approximate_size": size, "approximate_keys": keys,
        })
    }

    fn region() -> Region {
        serde_json::from_value(answer(9, 96, 1000)).unwrap()
    }

    #[test]
    fn a_region_has_a_row() {
        let shown = many(&[region()], Notation::Escaped, false);
        for part in ["9", "(first)", r"m\377", "1, 2 (Learner)", "96.00 MiB", "1000", "2.00 KiB", "ok"] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
        assert!(many(&[region()], Notation::Hex, false).contains("6DFF"));
        assert!(many(&[region()], Notation::Hex, true).ends_with("… and more: go on with --from '6DFF'"));
    }

    #[test]
    fn a_region_has_a_card() {
        let shown = one(&region(), Notation::Escaped);
        for part in ["5 of its members, 2 of its range", "11 on store 1, 12 on store 2 (Learner)", "size     96.00 MiB"]
        {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut sick = region();
        sick.leader = None;
        sick.down_peers = serde_json::from_value(json!([{"peer": {"store_id": 2}, "down_seconds": 65}])).unwrap();
        sick.pending_peers = serde_json::from_value(json!([{"store_id": 3}])).unwrap();
        assert_eq!(health(&sick), "no leader is known; store 2 silent for 1 min 5 s; store 3 catches up");
        assert_eq!(health(&region()), "ok");
    }

    #[test]
    fn the_largest_come_first() {
        let regions = vec![answer(1, 10, 5), answer(2, 30, 1), answer(3, 20, 9), answer(4, 30, 2)];
        let ids = |by| {
            let top = top(regions.clone(), 3, by).unwrap();
            top.iter().map(|region| region["id"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(ids(Measure::Size), [2, 4, 3]);
        assert_eq!(ids(Measure::Keys), [3, 1, 4]);
    }
}
