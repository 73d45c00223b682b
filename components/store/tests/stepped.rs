//! Whole stores on one thread: elections, writes, crashes and restarts, without starting a thread.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use engine::memory::CrashPoint;
use store::{StoreConfig, StoreState};
use support::{Cluster, pairs};
use types::seed::Rng;
use types::{ColumnFamily, CommandOutput, RequestError, StoreId};

/// Three stores, fifty regions: elections, writes, a crash that loses what it may, a restart, and the same data
/// everywhere at the end. Returns the trace.
fn life(seed: u64) -> (u64, u64) {
    let mut rng = Rng::new(seed);
    let mut cluster = Cluster::new(3, 50);
    cluster.elect_all();
    let first = pairs(500, "first");
    cluster.put_all(&first);

    cluster.kill(1);
    cluster.nodes[1].disk.crash(&mut rng);
    cluster.elect_all();
    let second = pairs(250, "second");
    cluster.put_all(&second);
    cluster.open(1).unwrap();
    cluster.tick_until("the restarted store to catch up", |cluster| cluster.content(0) == cluster.content(1));

    let mut expected = first;
    expected.extend(second);
    for (key, value) in &expected {
        assert_eq!(cluster.get(key).unwrap().unwrap(), value.as_bytes(), "{key}");
    }
    let expected: Vec<(Bytes, Bytes)> =
        expected.into_iter().map(|(key, value)| (Bytes::from(key), Bytes::from(value))).collect();
    cluster.tick_until("every follower to know the last commit", |cluster| {
        (0..3).all(|at| cluster.content(at) == expected)
    });
    assert!(cluster.failures.lock().unwrap().is_empty());
    cluster.trace.digest()
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (digest, events) = life(1);
    assert!(events > 1_000, "only {events} things happened");
    assert_eq!(life(1), (digest, events));
    assert_ne!(life(2).0, 0);
}

#[test]
fn everything_acknowledged_survives_a_crash_of_all() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut cluster = Cluster::new(3, 8);
        cluster.elect_all();
        let written = pairs(100, "value");
        cluster.put_all(&written);
        for at in 0..3 {
            if rng.one_in(2) {
                cluster.nodes[at].stepper.as_mut().unwrap().flush();
            }
        }
        cluster.put_all(&pairs(40, "later"));
        for at in 0..3 {
            cluster.kill(at);
            cluster.nodes[at].disk.crash(&mut rng);
        }
        for at in 0..3 {
            cluster.open(at).unwrap();
        }
        cluster.elect_all();
        for (key, value) in written.into_iter().chain(pairs(40, "later")).collect::<std::collections::BTreeMap<_, _>>()
        {
            assert_eq!(cluster.get(&key).unwrap().unwrap(), value.as_bytes(), "seed {seed}: {key}");
        }
    }
}

/// A leader's appends leave while its own write waits for the log writer; a crash there loses the write, and nothing that
/// was promised.
#[test]
fn the_log_writer_is_stepped_apart_from_the_pollers() {
    let config = StoreConfig { log_writer_thread: true, raft_pollers: 2, apply_pollers: 2, ..StoreConfig::default() };
    let mut cluster = Cluster::with_config(3, 1, config);
    cluster.elect_all();
    cluster.put_all(&pairs(1, "before"));
    let region = cluster.regions[0].id;
    let leader = cluster.leader(region).unwrap();
    let last = |cluster: &Cluster| {
        let log = cluster.nodes[leader].disk.peek_log();
        log[0].0.bounds.unwrap().1
    };
    let before = last(&cluster);
    let answer = cluster.put(leader, "key0000", "lost");
    let stepper = cluster.nodes[leader].stepper.as_mut().unwrap();
    assert!(stepper.step_raft(1, |_| Some(0)));
    assert!(stepper.has_log_work() && !stepper.has_apply_work());
    assert!(stepper.take_rounds());
    assert!(!stepper.has_log_work());
    assert_eq!(last(&cluster), before, "written before it was told to");
    assert_eq!(cluster.network.waiting(), 2, "an append to each follower has left");
    cluster.kill(leader);
    cluster.nodes[leader].disk.crash_at(CrashPoint::NEWEST);
    assert_eq!(last(&cluster), before);
    assert!(matches!(*answer.lock().unwrap(), Some(Err(RequestError::Undetermined { .. }))));
    cluster.open(leader).unwrap();
    cluster.elect_all();
    assert!(cluster.get("key0000").unwrap().is_some());
}

#[test]
fn a_full_queue_of_the_log_writer_holds_the_pollers_up() {
    let config = StoreConfig { log_writer_thread: true, ..StoreConfig::default() };
    let mut cluster = Cluster::with_config(1, 1, config);
    cluster.elect_all();
    let answers: Vec<_> = (0..40)
        .map(|number| {
            let answer = cluster.put(0, "key0000", &number.to_string());
            cluster.nodes[0].stepper.as_mut().unwrap().step_raft(0, |_| Some(0));
            answer
        })
        .collect();
    let stepper = cluster.nodes[0].stepper.as_mut().unwrap();
    assert!(stepper.has_log_work() && !stepper.has_raft_work(), "there is room for more rounds than are allowed");
    stepper.run_until_idle();
    assert!(answers.iter().all(|answer| matches!(*answer.lock().unwrap(), Some(Ok(_)))));
}

#[test]
fn a_store_that_is_stopped_in_order_has_nothing_to_replay() {
    let mut cluster = Cluster::new(1, 2);
    cluster.elect_all();
    cluster.put_all(&pairs(20, "value"));
    let before = cluster.content(0);
    cluster.nodes[0].stepper.take().unwrap().stop().unwrap();
    cluster.nodes[0].disk.crash_at(CrashPoint::OLDEST);
    cluster.open(0).unwrap();
    assert_eq!(cluster.content(0), before);
    assert_eq!(cluster.handle(0).state(), StoreState::Serving, "it replays something");
}

#[test]
fn a_store_that_lost_its_unflushed_state_has_the_same_data_again() {
    let mut cluster = Cluster::new(3, 4);
    cluster.elect_all();
    cluster.put_all(&pairs(50, "value"));
    cluster.tick_until("equal stores", |cluster| cluster.content(0) == cluster.content(2));
    let before = cluster.content(0);
    assert_eq!(before.len(), 50);
    cluster.kill(0);
    cluster.nodes[0].disk.crash_at(CrashPoint::OLDEST);
    cluster.open(0).unwrap();
    assert!(cluster.content(0).is_empty(), "the state engine fell back to its bootstrap");
    cluster.tick_until("the replay", |cluster| cluster.content(0) == before);
}

#[test]
fn writes_and_reads_go_to_the_leader_alone() {
    let mut cluster = Cluster::new(3, 2);
    cluster.elect_all();
    let leader = cluster.leader(cluster.region_of("key0001").id).unwrap();
    let follower = (leader + 1) % 3;
    let (write, read) = (cluster.put(follower, "key0001", "x"), cluster.read(follower, "key0001"));
    cluster.settle();
    let leader_id = cluster.nodes[leader].id;
    let hint = |error: &RequestError| match error {
        RequestError::NotLeader { leader: Some(peer), .. } => peer.store_id,
        other => panic!("{other}"),
    };
    assert_eq!(hint(write.lock().unwrap().as_ref().unwrap().as_ref().unwrap_err()), leader_id);
    assert_eq!(hint(read.lock().unwrap().as_ref().unwrap().as_ref().unwrap_err()), leader_id);
}

#[test]
fn a_leader_that_is_cut_off_neither_reads_nor_acknowledges() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect_all();
    let region = cluster.regions[0].id;
    let old = cluster.leader(region).unwrap();
    cluster.put_all(&pairs(1, "before"));
    for other in (0..3).filter(|at| *at != old) {
        cluster.cut(old, other);
    }
    let (write, read) = (cluster.put(old, "key0000", "lost"), cluster.read(old, "key0000"));
    cluster.tick_until("another leader", |cluster| cluster.leader(region).is_some_and(|leader| leader != old));
    let new = cluster.put(cluster.leader(region).unwrap(), "key0000", "after");
    cluster.settle();
    assert!(matches!(*new.lock().unwrap(), Some(Ok(CommandOutput::Written))));
    assert!(!matches!(*write.lock().unwrap(), Some(Ok(_))), "acknowledged without a quorum");
    assert!(!matches!(*read.lock().unwrap(), Some(Ok(_))), "read without a quorum");
    cluster.heal();
    cluster.tick_until("an answer to the lost write", |_| write.lock().unwrap().is_some());
    assert!(matches!(*write.lock().unwrap(), Some(Err(RequestError::StaleCommand { .. }))), "{write:?}");
    assert!(matches!(*read.lock().unwrap(), Some(Err(_))));
    assert_eq!(cluster.get("key0000").unwrap().unwrap(), "after");
}

#[test]
fn a_compare_and_swap_is_decided_where_it_is_applied() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect_all();
    let leader = cluster.leader(cluster.regions[0].id).unwrap();
    let swap = |expected: Option<&'static str>, value: &'static str| {
        apply::build::compare_and_swap(
            ColumnFamily::Default,
            "key",
            expected.map(Bytes::from),
            Some(Bytes::from(value)),
        )
    };
    let answers =
        [swap(None, "a"), swap(None, "b"), swap(Some("a"), "c")].map(|swap| cluster.write(leader, "key", swap));
    cluster.settle();
    let outputs: Vec<_> = answers.iter().map(|answer| answer.lock().unwrap().clone().unwrap().unwrap()).collect();
    let compared = |swapped, previous: Option<&'static str>| CommandOutput::Compared {
        swapped,
        previous: previous.map(Bytes::from),
    };
    assert_eq!(outputs, [compared(true, None), compared(false, Some("a")), compared(true, Some("a"))]);
    assert_eq!(cluster.get("key").unwrap().unwrap(), "c");
}

#[test]
fn requests_are_checked_before_they_are_proposed() {
    let mut cluster = Cluster::new(1, 2);
    cluster.elect_all();
    let (first, second) = (cluster.regions[0].clone(), cluster.regions[1].clone());
    let put = |key: &'static str| apply::build::batch(vec![apply::build::put(ColumnFamily::Default, key, "v")]);
    let ask = |cluster: &mut Cluster, header, command| {
        let answer = support::Answer::default();
        let slot: support::Answer<types::WriteResult> = std::sync::Arc::clone(&answer);
        cluster.handle(0).write(
            header,
            command,
            types::Responder::new(move |result| *slot.lock().unwrap() = Some(result)),
        );
        cluster.settle();
        let answer = answer.lock().unwrap().take();
        answer.unwrap().unwrap_err()
    };
    let header = types::RequestHeader { region_id: first.id, epoch: first.epoch, ..Default::default() };
    let error = ask(&mut cluster, header, put("key9999"));
    assert!(matches!(error, RequestError::KeyNotInRegion { .. }), "{error}");
    let wrong = types::RequestHeader { region_id: types::RegionId(1), ..header };
    assert!(matches!(ask(&mut cluster, wrong, put("key0000")), RequestError::RegionNotFound { .. }));
    let wrong = types::RequestHeader { epoch: types::RegionEpoch { conf_ver: 1, version: 2 }, ..header };
    assert!(matches!(ask(&mut cluster, wrong, put("key0000")), RequestError::EpochNotMatch { .. }));
    let wrong = types::RequestHeader { peer_id: Some(second.peers[0].id), ..header };
    assert!(matches!(ask(&mut cluster, wrong, put("key0000")), RequestError::MismatchPeerId { .. }));
    let huge = apply::build::put(ColumnFamily::Default, vec![b'k'; 1 << 20], "v");
    assert!(matches!(ask(&mut cluster, header, apply::build::batch(vec![huge])), RequestError::Invalid { .. }));
    assert!(matches!(ask(&mut cluster, header, apply::build::batch(Vec::new())), RequestError::Invalid { .. }));
}

#[test]
fn another_life_of_a_store_is_refused() {
    let mut cluster = Cluster::new(1, 1);
    let (store, first, second) = (StoreId(9), types::InstanceId(1), types::InstanceId(2));
    assert_eq!(cluster.handle(0).remember_instance(store, first).unwrap(), first);
    assert_eq!(cluster.handle(0).remember_instance(store, second).unwrap(), first);
    cluster.kill(0);
    cluster.nodes[0].disk.crash_at(CrashPoint::OLDEST);
    cluster.open(0).unwrap();
    assert_eq!(cluster.handle(0).remember_instance(store, second).unwrap(), first, "forgotten by a restart");
    assert_eq!(cluster.handle(0).remember_instance(store, first).unwrap(), first);
}

/// What apply says about a region's log counts for clean-up only once the region has heard it: until then it may read what
/// lies before (D5).
#[test]
fn a_log_is_deleted_only_when_its_region_knows_where_it_begins() {
    let mut config = StoreConfig::default();
    config.region.compact_entries = 4;
    let mut cluster = Cluster::with_config(1, 1, config);
    cluster.elect_all();
    cluster.put_all(&pairs(20, "value"));
    let (region, log) = (cluster.regions[0].id, Arc::clone(&cluster.handle(0).engines().log));
    let first = || log.region(region).unwrap().unwrap().bounds.map(|(first, _)| first);
    let before = first();
    for _ in 0..100 {
        // An entry each time.
        cluster.put(0, "key0001", "value");
        let stepper = cluster.nodes[0].stepper.as_mut().unwrap();
        stepper.tick();
        while stepper.step_raft(0, |_| Some(0)) {}
        while stepper.step_apply(0, |_| Some(0)) {}
        stepper.flush();
        assert_eq!(first(), before, "the region has not heard yet");
        stepper.run_until_idle();
        stepper.flush();
        if first() != before {
            return;
        }
    }
    panic!("nothing was compacted");
}
