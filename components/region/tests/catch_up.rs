//! How a leader brings a follower up to date that was away: bounded messages, a bounded part at a time.
#![allow(clippy::unwrap_used)]

mod support;

use engine::Entry;
use region::{Input, RegionConfig, RegionMessage};
use support::cluster::Cluster;

const MAX_BYTES: u64 = 1000;
const MAX_ENTRY: u64 = 250;

/// Three members with small messages, and the third one cut off.
fn one_away() -> Cluster {
    let config = RegionConfig {
        max_message_bytes: MAX_BYTES,
        max_entry_bytes: MAX_ENTRY,
        entry_cache_bytes: 0,
        ..RegionConfig::default()
    };
    let mut cluster = Cluster::new(config, &[1, 2, 3], &[]);
    cluster.elect(1);
    cluster.cut.extend([(1, 3), (3, 1), (2, 3), (3, 2)]);
    cluster
}

fn bytes(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.data.len() as u64 + entry.context.len() as u64).sum()
}

/// The entries that the leader has just sent to the third member, message by message.
fn sent(cluster: &Cluster) -> Vec<&RegionMessage> {
    let to_third = |message: &&RegionMessage| message.to.id.0 == 3 && !message.raft.entries.is_empty();
    cluster.network.iter().filter(to_third).collect()
}

#[test]
fn a_follower_that_was_away_gets_its_entries_a_bounded_part_at_a_time() {
    let mut cluster = one_away();
    for number in 0..200 {
        let write = cluster.proposal(cluster.header(), &format!("k{number:03}"));
        cluster.round(1, vec![write]);
        cluster.deliver_until_quiet();
    }
    cluster.cut.clear();
    let mut seen = 0;
    for _ in 0..10 {
        cluster.tick(1);
        while let Some(message) = cluster.network.pop_front() {
            cluster.deliver(message);
            let on_their_way = sent(&cluster);
            let newest: Vec<_> = on_their_way.iter().filter(|message| message.raft.entries[0].index > seen).collect();
            let total: u64 = newest.iter().map(|message| bytes(&message.raft.entries)).sum();
            assert!(total <= 2 * MAX_BYTES, "{total} bytes at once for messages of {MAX_BYTES}");
            for message in newest {
                let size = bytes(&message.raft.entries);
                assert!(size <= MAX_BYTES + MAX_ENTRY, "a message of {size} bytes, of {MAX_BYTES} that it may have");
            }
            seen = on_their_way
                .iter()
                .flat_map(|message| message.raft.entries.iter().map(|entry| entry.index))
                .max()
                .unwrap_or(seen);
        }
    }
    assert_eq!(cluster.member(3).apply_state(), cluster.member(1).apply_state(), "the follower has caught up");
}

#[test]
fn what_is_proposed_in_one_round_leaves_in_messages_of_bounded_size() {
    let mut cluster = one_away();
    cluster.cut.clear();
    let header = cluster.header();
    let writes: Vec<Input> = (0..200).map(|n| cluster.proposal(header, &format!("k{n:03}"))).collect();
    cluster.run_round(1, writes);
    let messages = sent(&cluster);
    assert!(messages.len() > 1, "more than one message's worth was proposed");
    for message in &messages {
        assert!(bytes(&message.raft.entries) <= MAX_BYTES, "{} entries", message.raft.entries.len());
    }
    for pair in messages.windows(2) {
        let last = pair[0].raft.entries.last().unwrap();
        assert_eq!((pair[1].raft.index, pair[1].raft.log_term), (last.index, last.term), "no gap between two parts");
    }
    cluster.round(1, Vec::new());
    cluster.deliver_until_quiet();
    cluster.pass(1, 3);
    assert_eq!(cluster.member(3).apply_state(), cluster.member(1).apply_state(), "the follower has them all");
}
