//! Tables of stores and regions.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use indicatif::BinaryBytes;
use store::StoreState;
use types::{KeyRange, RegionId, StoreId};

use super::status::{RegionRow, RunningStoreRow, StoreRow};
use super::words::Readable;

/// A table of stores.
pub fn stores(rows: &[StoreRow]) -> Table {
    let mut table = table(&["store", "state", "address", "status", "regions", "leaders", "on disk"], &[0, 4, 5, 6]);
    for row in rows {
        let [regions, leaders, disk] = row.running.as_ref().map_or_else(Default::default, |running| {
            [running.regions.to_string(), running.leaders.to_string(), BinaryBytes(running.disk_bytes).to_string()]
        });
        let status = format!("http://{}", row.status_address);
        let state = state(row.running.as_ref());
        table.add_row([row.id.to_string(), state, row.address.clone(), status, regions, leaders, disk]);
    }
    table
}

fn state(running: Option<&RunningStoreRow>) -> String {
    let Some(running) = running else {
        return "killed".to_owned();
    };
    match (&running.failure, running.state) {
        (Some(reason), _) => format!("failed: {reason}"),
        (None, StoreState::Starting) => "starting".to_owned(),
        (None, StoreState::Serving) => "serving".to_owned(),
        (None, StoreState::Stopping) => "stopping".to_owned(),
        (None, StoreState::Failed) => "failed".to_owned(),
        (None, StoreState::Stopped) => "stopped".to_owned(),
    }
}

/// A table of the first `limit` regions, with a line about those that were left out.
pub fn regions(rows: &[RegionRow], limit: usize) -> String {
    let mut table = table(&["region", "from", "to", "leader", "peers", "term", "applied", "size"], &[0, 3, 5, 6, 7]);
    for row in rows.iter().take(limit) {
        table.add_row([
            row.id.to_string(),
            bound(&row.range.start, "(first)"),
            bound(&row.range.end, "(last)"),
            row.leader.map_or_else(|| "none".to_owned(), |store| store.to_string()),
            peers(&row.peers),
            row.term.to_string(),
            row.applied.to_string(),
            BinaryBytes(row.bytes).to_string(),
        ]);
    }
    match rows.len().saturating_sub(limit) {
        0 => table.to_string(),
        more => format!("{table}\n… and {more} more: `regions` shows them all"),
    }
}

/// A table of what there is behind a split.
pub fn parts(parts: &[(RegionId, KeyRange)]) -> Table {
    let mut table = table(&["region", "from", "to"], &[0]);
    for (region, range) in parts {
        table.add_row([region.to_string(), bound(&range.start, "(first)"), bound(&range.end, "(last)")]);
    }
    table
}

fn bound(key: &[u8], unbounded: &str) -> String {
    if key.is_empty() { unbounded.to_owned() } else { Readable(key).to_string() }
}

fn peers(peers: &[(StoreId, bool)]) -> String {
    let shown = peers.iter().map(|(store, is_up)| if *is_up { store.to_string() } else { format!("{store} (down)") });
    shown.collect::<Vec<_>>().join(", ")
}

fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    for column in numbers {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use types::{LogIndex, Term};

    use super::*;

    fn region(id: u64, range: KeyRange, leader: Option<u64>) -> RegionRow {
        let peers = vec![(StoreId(1), true), (StoreId(2), false)];
        let (term, applied) = (Term(6), LogIndex(42));
        RegionRow { id: RegionId(id), range, leader: leader.map(StoreId), peers, term, applied, bytes: 3 << 20 }
    }

    #[test]
    fn regions_are_shown_in_a_row_each() {
        let rows = [region(9, KeyRange::new("", "g"), Some(1)), region(10, KeyRange::new("g", ""), None)];
        let shown = regions(&rows, 10);
        let lines: Vec<&str> = shown.lines().filter(|line| line.contains("3.00 MiB")).collect();
        assert_eq!(lines.len(), 2, "{shown}");
        for part in ["9", "(first)", "g", "1, 2 (down)", "6", "42"] {
            assert!(lines[0].contains(part), "{part} is missing in {shown}");
        }
        assert!(lines[1].contains("(last)") && lines[1].contains("none"), "{shown}");
    }

    #[test]
    fn what_is_left_out_is_said() {
        let rows: Vec<_> = (0..5).map(|id| region(id, KeyRange::all(), None)).collect();
        assert!(regions(&rows, 3).ends_with("… and 2 more: `regions` shows them all"));
        assert!(!regions(&rows, 5).contains('…'));
    }

    #[test]
    fn a_killed_store_has_a_row_too() {
        let running =
            RunningStoreRow { state: StoreState::Serving, regions: 16, leaders: 5, disk_bytes: 1 << 20, failure: None };
        let failed = RunningStoreRow { failure: Some("disk full".to_owned()), ..running.clone() };
        let row = |id, running| StoreRow {
            id: StoreId(id),
            address: format!("127.0.0.1:2016{id}"),
            status_address: format!("127.0.0.1:2018{id}"),
            running,
        };
        let shown = stores(&[row(1, Some(running)), row(2, None), row(3, Some(failed))]).to_string();
        for part in ["serving", "16", "killed", "failed: disk full", "http://127.0.0.1:20182"] {
            assert!(shown.contains(part), "{part} is missing in {shown}");
        }
    }
}
