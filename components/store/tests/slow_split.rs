//! Splits of which a store hears late: when the child asks for its vote already, when the parent's log is gone, when members have
//! changed since.

#![allow(clippy::unwrap_used)]

mod support;

use engine::memory::CrashPoint;
use engine::{ApplyState, Birth, Durability, HardState, Invitation, Lifecycle, LogBatch, LogOp, StateBatch, meta};
use region::Role;
use support::moves::{ask_split, change, check_values, config, split, taken};
use support::{Cluster, pairs};
use types::{KeyRange, MemberChange, Peer, PeerId, RegionDescriptor, RegionEpoch, RegionId, StoreId};

const CHILD: RegionId = RegionId(2);

/// Three stores with one region, of which the first leads.
fn cluster(spare: u64) -> Cluster {
    let mut cluster = Cluster::with_spare(3, spare, 1, config());
    cluster.elect_all();
    cluster.put_all(&pairs(40, "before"));
    let region = cluster.regions[0].id;
    let leader = cluster.leader(region).unwrap();
    if leader != 0 {
        let done = support::Answer::default();
        let slot = std::sync::Arc::clone(&done);
        let responder = types::Responder::new(move |result| *slot.lock().unwrap() = Some(result));
        cluster.handle(leader).transfer_leader(region, StoreId(1), responder);
        cluster.tick_until("the first store's leadership", |cluster| cluster.leader(region) == Some(0));
        assert_eq!(taken(&done), Ok(()));
    }
    cluster
}

fn equal(cluster: &mut Cluster, stores: &[usize]) {
    let stores = stores.to_vec();
    cluster.tick_until("equal stores", |cluster| {
        stores.iter().all(|at| cluster.content(*at) == cluster.content(stores[0]))
    });
}

/// The child's candidate needs the vote of a store that has not made its peer when it is asked. Were the question lost, the
/// child would be without a leader for an election timeout.
#[test]
fn a_question_for_a_vote_waits_for_the_split() {
    let mut cluster = cluster(0);
    cluster.kill(2);
    split(&mut cluster, "key0000", &[("key5", 2)]);
    assert_eq!(cluster.leader(CHILD), Some(0));
    check_values(&mut cluster, "before");
}

/// Messages of the child reach a store where the parent still owns the range. They make no peer there, so nobody believes
/// that it needs a snapshot.
#[test]
fn a_slow_split_causes_no_snapshot() {
    let mut cluster = cluster(0);
    cluster.cut(0, 2);
    split(&mut cluster, "key0000", &[("key5", 2)]);
    assert!(cluster.handle(2).region(CHILD).is_none());
    cluster.put_all(&pairs(8, "child"));
    // The child's leader is heard again, and the parent's is not.
    let parent = cluster.region_of("key9").id;
    cluster.heal();
    for _ in 0..6 {
        cluster.tick();
    }
    equal(&mut cluster, &[0, 1, 2]);
    let made = cluster.handle(2).region(CHILD).unwrap();
    assert_eq!((made.role, made.descriptor.peers.len()), (Role::Follower, 3));
    assert!(cluster.handle(2).region(parent).is_some());
    assert_eq!(cluster.network.shipped(), 0);
}

#[test]
fn a_parent_passes_its_split_by_snapshot() {
    let mut small = config();
    small.region.max_log_bytes = 500;
    let mut cluster = Cluster::with_config(3, 1, small);
    cluster.elect_all();
    cluster.put_all(&pairs(40, "before"));
    let away = (cluster.leader(cluster.regions[0].id).unwrap() + 1) % 3;
    cluster.isolate(away);
    split(&mut cluster, "key0000", &[("key5", 2)]);
    for round in ["one", "two", "three"] {
        cluster.put_all(&pairs(40, round));
        (0..4).for_each(|_| cluster.tick());
    }
    assert_eq!(cluster.handle(away).regions().len(), 1);
    cluster.heal();
    equal(&mut cluster, &[0, 1, 2]);
    assert!(cluster.network.shipped() >= 2, "parent and child came by snapshot");
    let ranges = |at| cluster.handle(at).regions().iter().map(|view| view.descriptor.range.clone()).collect::<Vec<_>>();
    assert_eq!(ranges(away), ranges((away + 1) % 3));
    check_values(&mut cluster, "three");
}

#[test]
fn a_split_goes_on_behind_a_restart_and_a_change_of_members() {
    let mut cluster = cluster(1);
    split(&mut cluster, "key0000", &[("key5", 2)]);
    for at in 0..4 {
        cluster.kill(at);
        cluster.nodes[at].disk.crash_at(CrashPoint::OLDEST);
    }
    (0..4).for_each(|at| cluster.open(at).unwrap());
    cluster.elect_all();
    check_values(&mut cluster, "before");

    let child = cluster.region_of("key0000").clone();
    assert_eq!(child.id, CHILD);
    let leaves = child.peers[0];
    let changes = [MemberChange::vote(PeerId(77), StoreId(4)), MemberChange::remove(leaves.id, leaves.store_id)];
    let stores: Vec<StoreId> = change(&mut cluster, CHILD, &changes).peers.iter().map(|peer| peer.store_id).collect();
    assert!(stores.len() == 3 && stores.contains(&StoreId(4)) && !stores.contains(&leaves.store_id));
    split(&mut cluster, "key0000", &[("key2", 3)]);
    cluster.put_all(&pairs(40, "after"));
    check_values(&mut cluster, "after");
    cluster.tick_until("the newcomer's data", |cluster| {
        let ids: Vec<u64> = cluster.handle(3).regions().iter().map(|view| view.descriptor.id.0).collect();
        ids == [3, 2] && cluster.content(3).len() == 20
    });
}

/// A split that was asked for under another epoch is answered, whatever the store does meanwhile.
#[test]
fn a_split_is_answered_when_its_store_stops() {
    let mut cluster = cluster(0);
    let region = cluster.regions[0].clone();
    let answer = ask_split(&cluster, 0, &region, &[("key5", 2)]);
    cluster.kill(0);
    assert!(matches!(taken(&answer), Err(types::RequestError::Undetermined { .. })));
}

/// A question whether a vote would be given made the child's peer: that promises nothing, so that there is no term to
/// remember. The split finds it, and the store starts again with both.
#[test]
fn a_child_that_was_only_asked_before_its_birth_knows_the_term_of_its_birth() {
    let mut cluster = Cluster::with_spare(1, 1, 1, config());
    let peers = vec![Peer::voter(PeerId(77), StoreId(2)), Peer::voter(PeerId(78), StoreId(1))];
    let (id, epoch) = (CHILD, RegionEpoch { conf_ver: 2, version: 2 });
    let child = RegionDescriptor { id, range: KeyRange::new("", "key5"), epoch, peers };
    cluster.kill(1);
    let engines = cluster.engines(1);
    let birth = Birth::Invited(Invitation { by: PeerId(78), store: StoreId(1), conf_ver: 2 });
    let lifecycle = Lifecycle { peer: Some(PeerId(77)), next_peer: PeerId(78), birth };
    let (peer, hard_state) = (PeerId(77), HardState::default());
    let ops = vec![
        LogOp::PutLifecycle { region: CHILD, lifecycle },
        LogOp::Append { region: CHILD, peer, entries: Vec::new(), hard_state },
    ];
    engines.log.write(LogBatch { ops }, Durability::Synced).unwrap();
    let mut born = StateBatch::default();
    meta::put_region(&mut born, &meta::RegionState { descriptor: child, apply_state: ApplyState::BORN });
    engines.state.write(&born).unwrap();
    engines.state.flush().unwrap();
    drop(engines);
    cluster.open(1).unwrap();
    assert_eq!(cluster.handle(1).region(CHILD).unwrap().term, HardState::BORN.term);
}
