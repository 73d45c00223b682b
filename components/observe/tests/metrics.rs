//! That every metric can be scraped, has a proper name, and that stores of one process are told apart.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use observe::metrics::store::{MessageType, StoreStateLabel};
use observe::{CoordinatorMetrics, Registry, ServerMetrics, SnapshotMetrics, StoreMetrics};
use types::StoreId;

fn everything() -> (Registry, Vec<StoreMetrics>) {
    let registry = Registry::new();
    let mut stores = Vec::new();
    for store in [StoreId(1), StoreId(2)] {
        stores.push(StoreMetrics::new(&registry, store));
        ServerMetrics::new(&registry, store);
        SnapshotMetrics::new(&registry, store);
    }
    CoordinatorMetrics::new(&registry);
    (registry, stores)
}

#[test]
fn promtool_accepts_every_metric() {
    let (registry, stores) = everything();
    stores[0].log_write_duration.observe(0.003);
    let mut promtool = match Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(promtool) => promtool,
        Err(error) => {
            println!("SKIPPED: promtool cannot be run ({error}); install prometheus to check the metrics' names");
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(registry.gather_text().as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "promtool says:\n{said}");
}

#[test]
fn every_name_is_prefixed_and_told_once() {
    let text = everything().0.gather_text();
    let named: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), named.len());
    assert!(named.len() > 40, "{} families", named.len());
    for family in named {
        let (name, kind) = family.split_once(' ').unwrap();
        assert!(name.starts_with("raftyard_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
    }
}

#[test]
fn stores_of_one_process_are_told_apart() {
    let (registry, stores) = everything();
    stores[0].messages_sent[MessageType::Append].inc_by(3);
    stores[1].messages_sent[MessageType::Vote].inc();
    let text = registry.gather_text();
    for line in [
        r#"raftyard_raft_sent_message_total{type="append",store="1"} 3"#,
        r#"raftyard_raft_sent_message_total{type="vote",store="1"} 0"#,
        r#"raftyard_raft_sent_message_total{type="append",store="2"} 0"#,
        r#"raftyard_raft_sent_message_total{type="vote",store="2"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing from\n{text}");
    }
}

#[test]
fn a_restarted_store_counts_from_zero_and_a_stopped_one_is_gone() {
    let (registry, stores) = everything();
    stores[0].log_write_bytes.inc_by(10);
    let again = StoreMetrics::new(&registry, StoreId(1));
    again.log_write_bytes.inc_by(4);
    let shown = |line: &str| registry.gather_text().lines().any(|found| found == line);
    assert!(shown(r#"raftyard_append_log_bytes_total{store="1"} 4"#));
    StoreMetrics::forget(&registry, StoreId(1));
    assert!(!shown(r#"raftyard_append_log_bytes_total{store="1"} 4"#));
    assert!(shown(r#"raftyard_append_log_bytes_total{store="2"} 0"#));
}

#[test]
fn a_store_is_in_one_state() {
    let (registry, stores) = everything();
    stores[0].set_state(StoreStateLabel::Starting);
    stores[0].set_state(StoreStateLabel::Serving);
    let text = registry.gather_text();
    let ones: Vec<&str> = text
        .lines()
        .filter(|line| {
            line.starts_with("raftyard_store_state{") && line.contains(r#"store="1""#) && line.ends_with(" 1")
        })
        .collect();
    assert_eq!(ones, [r#"raftyard_store_state{state="serving",store="1"} 1"#]);
}

#[test]
fn pollers_share_the_stores_counters() {
    let (registry, stores) = everything();
    stores[0].raft_system.full.inc();
    stores[0].raft_system.round_actors.observe(3.0);
    let text = registry.gather_text();
    for line in [
        r#"raftyard_channel_full_total{queue="raft_mailbox",store="1"} 1"#,
        r#"raftyard_round_regions_sum{system="raft",store="1"} 3"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing from\n{text}");
    }
}
