//! Peers that were removed while nobody could tell them, and data that is left of nobody.

#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use engine::memory::CrashPoint;
use engine::{StateBatch, meta};
use region::{MessageType, RegionMessage};
use support::moves::{change, check_values, config, split};
use support::{Cluster, pairs};
use types::{ColumnFamily, KeyRange, MemberChange, Peer, PeerId, RegionEpoch, RegionId, StoreId};

/// A cluster with one region, and the last of its stores, which does not lead it.
fn cluster(spare: u64) -> (Cluster, RegionId, usize) {
    let mut cluster = Cluster::with_spare(3, spare, 1, config());
    cluster.elect_all();
    cluster.put_all(&pairs(40, "before"));
    let region = cluster.regions[0].id;
    let follower = (cluster.leader(region).unwrap() + 1) % 3;
    cluster.tick_until("equal stores", |cluster| (1..3).all(|at| cluster.content(at) == cluster.content(0)));
    (cluster, region, follower)
}

/// Nothing of the region is left at a store but the number of the peer that was there.
fn await_end(cluster: &mut Cluster, at: usize, region: RegionId, peer: PeerId) {
    cluster.tick_until("the end of the peer", |cluster| {
        let engines = cluster.handle(at).engines().clone();
        let log = engines.log.region(region).unwrap().unwrap();
        let lifecycle = log.lifecycle.unwrap();
        let forgotten = (log.state, log.bounds, lifecycle.peer) == (None, None, None);
        forgotten && lifecycle.next_peer == PeerId(peer.0 + 1) && meta::read_gone(&*engines.state).unwrap().is_empty()
    });
}

#[test]
fn a_peer_that_was_removed_while_it_was_away_leaves_nothing() {
    let (mut cluster, region, away) = cluster(0);
    let peer = cluster.regions[0].peer_on(StoreId(away as u64 + 1)).unwrap().id;
    cluster.isolate(away);
    change(&mut cluster, region, &[MemberChange::remove(peer, StoreId(away as u64 + 1))]);
    // What it kept has another shape by now, and other data.
    split(&mut cluster, "key0000", &[("key5", 2)]);
    cluster.put_all(&pairs(40, "without it"));
    for _ in 0..30 {
        cluster.tick();
    }
    assert!(!cluster.content(away).is_empty(), "nobody can have told it");

    cluster.heal();
    await_end(&mut cluster, away, region, peer);
    assert!(cluster.content(away).is_empty() && cluster.handle(away).regions().is_empty());
    // There is room for later peers of both parts.
    for (id, newcomer) in [(region, 2001), (RegionId(2), 2002)] {
        change(&mut cluster, id, &[MemberChange::vote(PeerId(newcomer), StoreId(away as u64 + 1))]);
    }
    cluster.tick_until("equal stores", |cluster| (1..3).all(|at| cluster.content(at) == cluster.content(0)));
    check_values(&mut cluster, "without it");
}

#[test]
fn a_learner_that_was_removed_while_its_store_was_down_leaves_nothing() {
    let (mut cluster, region, _) = cluster(1);
    change(&mut cluster, region, &[MemberChange::learn(PeerId(77), StoreId(4))]);
    cluster.tick_until("the learner's data", |cluster| cluster.content(3) == cluster.content(0));
    cluster.kill(3);
    change(&mut cluster, region, &[MemberChange::remove(PeerId(77), StoreId(4))]);
    cluster.put_all(&pairs(40, "without it"));
    cluster.open(3).unwrap();
    await_end(&mut cluster, 3, region, PeerId(77));
    assert!(cluster.content(3).is_empty());
}

/// All who remember that it was removed are gone as well: it hears so from those who took their places.
#[test]
fn a_peer_finds_members_that_it_never_knew() {
    let (mut cluster, region, away) = cluster(2);
    let peer = cluster.regions[0].peer_on(StoreId(away as u64 + 1)).unwrap().id;
    cluster.isolate(away);
    let votes = [4, 5].map(|store| MemberChange::vote(PeerId(70 + store), StoreId(store)));
    change(&mut cluster, region, &votes);
    change(&mut cluster, region, &[MemberChange::remove(peer, StoreId(away as u64 + 1))]);
    cluster.heal();
    await_end(&mut cluster, away, region, peer);
    assert!(cluster.content(away).is_empty());
}

/// Its number says that nobody could come after it, or that it is nobody's.
#[test]
fn a_peer_that_cannot_be_is_not_made() {
    let (mut cluster, ..) = cluster(1);
    for id in [0, u64::MAX] {
        let mut raft = RegionMessage::parse_raft(&[]).unwrap();
        raft.set_msg_type(MessageType::MsgHeartbeat);
        (raft.from, raft.to, raft.term) = (9, id, 6);
        let (from, to) = (Peer::voter(PeerId(9), StoreId(1)), Peer::voter(PeerId(id), StoreId(4)));
        let (region, epoch, range) = (RegionId(77), RegionEpoch::INITIAL, Some(KeyRange::new("a", "b")));
        cluster.handle(3).receive(RegionMessage { region, from, to, epoch, raft, note: None, range });
        cluster.tick();
        assert!(cluster.handle(3).engines().log.region(region).unwrap().is_none(), "peer {id} was made");
    }
}

/// A crash between a removal and its clean-up, whatever it was that took the record of it.
#[test]
fn a_start_clears_what_no_region_owns() {
    let (mut cluster, region, _) = cluster(1);
    cluster.kill(3);
    let state = cluster.engines(3).state;
    let mut left = StateBatch::default();
    left.put(ColumnFamily::Default, "key0001", "left over");
    state.write(&left).unwrap();
    state.flush().unwrap();
    drop(state);
    cluster.nodes[3].disk.crash_at(CrashPoint::OLDEST);
    cluster.open(3).unwrap();
    assert_eq!(cluster.content(3), []);
    // What a region owns stays.
    let expected: Vec<(Bytes, Bytes)> = cluster.content(0);
    cluster.nodes[0].stepper.as_mut().unwrap().flush();
    cluster.kill(0);
    cluster.open(0).unwrap();
    assert_eq!(cluster.content(0), expected);
    assert!(cluster.handle(0).region(region).is_some());
}
