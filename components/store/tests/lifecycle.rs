//! Peers come, go and begin anew: splits, members that come by snapshot and go again, crashes between any two steps.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use engine::memory::CrashPoint;
use engine::{StateBatch, meta};
use observe::metrics::{SnapshotPhase, SnapshotRefusal};
use region::{Note, RegionMessage};
use store::StoreConfig;
use support::moves::{ask_split, change, check_values, config, inspect, split};
use support::{Cluster, content, pairs};
use types::{MemberChange, Peer, PeerId, PeerRole, RegionDescriptor, RegionEpoch, RegionId, Responder, StoreId};

#[test]
fn a_region_splits_and_every_part_serves() {
    let queued = StoreConfig { log_writer_thread: true, raft_pollers: 2, apply_pollers: 2, ..config() };
    for config in [config(), queued] {
        let mut cluster = Cluster::with_config(3, 1, config);
        cluster.elect_all();
        cluster.put_all(&pairs(40, "before"));
        split(&mut cluster, "key0000", &[("key3", 2), ("key5", 3)]);
        split(&mut cluster, "key9999", &[("key7", 4)]);
        assert_eq!(cluster.regions.len(), 4);
        check_values(&mut cluster, "before");
        cluster.put_all(&pairs(40, "after"));
        check_values(&mut cluster, "after");
        cluster.tick_until("equal stores", |cluster| (1..3).all(|at| cluster.content(at) == cluster.content(0)));
        for at in 0..3 {
            let ids: Vec<u64> = cluster.handle(at).regions().iter().map(|view| view.descriptor.id.0).collect();
            assert_eq!(ids, [2, 3, 4, 1000], "ordered by start key");
        }
    }
}

#[test]
fn a_split_comes_back_whatever_the_disks_kept() {
    for flushed in [false, true] {
        for children_wrote in [false, true] {
            let mut cluster = Cluster::with_config(3, 1, config());
            cluster.elect_all();
            cluster.put_all(&pairs(40, "before"));
            split(&mut cluster, "key0000", &[("key3", 2), ("key5", 3)]);
            if children_wrote {
                cluster.put_all(&pairs(40, "after"));
            }
            for at in 0..3 {
                if flushed {
                    cluster.nodes[at].stepper.as_mut().unwrap().flush();
                }
                cluster.kill(at);
                cluster.nodes[at].disk.crash_at(CrashPoint::OLDEST);
            }
            (0..3).for_each(|at| cluster.open(at).unwrap());
            for at in 0..3 {
                let awake = cluster.handle(at).regions().len();
                assert_eq!(awake, if flushed { 3 } else { 1 }, "children that S forgot wait for their parent");
            }
            cluster.elect_all();
            check_values(&mut cluster, if children_wrote { "after" } else { "before" });
        }
    }
}

#[test]
fn a_member_that_comes_gets_a_snapshot_and_one_that_goes_leaves_nothing() {
    let mut cluster = Cluster::with_spare(3, 1, 2, config());
    cluster.elect_all();
    cluster.put_all(&pairs(40, "before"));
    let region = cluster.regions[0].id;
    let newcomer = MemberChange::vote(PeerId(77), StoreId(4));
    let descriptor = change(&mut cluster, region, &[newcomer]);
    assert_eq!(descriptor.peers.len(), 4);
    cluster.put_all(&pairs(40, "with four"));
    cluster.tick_until("the newcomer's data", |cluster| {
        let range = cluster.regions[0].range.clone();
        let of_region = |at| cluster.content(at).into_iter().filter(|(key, _)| range.contains(key)).collect::<Vec<_>>();
        of_region(3) == of_region(0)
    });
    assert!(cluster.handle(3).snapshots().is_empty() && cluster.handle(0).snapshots().is_empty());

    for (store, index) in [(StoreId(1), 0), (StoreId(4), 3)] {
        cluster.follow();
        let region = cluster.regions.iter().find(|other| other.id == region).unwrap().clone();
        let peer = region.peer_on(store).unwrap().id;
        let keys = content(&*cluster.handle(index).engines().state).len();
        let after = change(&mut cluster, region.id, &[MemberChange::remove(peer, store)]);
        assert!(after.peer_on(store).is_none());
        cluster.tick_until("the end of the peer", |cluster| {
            let engines = cluster.handle(index).engines().clone();
            let log = engines.log.region(region.id).unwrap().unwrap();
            let gone = meta::read_gone(&*engines.state).unwrap();
            log.lifecycle.unwrap().peer.is_none() && gone.is_empty()
        });
        let engines = cluster.handle(index).engines().clone();
        let log = engines.log.region(region.id).unwrap().unwrap();
        assert_eq!((log.state, log.bounds, log.lifecycle.unwrap().next_peer), (None, None, PeerId(peer.0 + 1)));
        assert!(content(&*engines.state).len() < keys);
        assert!(content(&*engines.state).iter().all(|(key, _)| !region.range.contains(key)));
        assert!(inspect(&mut cluster, index, region.id).is_none());
    }
    check_values(&mut cluster, "with four");

    // The same store again, under a new id.
    let descriptor = change(&mut cluster, region, &[MemberChange::vote(PeerId(99), StoreId(4))]);
    assert_eq!(descriptor.peer_on(StoreId(4)).unwrap().id, PeerId(99));
    cluster.put_all(&pairs(40, "again"));
    check_values(&mut cluster, "again");
}

/// Every write of the store would wait behind the small files of many snapshots (raftstore-rules §8).
#[test]
fn a_snapshot_waits_until_compactions_have_caught_up() {
    let mut cluster = Cluster::with_spare(3, 1, 1, config());
    cluster.elect_all();
    cluster.put_all(&pairs(40, "before"));
    cluster.nodes[3].disk.set_crowded(true);
    let region = cluster.regions[0].id;
    change(&mut cluster, region, &[MemberChange::learn(PeerId(77), StoreId(4))]);
    cluster.tick_until("a snapshot that arrived", |cluster| {
        cluster.handle(3).snapshots().iter().any(|flight| flight.phase == SnapshotPhase::Install)
    });
    (0..20).for_each(|_| cluster.tick());
    assert!(cluster.content(3).is_empty());
    cluster.nodes[3].disk.set_crowded(false);
    cluster.tick_until("equal stores", |cluster| cluster.content(3) == cluster.content(0));
    assert!(cluster.handle(3).snapshots().is_empty());
}

/// Raft asks for a snapshot that was not built with every heartbeat.
#[test]
fn an_order_for_a_snapshot_waits_until_there_may_be_one_more() {
    let mut config = config();
    config.snapshots.limits.outgoing = 1;
    let mut cluster = Cluster::with_spare(3, 1, 1, config);
    cluster.elect_all();
    cluster.put_all(&pairs(40, "before"));
    split(&mut cluster, "key0000", &[("key3", 2), ("key6", 3)]);
    cluster.put_all(&pairs(40, "after"));
    cluster.follow();
    let leader = cluster.leader(RegionId(2)).unwrap();
    for (region, peer) in cluster.regions.clone().iter().zip(70..) {
        let newcomer = MemberChange::learn(PeerId(peer), StoreId(4));
        cluster.handle(leader).change_members(region.id, region.epoch, vec![newcomer], Responder::new(|_| {}));
    }
    cluster.tick_until("equal stores", |cluster| cluster.content(3) == cluster.content(leader));
    let metrics = cluster.nodes[leader].metrics.clone().unwrap();
    assert_eq!(metrics.snapshots.refused[SnapshotRefusal::TooMany].get(), 0);
    assert_eq!(cluster.network.shipped(), 3);
}

/// Runs a change of members; the spare store loses its power after so many steps of its lifecycle. False when it never
/// takes as many.
fn change_with_a_crash(cluster: &mut Cluster, steps: usize, changes: &[MemberChange]) -> bool {
    let region = cluster.regions[0].id;
    cluster.doomed = Some((3, steps));
    change(cluster, region, changes);
    for _ in 0..100 {
        cluster.tick();
    }
    cluster.doomed.take().is_none()
}

/// A leader of newer members, of which the region's first is none, tells it to go.
fn gc(region: &RegionDescriptor) -> RegionMessage {
    let (from, to) = (Peer::voter(PeerId(1), StoreId(2)), region.peers[0]);
    let epoch = RegionEpoch { conf_ver: region.epoch.conf_ver + 1, ..region.epoch };
    let (raft, note) = (RegionMessage::parse_raft(&[]).unwrap(), Some(Note::Gc));
    RegionMessage { region: region.id, from, to, epoch, raft, note, range: None }
}

/// The machine ends before it hears that its split is applied: what was cut off is not its own any more.
#[test]
fn a_peer_that_goes_behind_a_split_of_which_it_never_heard_leaves_its_child_alone() {
    for steps in 0..8 {
        let mut cluster = Cluster::with_config(1, 1, config());
        cluster.elect_all();
        cluster.put_all(&pairs(40, "before"));
        let region = cluster.regions[0].clone();
        let _split = ask_split(&cluster, 0, &region, &[("key3", 2)]);
        let stepper = cluster.nodes[0].stepper.as_mut().unwrap();
        while stepper.step_raft(0, |_| Some(0)) {}
        stepper.handle().receive(gc(&region));
        while stepper.step_raft(0, |_| Some(0)) {}
        cluster.doomed = Some((0, steps));
        (0..40).for_each(|_| cluster.tick());
        // Where nothing of it was durable yet, it is told again.
        cluster.handle(0).receive(gc(&region));
        (0..40).for_each(|_| cluster.tick());
        let left: Vec<_> = cluster.content(0).into_iter().map(|(key, _)| key).collect();
        let cut_off: Vec<_> = pairs(40, "before").into_keys().filter(|key| key.as_str() < "key3").collect();
        assert_eq!(left, cut_off, "a crash after {steps} steps of the lifecycle");
        assert!(cluster.failures.lock().unwrap().is_empty());
    }
}

#[test]
fn a_peer_that_is_told_to_go_hears_what_comes_in_the_same_round() {
    let mut cluster = Cluster::with_config(1, 1, config());
    cluster.elect_all();
    let region = cluster.regions[0].clone();
    let answer = cluster.put(0, "key0001", "value");
    let stepper = cluster.nodes[0].stepper.as_mut().unwrap();
    while stepper.step_raft(0, |_| Some(0)) {}
    let gone = gc(&region);
    stepper.handle().receive(gone);
    // What apply tells lies behind the word to go, in one inbox.
    assert!(stepper.step_apply(0, |_| Some(0)));
    assert!(answer.lock().unwrap().take().unwrap().is_ok());
    cluster.tick_until("the end of the peer", |cluster| {
        let engines = cluster.handle(0).engines().clone();
        engines.log.region(region.id).unwrap().unwrap().lifecycle.unwrap().peer.is_none()
    });
    assert!(cluster.failures.lock().unwrap().is_empty());
}

#[test]
fn a_snapshot_survives_a_crash_after_any_step() {
    crash_in_a_snapshot(false);
}

/// Behind the marker there is no way back: the peer is silent until another snapshot comes (D10).
#[test]
fn a_snapshot_whose_files_are_lost_in_a_crash_comes_again() {
    crash_in_a_snapshot(true);
}

fn crash_in_a_snapshot(loses_files: bool) {
    let newcomer = MemberChange::vote(PeerId(77), StoreId(4));
    let mut steps = 0;
    loop {
        let mut cluster = Cluster::with_spare(3, 1, 1, config());
        cluster.elect_all();
        cluster.put_all(&pairs(40, "before"));
        cluster.loses_files = loses_files;
        let crashed = change_with_a_crash(&mut cluster, steps, &[newcomer]);
        cluster.put_all(&pairs(40, "after"));
        check_values(&mut cluster, "after");
        cluster.tick_until("equal stores", |cluster| (1..4).all(|at| cluster.content(at) == cluster.content(0)));
        let engines = cluster.handle(3).engines().clone();
        assert!(engines.log.markers().unwrap().is_empty() && engines.files.list().unwrap().is_empty());
        if !crashed {
            break;
        }
        steps += 1;
    }
    assert!(steps > 6, "{steps} crashes: made, reserved, fenced, marked, installed, fenced, unmarked");
}

/// The last store is down behind the marker of a snapshot for peer 77 of a region, with the files still there.
fn marked() -> (Cluster, RegionDescriptor) {
    let mut cluster = Cluster::with_spare(3, 1, 1, StoreConfig { fence_wait: Duration::from_secs(1000), ..config() });
    cluster.elect_all();
    cluster.put_all(&pairs(40, "before"));
    let region = cluster.regions[0].clone();
    let (leader, newcomer) = (cluster.leader(region.id).unwrap(), MemberChange::learn(PeerId(77), StoreId(4)));
    cluster.handle(leader).change_members(region.id, region.epoch, vec![newcomer], Responder::new(|_| {}));
    cluster.tick_until("a snapshot that waits for its fence", |cluster| {
        cluster.nodes[3].stepper.as_ref().unwrap().lifecycle_due().is_some()
    });
    cluster.clock.advance(Duration::from_secs(1000));
    let log = cluster.handle(3).engines().log.clone();
    while log.markers().unwrap().is_empty() {
        assert!(cluster.nodes[3].stepper.as_mut().unwrap().step_lifecycle());
    }
    drop(log);
    cluster.kill(3);
    cluster.nodes[3].disk.crash_at(CrashPoint::OLDEST);
    cluster.config.fence_wait = Duration::ZERO;
    (cluster, region)
}

/// Nothing of peer 77 is left on the last store but its number.
fn check_forgotten(cluster: &Cluster, region: RegionId) {
    let engines = cluster.handle(3).engines().clone();
    let lifecycle = engines.log.region(region).unwrap().unwrap().lifecycle.unwrap();
    assert_eq!((lifecycle.peer, lifecycle.next_peer), (None, PeerId(78)));
    assert!(engines.log.markers().unwrap().is_empty() && engines.files.list().unwrap().is_empty());
    assert!(cluster.content(3).is_empty() && cluster.handle(3).counts().peers == 0);
}

/// Its files could not be read at one start, so that it was fenced, and told to go. At the next one they read well, and the
/// removal is half done.
#[test]
fn a_peer_that_goes_gets_no_snapshot_installed_any_more() {
    let (mut cluster, region) = marked();
    let engines = cluster.engines(3);
    assert!(!engines.files.list().unwrap().is_empty());
    let mut batch = StateBatch::default();
    let gone = meta::Gone { region: region.id, peer: PeerId(77), range: region.range, merged_into: None };
    meta::put_gone(&mut batch, &gone);
    engines.state.write(&batch).unwrap();
    engines.state.flush().unwrap();
    drop(engines);
    cluster.open(3).unwrap();
    check_forgotten(&cluster, region.id);
}

#[test]
fn a_fenced_peer_goes_whatever_crash_comes_between() {
    for steps in 0..6 {
        let (mut cluster, region) = marked();
        let files = cluster.engines(3).files;
        files.list().unwrap().iter().for_each(|file| files.remove(&file.name).unwrap());
        drop(files);
        cluster.open(3).unwrap();
        cluster.isolate(3);
        let epoch = RegionEpoch { conf_ver: region.epoch.conf_ver + 1, ..region.epoch };
        let peers = vec![Peer { role: PeerRole::Learner, ..Peer::voter(PeerId(77), StoreId(4)) }];
        let gone = gc(&RegionDescriptor { epoch, peers, ..region.clone() });
        assert_eq!(cluster.handle(3).counts().peers, 1, "it is fenced");
        cluster.doomed = Some((3, steps));
        cluster.handle(3).receive(gone.clone());
        (0..40).for_each(|_| cluster.tick());
        // Where nothing of it was durable yet, it is told again.
        cluster.handle(3).receive(gone);
        (0..40).for_each(|_| cluster.tick());
        check_forgotten(&cluster, region.id);
        assert!(cluster.failures.lock().unwrap().is_empty(), "a crash after {steps} steps of the lifecycle");
    }
}

#[test]
fn a_removal_survives_a_crash_after_any_step() {
    let (newcomer, gone) = (MemberChange::vote(PeerId(77), StoreId(4)), MemberChange::remove(PeerId(77), StoreId(4)));
    let mut steps = 0;
    loop {
        let mut cluster = Cluster::with_spare(3, 1, 1, config());
        cluster.elect_all();
        cluster.put_all(&pairs(40, "before"));
        let region = cluster.regions[0].id;
        change(&mut cluster, region, &[newcomer]);
        cluster.tick_until("the newcomer's data", |cluster| cluster.content(3) == cluster.content(0));
        let crashed = change_with_a_crash(&mut cluster, steps, &[gone]);
        cluster.tick_until("the end of the peer", |cluster| {
            let (handle, left) = (cluster.handle(3), !cluster.content(3).is_empty());
            // Nobody may think that the store is empty while it is not, although it shows the region no more.
            assert!(!left || handle.counts().peers == 1, "its data is left, and it counts {:?}", handle.counts());
            let engines = handle.engines().clone();
            let log = engines.log.region(region).unwrap().unwrap();
            log.lifecycle.unwrap().peer.is_none() && meta::read_gone(&*engines.state).unwrap().is_empty()
        });
        assert!(cluster.content(3).is_empty() && cluster.handle(3).counts().peers == 0);
        cluster.put_all(&pairs(40, "after"));
        check_values(&mut cluster, "after");
        if !crashed {
            break;
        }
        steps += 1;
    }
    assert!(steps > 3, "{steps} crashes: gone, fenced, forgotten, cleared");
}
