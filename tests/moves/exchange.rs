//! Stores come and others leave, while one after the other is killed.

use std::collections::BTreeSet;

use serde_json::json;
use types::StoreId;
use types::seed::Rng;

use crate::ending::{Clients, check_empty, check_logs, check_same, stop};
use crate::killer::Killer;
use crate::placement::Placement;
use crate::restless;
use crate::support::process::Process;
use crate::support::wait::until;
use crate::support::{Cluster, http};

/// How many stores come, and how many leave, at each exchange.
const EXCHANGED: usize = 2;
/// Peers that are moved while there are five stores.
const MOVES: usize = 12;
/// Stores that are killed while peers move at each step, at least.
const KILLS: u32 = 4;

/// Lets three stores become five and three again, some times, under a load and under kills.
pub async fn stores(seed: u64, exchanges: usize) {
    let mut rng = Rng::new(seed);
    // A store that was down for two seconds under load is so far behind that it needs a snapshot.
    let shape = restless()
        .setting("RAFTSTORE__MAX_ENTRY_BYTES", 64 << 10)
        .setting("RAFTSTORE__MAX_LOG_BYTES", 256 << 10)
        .setting("RAFTSTORE__RAFT_POLLERS", 1 + rng.below(2))
        .setting("RAFTSTORE__APPLY_POLLERS", 1 + rng.below(2));
    let mut cluster = Cluster::start(shape).await;
    let placement = Placement::of(&cluster).await;
    // One store is emptied region by region, so that it is killed in between.
    placement.configure(json!({ "replica-schedule-limit": 1 })).await;
    let mut killer = Killer::new(rng.next_u64(), placement.clone());
    let clients = Clients::start(&cluster).await;
    clients.progress().await;

    let mut left = Vec::new();
    for exchange in 0..exchanges {
        exchange_some(&mut rng, &mut cluster, &placement, &mut killer, &mut left).await;
        let names: Vec<_> = left.iter().map(|store: &Process| &store.name).collect();
        println!("exchange {exchange}: {} kills so far, {names:?} have left", killer.kills());
    }

    let page = clients.judge(&cluster).await;
    for store in left.iter().filter(|store| store.is_running()) {
        holds_no_region(store).await;
    }
    check_empty(&stop(&mut left).await);
    cluster.caught_up().await;
    check_logs(&cluster);
    left.iter().for_each(Process::assert_no_panic);
    check_same(&stop(&mut cluster.stores).await, &page);
}

/// Two stores come, and the two oldest leave.
async fn exchange_some(
    rng: &mut Rng,
    cluster: &mut Cluster,
    placement: &Placement,
    killer: &mut Killer,
    left: &mut Vec<Process>,
) {
    for _ in 0..EXCHANGED {
        cluster.add_store().await;
    }
    let ids = placement.ids(&cluster.stores).await;
    let spread = async {
        placement.spread_over(&ids).await;
        placement.shuffle(rng, &ids, MOVES).await;
    };
    killer.until(&mut cluster.stores, KILLS, spread).await;
    println!("{} stores have peers, after {} kills", ids.len(), killer.kills());

    let leaving = placement.ids(&cluster.stores[..EXCHANGED]).await;
    let staying: BTreeSet<StoreId> = ids.difference(&leaving).copied().collect();
    for store in &leaving {
        placement.let_leave(*store).await;
    }
    killer.until(&mut cluster.stores, KILLS, placement.settled_on(&staying)).await;
    // A peer whose store was killed before it was told that it is no member any more asks when it has missed a leader for
    // half a minute: it must live that long.
    let gone = async {
        for store in &leaving {
            placement.gone(*store).await;
        }
    };
    killer.until(&mut cluster.stores[EXCHANGED..], 1, gone).await;
    left.extend(cluster.stores.drain(..EXCHANGED));
    placement.settled_on(&staying).await;
}

/// Waits until a store has cleared the last of its peers away.
async fn holds_no_region(store: &Process) {
    until("a store that has left holds no region", async || {
        let regions = http::json(&store.status_address, "/regions").await?;
        let is_empty = regions.as_array().is_some_and(Vec::is_empty);
        is_empty.then_some(()).ok_or_else(|| format!("{} holds {regions}", store.name))
    })
    .await;
}
