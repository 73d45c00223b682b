//! What the coordinator knows of a store: the durable record, and what its heartbeats say.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{InstanceId, StoreId};

use crate::version::Version;

/// A store that was silent for longer is shown as disconnected.
pub const DISCONNECTED_AFTER: Duration = Duration::from_secs(20);

/// A store that was silent for longer is shown as down, to be replaced.
pub const DOWN_AFTER: Duration = Duration::from_secs(30 * 60);

/// Most bytes of a description's texts, labels included.
pub const MAX_DESCRIPTION_BYTES: usize = 16 << 10;

/// What a store says of itself when it registers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreDescription {
    /// Its id, allocated by the coordinator.
    pub id: StoreId,
    /// Where clients reach it: `host:port` without a scheme.
    pub address: String,
    /// Where other stores reach it; empty for the same.
    pub peer_address: String,
    /// Where its status pages are; empty for none.
    pub status_address: String,
    /// Its version; see [`Version`].
    pub version: String,
    /// What it was built from.
    pub git_hash: String,
    /// Where its executable lies.
    pub deploy_path: String,
    /// When it started, in seconds since the Unix epoch.
    pub start_timestamp: i64,
    /// Where it stands and what it is for.
    pub labels: BTreeMap<String, String>,
}

impl StoreDescription {
    /// Checks what can be checked without knowing other stores.
    ///
    /// # Errors
    /// A sentence with what is wrong and what would be right.
    pub fn validate(&self) -> Result<Version, String> {
        let texts = [&self.peer_address, &self.status_address, &self.git_hash, &self.deploy_path, &self.version];
        let labels = self.labels.iter().flat_map(|(key, value)| [key, value]);
        let bytes: usize = texts.into_iter().chain(labels).map(String::len).sum();
        if bytes + self.address.len() > MAX_DESCRIPTION_BYTES {
            return Err(format!("its description exceeds {MAX_DESCRIPTION_BYTES} bytes"));
        }
        check_address(&self.address)?;
        for optional in [&self.peer_address, &self.status_address] {
            if !optional.is_empty() {
                check_address(optional)?;
            }
        }
        if self.labels.contains_key("") {
            return Err("a label has no name".to_owned());
        }
        self.version.parse::<Version>().map_err(|error| error.to_string())
    }
}

/// Clients dial the address as it stands: with a scheme in front client-go never connects.
fn check_address(address: &str) -> Result<(), String> {
    let wrong = || format!("address {address:?} must be of the form host:port, without a scheme");
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host_is_fine = !host.is_empty() && !host.contains(['/', ' ', '\t', '\n']);
    let port_is_fine = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    if host_is_fine && port_is_fine { Ok(()) } else { Err(wrong()) }
}

/// Where a store is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum StoreState {
    /// It belongs to the cluster.
    #[default]
    Up = 0,
    /// It is being emptied.
    Offline = 1,
    /// It was removed; its id is never used again.
    Tombstone = 2,
}

impl StoreState {
    /// The state with this number in a record, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Up),
            1 => Some(Self::Offline),
            2 => Some(Self::Tombstone),
            _ => None,
        }
    }
}

/// What is durable of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreRecord {
    /// What it said of itself.
    pub description: StoreDescription,
    /// Where it is in its life.
    pub state: StoreState,
    /// The disk that asked for the layout under this id; no other ever may (D14).
    pub instance: Option<InstanceId>,
    /// Whether it confirmed that it had bootstrapped (D14).
    pub bootstrapped: bool,
}

impl StoreRecord {
    /// Whether the store was not removed.
    pub fn is_live(&self) -> bool {
        self.state != StoreState::Tombstone
    }

    /// Whether the store was told to leave, and is being emptied.
    pub fn is_leaving(&self) -> bool {
        self.state == StoreState::Offline
    }
}

/// What a store's heartbeat says. Sizes in bytes; flows since the heartbeat before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// The store.
    pub store: StoreId,
    /// Size of its disk.
    pub capacity_bytes: u64,
    /// Free on its disk.
    pub available_bytes: u64,
    /// Used by its data.
    pub used_bytes: u64,
    /// How many regions it holds.
    pub region_count: u32,
    /// Snapshots that it sends.
    pub sending_snapshots: u32,
    /// Snapshots that it receives.
    pub receiving_snapshots: u32,
    /// Snapshots that it applies.
    pub applying_snapshots: u32,
    /// When it started, in seconds since the Unix epoch.
    pub start_time_s: u32,
    /// Whether it cannot keep up.
    pub is_busy: bool,
    /// Whether it is stopping.
    pub is_stopping: bool,
    /// Bytes written.
    pub bytes_written: u64,
    /// Keys written.
    pub keys_written: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Keys read.
    pub keys_read: u64,
    /// 1 (fast) to 100 (slow); 0 when it does not say.
    pub slow_score: u64,
    /// The flows' interval: begin and end, in seconds since the Unix epoch.
    pub interval_s: (u64, u64),
}

/// How long a store has been silent, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    /// Heard of lately.
    Up,
    /// Silent for more than [`DISCONNECTED_AFTER`].
    Disconnected,
    /// Silent for more than [`DOWN_AFTER`].
    Down,
}

impl StoreHealth {
    pub(crate) fn of_silence(silence: Duration) -> Self {
        if silence > DOWN_AFTER {
            Self::Down
        } else if silence > DISCONNECTED_AFTER {
            Self::Disconnected
        } else {
            Self::Up
        }
    }
}

/// A store as a reader sees it.
#[derive(Clone, Copy, Debug)]
pub struct StoreView<'a> {
    /// What is durable of it.
    pub record: &'a StoreRecord,
    /// Its newest heartbeat under this leadership.
    pub stats: Option<&'a StoreStats>,
    /// When that came, in milliseconds since the Unix epoch; zero for never.
    pub last_heartbeat_unix_ms: u64,
    /// How long it has been silent.
    pub health: StoreHealth,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(address: &str) -> Result<Version, String> {
        StoreDescription { address: address.to_owned(), ..StoreDescription::default() }.validate()
    }

    #[test]
    fn addresses_have_a_host_and_a_port_and_no_scheme() {
        for address in ["127.0.0.1:20160", "[::1]:20160", "store-1.example:1"] {
            assert!(described(address).is_ok(), "{address}");
        }
        for address in ["", "host", "host:", ":20160", "http://host:20160", "host:0", "host:99999", "host:+1", "a b:1"]
        {
            assert!(described(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_description_is_bounded() {
        let mut description = StoreDescription { address: "a:1".to_owned(), ..StoreDescription::default() };
        description.labels.insert("zone".to_owned(), "z".repeat(MAX_DESCRIPTION_BYTES));
        assert!(description.validate().is_err());
    }

    #[test]
    fn health_follows_silence() {
        let health = |seconds| StoreHealth::of_silence(Duration::from_secs(seconds));
        assert_eq!(health(20), StoreHealth::Up);
        assert_eq!(health(21), StoreHealth::Disconnected);
        assert_eq!(health(1800), StoreHealth::Disconnected);
        assert_eq!(health(1801), StoreHealth::Down);
    }
}
