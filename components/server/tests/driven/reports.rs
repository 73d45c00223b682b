//! What heartbeats say. What none may say, `state` objects to.

use std::io::{Read, Write};
use std::net::TcpStream;

use proto::eraftpb::ConfChangeType;
use serde_json::Value;

use crate::cluster::{Cluster, restless};
use crate::pd::{change_peer, learner};

#[test]
fn regions_tell_of_their_size_and_of_what_passes_through_them() {
    let cluster = Cluster::with(1, restless);
    let region = cluster.first_region();
    cluster.fill('k', 300);
    let size = cluster.pd.wait_region("its keys", region, |seen| seen.approximate_keys >= 200);
    assert!(size.approximate_size >= 1 << 20, "{size:?}");
    cluster.pd.wait("what was written", |state| {
        let (mut keys, mut bytes) = (0, 0);
        for seen in &state.heartbeats {
            let interval = seen.interval.unwrap();
            if seen.keys_written > 0 {
                assert!(interval.end_timestamp - interval.start_timestamp >= 3, "shorter ones do not count: {seen:?}");
            }
            keys += seen.keys_written;
            bytes += seen.bytes_written;
        }
        (keys >= 300 && bytes >= 300 * 1024).then_some(())
    });
    let stats = cluster.pd.wait("the store's flow", |state| {
        let written: u64 = state.stats.iter().map(|stats| stats.keys_written).sum();
        state.stats.last().filter(|_| written >= 300).cloned()
    });
    assert_eq!(stats.region_count, 1);
    assert!(stats.used_size > 0 && stats.used_size < stats.capacity, "{stats:?}");
    assert!(!stats.is_busy && !stats.is_stopping, "{stats:?}");
    let told = cluster.pd.with(|state| state.stats.iter().any(|stats| !stats.peer_stats.is_empty()));
    assert!(told, "the regions through which something passes are told one by one");
}

#[test]
fn members_that_are_lost_are_down_and_newcomers_that_never_come_are_pending() {
    let mut cluster = Cluster::replicated(restless);
    let region = cluster.first_region();
    let (lost, store) = (cluster.peer(region, cluster.id(2)), cluster.id(2));
    cluster.stores[2].take().unwrap().kill();
    let seen = cluster.pd.wait_region("a lost member", region, |seen| !seen.down_peers.is_empty());
    assert_eq!(seen.down_peers.iter().map(|down| down.peer).collect::<Vec<_>>(), [Some(lost)]);
    assert!(seen.down_peers[0].down_seconds >= 1, "{seen:?}");
    cluster.stores[2] = Some(cluster.open(2).unwrap());
    assert_eq!(cluster.id(2), store);
    cluster.pd.wait_region("its return", region, |seen| seen.down_peers.is_empty());

    // A store that the placement driver knows, and that is not there.
    cluster.add();
    let (gone, newcomer) = (cluster.id(3), cluster.pd.with(|state| state.next_id()));
    cluster.stores[3].take().unwrap().kill();
    let order = change_peer(ConfChangeType::AddLearnerNode, learner(newcomer, gone));
    cluster.pd.order_until_seen("a newcomer that waits", region, &order, |seen| {
        seen.pending_peers.iter().any(|peer| (peer.id, peer.store_id) == (newcomer, gone))
    });
}

#[test]
fn the_configuration_is_told_as_it_is_looked_for() {
    let cluster = Cluster::with(1, restless);
    let address = cluster.pd.with(|state| state.stores.values().next().unwrap().status_address.clone());
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET /config HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let config: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let coprocessor = &config["coprocessor"];
    for size in ["region-max-size", "region-split-size"] {
        assert!(coprocessor[size].as_str().is_some_and(|size| size.ends_with('B')), "{coprocessor}");
    }
    for keys in ["region-max-keys", "region-split-keys"] {
        assert!(coprocessor[keys].as_u64().is_some_and(|keys| keys > 0), "{coprocessor}");
    }
    assert_eq!(coprocessor["enable-region-bucket"], false);
    assert_eq!(config["storage"]["engine"], "raft-kv");
}
