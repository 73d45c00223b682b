//! One region is filled, and splits by itself.

use crate::bulk::Bulk;
use crate::ending::{Clients, check_logs};
use crate::number;
use crate::placement::{Placement, check_cover};
use crate::restless;
use crate::support::wait::until;
use crate::support::{Cluster, ClusterShape};

const WRITERS: u64 = 8;
/// What is written, in bytes, unless `MOVES_LOAD_BYTES` says otherwise.
const LOAD_BYTES: u64 = 200 << 20;
/// Size at which a region is cut, and about that of its parts.
const REGION_BYTES: [u64; 2] = [1_800 << 10, 1_200 << 10];

/// Fills one region until it has become as many as its size asks for: a hundred for 200 MB.
pub async fn of_one_region() {
    let bytes = number("MOVES_LOAD_BYTES").unwrap_or(LOAD_BYTES);
    let wanted = (bytes / (2 << 20)) as usize;
    let [at, parts] = REGION_BYTES;
    let shape = ClusterShape { split_keys: Vec::new(), ..restless() }
        .setting("RAFTSTORE__REGION_MAX_SIZE", at)
        .setting("RAFTSTORE__REGION_SPLIT_SIZE", parts)
        .setting("RAFTSTORE__REGION_SPLIT_CHECK_DIFF", parts / 8)
        .setting("RAFTSTORE__SPLIT_REGION_CHECK_TICK_INTERVAL_MS", 300);
    let cluster = Cluster::start(shape).await;
    let placement = Placement::of(&cluster).await;
    assert_eq!(placement.routes().await.unwrap().len(), 1, "it begins with one region");
    let clients = Clients::start(&cluster).await;

    let mut bulk = Bulk::start(&cluster.raw_client().await, WRITERS, bytes);
    bulk.written().await;
    println!("{} bytes are written", bulk.written_bytes());
    let regions = until("the region has split as often as it should", async || {
        let routes = placement.routes().await?;
        check_cover(&routes)?;
        if routes.len() >= wanted { Ok(routes.len()) } else { Err(format!("there are {} of {wanted}", routes.len())) }
    })
    .await;
    println!("there are {regions} regions");
    placement.settled_on(&placement.ids(&cluster.stores).await).await;

    clients.judge(&cluster).await;
    bulk.check().await;
    cluster.caught_up().await;
    check_logs(&cluster);
}
