//! Regions whose peer here misses its leader: the placement driver may know who the members are.

use std::sync::Arc;

use client::PdClient;
use slog::{Logger, debug, info};
use store::StoreHandle;
use types::RegionId;

use crate::node::observer::News;

/// Asks the placement driver about regions that miss their leader, and tells their peers what it says. Runs until it is
/// dropped.
pub(in crate::node) async fn ask_for_members(store: StoreHandle, pd: PdClient, news: Arc<News>, logger: Logger) {
    loop {
        for region in news.take_orphans().await {
            ask(&store, &pd, region, &logger).await;
        }
    }
}

async fn ask(store: &StoreHandle, pd: &PdClient, region: RegionId, logger: &Logger) {
    match pd.get_region_by_id(region).await {
        Ok(Some(route)) => {
            let members = &route.descriptor.peers;
            info!(logger, "told a peer without a leader who the members are";
                "region_id" => region.0, "conf_ver" => route.descriptor.epoch.conf_ver, "members" => ?members);
            store.tell_members(region, route.descriptor.epoch, members.clone());
        }
        // A region that nobody knows may have been swallowed by another, or be about to report: the peer stays.
        Ok(None) => debug!(logger, "nobody knows a region without a leader"; "region_id" => region.0),
        Err(error) => debug!(logger, "cannot ask about a region without a leader"; "region_id" => region.0,
            "reason" => %error),
    }
}
