//! TiKV's client for Go against a cluster of real processes: what the program in `tests/client_go` checks. Where there is
//! no Go, or the program's modules cannot be fetched, these tests print that they are skipped.

#![allow(clippy::unwrap_used)]

#[path = "client_go/program.rs"]
mod program;
mod support;

use program::Program;
use support::{Cluster, ClusterShape};

/// Every raw request, and then a load during which a store is killed and comes back.
#[test]
fn raw_requests_over_the_kill_of_a_store() {
    check("raw");
}

/// Timestamps over a kill of the coordinator, which gives them.
#[test]
fn timestamps_over_the_kill_of_the_coordinator() {
    check("timestamps");
}

fn check(mode: &str) {
    // Before the test's time begins: the first build on a machine takes as long as it takes.
    let Some(program) = Program::build() else { return };
    support::run(async {
        let split_keys = ('b'..='z').step_by(2).map(String::from).collect();
        let mut cluster = Cluster::start(ClusterShape { split_keys, ..ClusterShape::default() }).await;
        let mut run = program.run(&cluster.endpoints(), mode);
        while let Some(line) = run.next_line().await {
            println!("{line}");
            if let Some(request) = line.strip_prefix("harness: ") {
                serve(&mut cluster, request).await;
                run.answer("done");
            }
        }
        run.assert_success();
        cluster.assert_no_panic();
    });
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
