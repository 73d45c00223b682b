//! A store's configuration as it is shown, and as the placement driver reads it.

use serde_json::{Value, json};

use crate::config::Config;

/// Every key with its value, and beside them what the placement driver looks for, under the names and in the units of TiKV:
/// how large regions may be (wire.md B). It takes what is absent for its own defaults, so what is switched off is left out.
pub fn shown(config: &Config) -> Value {
    let mut shown = serde_json::to_value(config).expect("a configuration is plain data");
    let store = &config.raftstore;
    let mut coprocessor = json!({ "enable-region-bucket": false });
    if store.region_max_size > 0 {
        coprocessor["region-max-size"] = size(store.region_max_size);
        coprocessor["region-split-size"] = size(store.region_split_size);
    }
    if store.region_max_keys > 0 {
        coprocessor["region-max-keys"] = json!(store.region_max_keys);
        coprocessor["region-split-keys"] = json!(store.region_split_keys);
    }
    shown["coprocessor"] = coprocessor;
    // The name of engines that share one RocksDB among all regions, as ours do.
    shown["storage"] = json!({ "engine": "raft-kv" });
    shown
}

/// A size as text: the largest unit that divides it.
fn size(bytes: u64) -> Value {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.into_iter().find(|(unit, _)| bytes.is_multiple_of(*unit));
    Value::String(unit.map_or_else(|| format!("{bytes}B"), |(unit, name)| format!("{}{name}", bytes / unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_placement_driver_finds_what_it_looks_for() {
        let mut config = Config::default();
        config.raftstore.region_split_size = 96 << 20;
        config.raftstore.region_max_size = (144 << 20) + 1;
        let seen = shown(&config);
        let expected = json!({
            "enable-region-bucket": false,
            "region-split-size": "96MiB",
            "region-max-size": "150994945B",
            "region-split-keys": 2_560_000,
            "region-max-keys": 3_840_000,
        });
        assert_eq!(seen["coprocessor"], expected);
        assert_eq!(seen["storage"]["engine"], "raft-kv");
        assert_eq!(seen["server"]["addr"], "127.0.0.1:20160");
        (config.raftstore.region_max_size, config.raftstore.region_max_keys) = (0, 0);
        assert_eq!(shown(&config)["coprocessor"], json!({ "enable-region-bucket": false }));
    }
}
