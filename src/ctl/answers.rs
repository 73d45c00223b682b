//! What the placement driver and the stores answer, as far as tables show it. Fields that are not there have their
//! defaults: another version may have fewer.

use bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use types::{RegionId, StoreId};

use super::keys::from_hex;

/// Stores.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Stores {
    /// Each of them.
    pub stores: Vec<Store>,
}

/// A store as the placement driver knows it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Store {
    /// Who it is.
    pub store: StoreIdentity,
    /// How it is.
    pub status: StoreStatus,
    /// How its emptying stands, if it was told to leave.
    pub draining: Option<Draining>,
}

impl Store {
    /// Its id.
    pub const fn id(&self) -> StoreId {
        StoreId(self.store.id)
    }
}

/// How the emptying of a store stands, in regions.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Draining {
    /// Those that still have a peer there.
    pub regions: u64,
    /// Those that are on their way.
    pub moving: u64,
    /// Those that wait, and what for.
    pub waiting: Vec<DrainWait>,
}

/// Regions that cannot be moved off a store now.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DrainWait {
    pub regions: u64,
    pub because: String,
}

/// Who a store is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StoreIdentity {
    /// Its id.
    pub id: u64,
    /// Where clients reach it.
    pub address: String,
    /// Where its status is told.
    pub status_address: String,
    /// Where it is in its life, and whether it is heard of.
    pub state_name: String,
    /// When it was last heard of, in nanoseconds since the Unix epoch.
    pub last_heartbeat: u64,
    /// What it is to placement.
    pub labels: Vec<Label>,
}

/// A label.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Label {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// How a store is. Sizes in bytes, but for `region_size` in MiB.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StoreStatus {
    pub capacity_bytes: u64,
    pub available_bytes: u64,
    pub used_bytes: u64,
    pub region_count: u64,
    pub region_size: u64,
    pub leader_count: u64,
    pub pending_peer_count: u64,
    pub sending_snap_count: u64,
    pub receiving_snap_count: u64,
    pub applying_snap_count: u64,
    pub is_busy: bool,
}

/// A region as the placement driver knows it. Flows since the heartbeat before; the size in MiB.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Region {
    pub id: u64,
    pub start_key: HexBytes,
    pub end_key: HexBytes,
    pub epoch: Epoch,
    pub peers: Vec<Peer>,
    pub leader: Option<Peer>,
    pub down_peers: Vec<DownPeer>,
    pub pending_peers: Vec<Peer>,
    pub written_bytes: u64,
    pub read_bytes: u64,
    pub written_keys: u64,
    pub read_keys: u64,
    pub approximate_size: u64,
    pub approximate_keys: u64,
}

impl Region {
    /// Its id.
    pub const fn id(&self) -> RegionId {
        RegionId(self.id)
    }

    /// The store that leads it, as far as is known.
    pub fn leader_store(&self) -> Option<StoreId> {
        self.leader.as_ref().map(|leader| StoreId(leader.store_id))
    }
}

/// An epoch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Epoch {
    pub conf_ver: u64,
    pub version: u64,
}

/// A peer. The placement driver writes its role as a number and a name, a store as a name alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Peer {
    pub id: u64,
    pub store_id: u64,
    pub role_name: String,
}

/// A peer that its leader has not heard of for a while.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DownPeer {
    pub peer: Peer,
    pub down_seconds: u64,
}

/// What the placement driver does with a region.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Operator {
    pub desc: String,
    pub kind: String,
    pub region_id: u64,
    pub origin: String,
    pub priority: String,
    pub steps: Vec<String>,
    /// Counted from 0.
    pub current_step: usize,
    pub age_seconds: f64,
}

/// A region's operator and how it stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OperatorState {
    pub operator: Operator,
    pub status: String,
}

/// An operator that has ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct OperatorRecord {
    pub operator: Operator,
    pub status: String,
    pub reason: String,
    /// In seconds since the Unix epoch.
    pub finish_time: u64,
    pub duration_seconds: f64,
}

/// A snapshot on its way, with the store that told of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    pub store_id: u64,
    pub region_id: u64,
    pub direction: String,
    pub peer_store_id: u64,
    pub phase: String,
    pub bytes_done: u64,
    /// Zero while nobody knows.
    pub bytes_total: u64,
    pub seconds: f64,
    pub cancelled: Option<String>,
}

/// A replica that differs from its leader's, with the store that has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Differing {
    pub store_id: u64,
    pub region_id: u64,
    pub start_key: HexBytes,
    pub end_key: HexBytes,
    pub peer_id: u64,
    pub index: u64,
    pub hash: String,
    pub leaders_hash: String,
}

/// What came of a compaction, with the store that made it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Compaction {
    pub store_id: u64,
    pub disk_bytes_before: u64,
    pub disk_bytes_after: u64,
}

/// Bytes that are written as hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HexBytes(pub Bytes);

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text).map(Self).ok_or_else(|| D::Error::custom(format!("{text:?} is no key in hex")))
    }
}
