//! What may be tuned, under the names that the ecosystem's placement driver uses.

use std::fmt;
use std::time::Duration;

/// Most replicas of a region; more cost more than they protect.
pub const MAX_REPLICAS: usize = 7;

/// Most levels of location.
pub const MAX_LOCATION_LEVELS: usize = 8;

/// Most bytes of all names of levels together.
const MAX_LABEL_BYTES: usize = 1 << 10;

/// A setting was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no such setting.
    #[error("there is no setting {name:?}; the settings are {known}", known = SETTINGS.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The value makes no sense.
    #[error("setting {name} cannot be {value:?}: {expected}")]
    Value {
        /// The setting.
        name: &'static str,
        /// The value.
        value: String,
        /// What would be right.
        expected: String,
    },
}

/// The names of all settings.
pub const SETTINGS: [&str; 15] = [
    "replication.max-replicas",
    "replication.location-labels",
    "replication.isolation-level",
    "schedule.max-store-down-time",
    "schedule.leader-schedule-limit",
    "schedule.replica-schedule-limit",
    "schedule.max-snapshot-count",
    "schedule.max-pending-peer-count",
    "schedule.store-limit",
    "schedule.low-space-ratio",
    "schedule.fast-step-timeout",
    "schedule.slow-step-timeout",
    "schedule.enable-joint-consensus",
    "schedule.enable-location-replacement",
    "schedule.halt-scheduling",
];

/// How regions are placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementConfig {
    /// On how many stores each region lies.
    pub max_replicas: usize,
    /// The labels by which stores say where they stand, from the widest level to the narrowest.
    pub location_labels: Vec<String>,
    /// The level at which no two replicas may share a place; empty for none.
    pub isolation_level: String,
    /// A peer whose store was silent for longer is replaced.
    pub max_store_down_time: Duration,
    /// Most operators of checkers that only move leaders, at a time.
    pub leader_schedule_limit: usize,
    /// Most other operators of checkers at a time.
    pub replica_schedule_limit: usize,
    /// A store that sends or receives that many snapshots takes part in no more.
    pub max_snapshot_count: u64,
    /// A store with that many peers that have not caught up gets no more.
    pub max_pending_peer_count: u64,
    /// How many peers a store gets in a minute, and how many it loses. Small regions count a fifth.
    pub store_limit: u64,
    /// A store whose disk is used to more than that, in percent, gets no more peers.
    pub low_space_percent: u64,
    /// How long a step may take that moves no data.
    pub fast_step_timeout: Duration,
    /// How long a step may take that moves data; more for large regions.
    pub slow_step_timeout: Duration,
    /// Whether several changes of membership are made in one step.
    pub enable_joint_consensus: bool,
    /// Whether a peer moves when another place isolates the replicas better.
    pub enable_location_replacement: bool,
    /// Whether checkers stand still.
    pub halt_scheduling: bool,
}

impl Default for PlacementConfig {
    fn default() -> Self {
        Self {
            max_replicas: 3,
            location_labels: Vec::new(),
            isolation_level: String::new(),
            max_store_down_time: Duration::from_secs(30 * 60),
            leader_schedule_limit: 4,
            replica_schedule_limit: 64,
            max_snapshot_count: 64,
            max_pending_peer_count: 64,
            store_limit: 15,
            low_space_percent: 80,
            fast_step_timeout: Duration::from_secs(60),
            slow_step_timeout: Duration::from_secs(10 * 60),
            enable_joint_consensus: true,
            enable_location_replacement: true,
            halt_scheduling: false,
        }
    }
}

impl PlacementConfig {
    /// Sets a setting from its text.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing is changed then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let name = *SETTINGS
            .iter()
            .find(|known| **known == name)
            .ok_or_else(|| ConfigError::Unknown { name: name.to_owned() })?;
        let value = Text { name, value: value.trim() };
        match name {
            "replication.max-replicas" => self.max_replicas = value.number(1..=MAX_REPLICAS as u64)? as usize,
            "replication.location-labels" => self.location_labels = value.labels()?,
            "replication.isolation-level" => self.isolation_level = value.label(&self.location_labels)?,
            "schedule.max-store-down-time" => self.max_store_down_time = value.duration()?,
            "schedule.leader-schedule-limit" => self.leader_schedule_limit = value.number(0..=4096)? as usize,
            "schedule.replica-schedule-limit" => self.replica_schedule_limit = value.number(0..=4096)? as usize,
            "schedule.max-snapshot-count" => self.max_snapshot_count = value.number(1..=4096)?,
            "schedule.max-pending-peer-count" => self.max_pending_peer_count = value.number(1..=1 << 20)?,
            "schedule.store-limit" => self.store_limit = value.number(1..=1 << 20)?,
            "schedule.low-space-ratio" => self.low_space_percent = value.percent()?,
            "schedule.fast-step-timeout" => self.fast_step_timeout = value.duration()?,
            "schedule.slow-step-timeout" => self.slow_step_timeout = value.duration()?,
            "schedule.enable-joint-consensus" => self.enable_joint_consensus = value.switch()?,
            "schedule.enable-location-replacement" => self.enable_location_replacement = value.switch()?,
            "schedule.halt-scheduling" => self.halt_scheduling = value.switch()?,
            _ => unreachable!("{name} is in SETTINGS and has no arm here"),
        }
        if !self.isolation_level.is_empty() && !self.location_labels.contains(&self.isolation_level) {
            self.isolation_level.clear();
        }
        Ok(())
    }

    /// A setting's text, which [`set`](Self::set) takes.
    pub fn get(&self, name: &str) -> Option<String> {
        Some(match name {
            "replication.max-replicas" => self.max_replicas.to_string(),
            "replication.location-labels" => self.location_labels.join(","),
            "replication.isolation-level" => self.isolation_level.clone(),
            "schedule.max-store-down-time" => Spelled(self.max_store_down_time).to_string(),
            "schedule.leader-schedule-limit" => self.leader_schedule_limit.to_string(),
            "schedule.replica-schedule-limit" => self.replica_schedule_limit.to_string(),
            "schedule.max-snapshot-count" => self.max_snapshot_count.to_string(),
            "schedule.max-pending-peer-count" => self.max_pending_peer_count.to_string(),
            "schedule.store-limit" => self.store_limit.to_string(),
            "schedule.low-space-ratio" => format!("0.{:02}", self.low_space_percent).replace("0.100", "1"),
            "schedule.fast-step-timeout" => Spelled(self.fast_step_timeout).to_string(),
            "schedule.slow-step-timeout" => Spelled(self.slow_step_timeout).to_string(),
            "schedule.enable-joint-consensus" => self.enable_joint_consensus.to_string(),
            "schedule.enable-location-replacement" => self.enable_location_replacement.to_string(),
            "schedule.halt-scheduling" => self.halt_scheduling.to_string(),
            _ => return None,
        })
    }
}

/// A setting's text and its name.
struct Text<'a> {
    name: &'static str,
    value: &'a str,
}

impl Text<'_> {
    fn refuse<T>(&self, expected: impl Into<String>) -> Result<T, ConfigError> {
        Err(ConfigError::Value { name: self.name, value: self.value.to_owned(), expected: expected.into() })
    }

    fn number(&self, allowed: std::ops::RangeInclusive<u64>) -> Result<u64, ConfigError> {
        match self.value.parse() {
            Ok(number) if allowed.contains(&number) => Ok(number),
            _ => self.refuse(format!("give a number from {} to {}", allowed.start(), allowed.end())),
        }
    }

    fn switch(&self) -> Result<bool, ConfigError> {
        self.value.parse().or_else(|_| self.refuse("give true or false"))
    }

    fn percent(&self) -> Result<u64, ConfigError> {
        match self.value.parse::<f64>() {
            Ok(ratio) if (0.01..=1.0).contains(&ratio) => Ok((ratio * 100.0).round() as u64),
            _ => self.refuse("give a ratio from 0.01 to 1"),
        }
    }

    fn labels(&self) -> Result<Vec<String>, ConfigError> {
        let labels: Vec<String> = self.value.split(',').map(str::trim).map(str::to_owned).collect();
        if self.value.is_empty() {
            return Ok(Vec::new());
        }
        let is_repeated = labels.iter().enumerate().any(|(at, label)| labels[..at].contains(label));
        if labels.len() > MAX_LOCATION_LEVELS || self.value.len() > MAX_LABEL_BYTES {
            return self.refuse(format!("give at most {MAX_LOCATION_LEVELS} labels and {MAX_LABEL_BYTES} bytes"));
        }
        if is_repeated || labels.iter().any(String::is_empty) {
            return self.refuse("give different labels, separated by commas");
        }
        Ok(labels)
    }

    fn label(&self, labels: &[String]) -> Result<String, ConfigError> {
        if self.value.is_empty() || labels.iter().any(|label| label == self.value) {
            return Ok(self.value.to_owned());
        }
        self.refuse("give one of the location labels, or nothing")
    }

    /// `90s`, `30m`, `1h30m`, `500ms`.
    fn duration(&self) -> Result<Duration, ConfigError> {
        parse_duration(self.value)
            .filter(|duration| !duration.is_zero())
            .map_or_else(|| self.refuse("give a duration such as 90s, 30m or 1h30m"), Ok)
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, next) = behind.split_at(letters);
        let unit_ms: u64 = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1000,
            "ms" => 1,
            _ => return None,
        };
        let part = Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(unit_ms)?);
        total = total.checked_add(part)?;
        rest = next;
    }
    Some(total)
}

/// A duration as people write it.
struct Spelled(Duration);

impl fmt::Display for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest_ms = self.0.as_millis();
        for (unit, unit_ms) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if rest_ms >= unit_ms {
                write!(f, "{}{unit}", rest_ms / unit_ms)?;
                rest_ms %= unit_ms;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_reads_back() {
        let mut config = PlacementConfig::default();
        for (name, value) in SETTINGS.into_iter().zip([
            "5",
            "zone,rack",
            "rack",
            "1h30m",
            "7",
            "9",
            "3",
            "8",
            "30",
            "0.95",
            "1m30s",
            "500ms",
            "false",
            "false",
            "true",
        ]) {
            config.set(name, value).unwrap();
            assert_eq!(config.get(name).unwrap(), value, "{name}");
        }
        assert_eq!((config.max_replicas, config.low_space_percent), (5, 95));
        assert_eq!(config.max_store_down_time, Duration::from_secs(5400));
        let default = PlacementConfig::default();
        for name in SETTINGS {
            config.set(name, &default.get(name).unwrap()).unwrap();
        }
        assert_eq!(config, default);
        config.set("schedule.low-space-ratio", "1").unwrap();
        assert_eq!(config.get("schedule.low-space-ratio").unwrap(), "1");
    }

    #[test]
    fn impossible_values_are_refused_and_change_nothing() {
        let mut config = PlacementConfig::default();
        for (name, value) in [
            ("replication.max-replicas", "0"),
            ("replication.max-replicas", "8"),
            ("replication.max-replicas", "three"),
            ("replication.location-labels", "zone,,rack"),
            ("replication.location-labels", "zone,zone"),
            ("replication.isolation-level", "zone"),
            ("schedule.max-store-down-time", ""),
            ("schedule.max-store-down-time", "0s"),
            ("schedule.max-store-down-time", "5 parsecs"),
            ("schedule.max-store-down-time", "99999999999999999999h"),
            ("schedule.low-space-ratio", "NaN"),
            ("schedule.low-space-ratio", "1.5"),
            ("schedule.halt-scheduling", "maybe"),
        ] {
            assert!(matches!(config.set(name, value), Err(ConfigError::Value { .. })), "{name} = {value}");
        }
        let unknown = config.set("schedule.max-replicas", "3").unwrap_err();
        assert!(unknown.to_string().contains("replication.max-replicas"), "{unknown}");
        assert_eq!(config, PlacementConfig::default());
    }

    #[test]
    fn an_isolation_level_goes_with_its_label() {
        let mut config = PlacementConfig::default();
        config.set("replication.location-labels", "zone, rack").unwrap();
        config.set("replication.isolation-level", "rack").unwrap();
        config.set("replication.location-labels", "zone").unwrap();
        assert_eq!(config.isolation_level, "");
    }
}
