//! TiKV's client for Go against a cluster of real processes: what the program in `tests/client_go` checks. Where there is
//! no Go, or the program's modules cannot be fetched, these tests print that they are skipped. Each builds the program before
//! its time begins: the first build on a machine takes as long as it takes.

#![allow(clippy::unwrap_used)]

#[path = "support/lookups.rs"]
mod lookups;
#[path = "moves/placement.rs"]
mod placement;
#[path = "client_go/program.rs"]
mod program;
mod support;

use lookups::Lookups;
use placement::Placement;
use program::Program;
use runtime::clock::entropy_seed;
use support::{Cluster, ClusterShape};

/// What a store says when a comparison found that its replica is not what the others have.
const DIFFERS: &str = "this store's replica differs from its leader's";

/// Every raw request, and then a load during which a store is killed and comes back.
#[test]
fn raw_requests_over_the_kill_of_a_store() {
    let Some(program) = Program::build() else { return };
    support::run(async { check(&program, "raw", &mut Cluster::start(cut_evenly()).await).await });
}

/// Timestamps over a kill of the coordinator, which gives them.
#[test]
fn timestamps_over_the_kill_of_the_coordinator() {
    let Some(program) = Program::build() else { return };
    support::run(async { check(&program, "timestamps", &mut Cluster::start(cut_evenly()).await).await });
}

/// Splits and moves in every way that clients and people have, under a load, over the kill of one of four stores.
#[test]
fn regions_split_and_move_over_the_kill_of_a_store() {
    let Some(program) = Program::build() else { return };
    support::run(async {
        // Operators go on with the next report of their region.
        let shape = ClusterShape::default()
            .setting("RAFTSTORE__PD_HEARTBEAT_INTERVAL_MS", 500)
            .setting("RAFTSTORE__PD_STORE_HEARTBEAT_INTERVAL_MS", 300)
            .setting("RAFTSTORE__CONSISTENCY_CHECK_INTERVAL_MS", 1000);
        let mut cluster = Cluster::start(shape).await;
        cluster.add_store().await;
        let lookups = Lookups::start(&cluster.coordinator.address, entropy_seed()).await;
        check(&program, "moves", &mut cluster).await;
        println!("{} look-ups by newer requests", lookups.finish().await);
        let placement = Placement::of(&cluster).await;
        placement.settled_on(&placement.ids(&cluster.stores).await).await;
        cluster.stores.iter().for_each(|store| store.assert_never_told(DIFFERS));
    });
}

/// Borders of regions all over the alphabet.
fn cut_evenly() -> ClusterShape {
    ClusterShape { split_keys: ('b'..='z').step_by(2).map(String::from).collect(), ..ClusterShape::default() }
}

/// Runs the program in a mode.
async fn check(program: &Program, mode: &str, cluster: &mut Cluster) {
    let mut run = program.run(&cluster.endpoints(), mode);
    while let Some(line) = run.next_line().await {
        println!("{line}");
        if let Some(request) = line.strip_prefix("harness: ") {
            serve(cluster, request).await;
            run.answer("done");
        }
    }
    run.assert_success();
    cluster.assert_no_panic();
}

/// Does what the program asks for.
async fn serve(cluster: &mut Cluster, request: &str) {
    let (verb, address) = request.split_once(' ').unwrap();
    let stores = cluster.stores.iter_mut();
    let mut processes = stores.chain([&mut cluster.coordinator]);
    let process = processes.find(|process| process.address == address).unwrap();
    match verb {
        "kill" => process.kill(),
        "restart" => {
            process.start();
            process.ready().await;
        }
        _ => panic!("the program asks for {request:?}, which nobody knows"),
    }
}
