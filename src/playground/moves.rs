//! Changing the cluster while it runs: splits, moves, and stores that come and go. It is asked for as people ask a cluster of
//! processes, over HTTP; see [`crate::ctl`].

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use client::http::Method;
use serde_json::{Value, json};
use slog::info;
use tokio::time::{Instant, sleep};
use types::{KeyRange, RegionId, StoreId};

use super::cluster::Cluster;
use super::error::PlaygroundError;
use crate::ctl::answers::{OperatorState, Region};
use crate::ctl::cluster::read;
use crate::ctl::error::Whom;
use crate::ctl::operator::move_peer;
use crate::ctl::{self, CtlError};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long moves are waited for; those that take longer go on by themselves.
const MOVE_PATIENCE: Duration = Duration::from_secs(120);

/// How often it is looked how far they are.
const MOVE_LOOK: Duration = Duration::from_millis(200);

/// What the placement driver calls an operator that is under way, and one that did what it was to do.
const RUNNING: &str = "RUNNING";
const SUCCESS: &str = "SUCCESS";

/// What the placement driver calls a store that has left.
const TOMBSTONE: &str = "Tombstone";

/// How emptying a store went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It has left, and its data are removed.
    Left,
    /// It is still being emptied: it holds so many regions.
    Emptying(u64),
}

impl Cluster {
    fn ctl(&self) -> ctl::Cluster {
        let (address, _) = self.coordinator_addresses();
        ctl::Cluster::new(vec![address.to_owned()], PATIENCE)
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, CtlError>>) -> Result<T, PlaygroundError> {
        self.around.runtime.block_on(self.around.interrupt.or(work))
    }

    /// Has the placement driver move regions at once: all stores share one disk, however full that is, and are here to be
    /// played with.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn hurry(&self) -> Result<(), PlaygroundError> {
        let settings = json!({ "schedule.low-space-ratio": "1", "schedule.store-limit": "1000" });
        self.wait(self.ctl().pd(Method::Post, "/config", Some(settings))).map(drop)
    }

    /// Cuts regions at keys. Gives the regions that there are then around them.
    ///
    /// # Errors
    /// When a region refuses.
    pub fn split(&self, keys: Vec<Bytes>) -> Result<Vec<(RegionId, KeyRange)>, PlaygroundError> {
        let parts = self.wait(self.ctl().split(&keys))?;
        let parts: Vec<Region> = read(Whom::Pd, Value::Array(parts))?;
        let range = |part: Region| (part.id(), KeyRange::new(part.start_key.0, part.end_key.0));
        Ok(parts.into_iter().map(range).collect())
    }

    /// Replaces a region's peer on one store by one on another, and waits for the end of that.
    ///
    /// # Errors
    /// When the placement driver refuses, or gives up.
    pub fn move_peer(&self, region: RegionId, from: StoreId, to: StoreId) -> Result<(), PlaygroundError> {
        let ctl = self.ctl();
        let moved = async {
            ctl.add_operator(move_peer(region.0, from.0, to.0)).await?;
            let deadline = Instant::now() + MOVE_PATIENCE;
            loop {
                let state = ctl.pd(Method::Get, &format!("/operators/{region}"), None).await?;
                let state: OperatorState = read(Whom::Pd, state)?;
                if state.status != RUNNING || Instant::now() >= deadline {
                    return Ok(state.status);
                }
                sleep(MOVE_LOOK).await;
            }
        };
        match self.wait(moved)?.as_str() {
            SUCCESS => Ok(()),
            RUNNING => {
                let reason = format!("it takes longer than {} s and goes on by itself", MOVE_PATIENCE.as_secs());
                Err(PlaygroundError::NotMoved { region, reason })
            }
            other => Err(PlaygroundError::NotMoved { region, reason: format!("the operator ended as {other}") }),
        }
    }

    /// Empties a store, ends it and removes its data. `left` is told how many regions it still holds, whenever that changes.
    ///
    /// # Errors
    /// When there is no such store, or too few others.
    pub fn remove(&mut self, store: StoreId, left: impl FnMut(u64)) -> Result<Removal, PlaygroundError> {
        self.member(store)?;
        let regions = self.wait(empty(&self.ctl(), store, left))?;
        if regions > 0 {
            return Ok(Removal::Emptying(regions));
        }
        let Some(member) = self.members.remove(&store) else { return Ok(Removal::Left) };
        if let Some(node) = member.node {
            node.stop(&mut |_| {})?;
        }
        let path = &member.config.server.data_dir;
        let failed = |source| PlaygroundError::DataDir { path: path.display().to_string(), source };
        fs::remove_dir_all(path).map_err(failed)?;
        info!(self.around.logger, "a store was removed"; "store_id" => store.0);
        Ok(Removal::Left)
    }
}

/// Has a store emptied, and waits; gives how many regions it still holds, none when it has left the cluster.
async fn empty(ctl: &ctl::Cluster, store: StoreId, mut left: impl FnMut(u64)) -> Result<u64, CtlError> {
    let asked = ctl.pd(Method::Delete, &format!("/store/{store}"), None).await;
    let mut told = None;
    let deadline = Instant::now() + MOVE_PATIENCE;
    loop {
        let now = ctl.store(store).await?;
        if now.store.state_name == TOMBSTONE {
            return Ok(0);
        }
        // Asked for twice, it may have left in between.
        if let Err(error) = asked {
            return Err(error);
        }
        // While it is no tombstone it may still get a message about a region.
        let regions = now.status.region_count.max(1);
        if told.replace(regions) != Some(regions) {
            left(regions);
        }
        if Instant::now() >= deadline {
            return Ok(regions);
        }
        sleep(MOVE_LOOK).await;
    }
}
