//! What is shown: tables for people, JSON for machines.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use indicatif::BinaryBytes;
use serde_json::Value;

use super::keys::Notation;

/// How it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// As JSON instead of tables.
    pub json: bool,
    /// How keys are written in tables. In JSON they are hex.
    pub keys: Notation,
}

impl Output {
    /// Shows an answer: as it came, or as a table.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn show(self, answer: &Value, table: impl FnOnce() -> String) -> io::Result<()> {
        let text = if self.json { format!("{answer:#}") } else { table() };
        match writeln!(io::stdout(), "{text}") {
            // Whoever reads only the beginning, as `head` does, has what they wanted.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }
}

/// Where the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table without lines, so that other programs can take it apart; `empty` stands for one without rows.
pub fn table<const N: usize>(columns: [(&str, Side); N], rows: Vec<[String; N]>, empty: &str) -> String {
    if rows.is_empty() {
        return empty.to_owned();
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(columns.iter().map(|(name, _)| name.to_uppercase()));
    for (column, (_, side)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, 2));
        if side == Side::Right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.add_rows(rows);
    table.trim_fmt()
}

/// One thing, a line for each of its properties.
pub fn card(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = rows.iter().map(|(name, value)| format!("{name:<width$}  {value}").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// An amount of data.
pub fn bytes(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// A duration, as exact as people want it.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// Numbers with commas between them; a dash for none.
pub fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_lines() {
        let columns = [("store", Side::Right), ("state", Side::Left), ("size", Side::Right)];
        let row = |store: &str, state: &str, size| [store.to_owned(), state.to_owned(), bytes(size)];
        let shown = table(columns, vec![row("1", "Up", 0), row("12", "Offline", 5 << 20)], "no stores");
        let expected = "STORE  STATE        SIZE\n    1  Up            0 B\n   12  Offline  5.00 MiB";
        assert_eq!(shown, expected);
        assert_eq!(table(columns, vec![], "no stores"), "no stores");
    }

    #[test]
    fn a_card_has_its_values_in_one_column() {
        assert_eq!(card(&[("id", "1".to_owned()), ("state", "Up".to_owned())]), "id     1\nstate  Up");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let shown = [5, 65, 3_720, 90_000].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(shown, ["5 s", "1 min 5 s", "1 h 2 min", "1 d 1 h"]);
    }

    #[test]
    fn lists_are_never_empty() {
        assert_eq!(list(["1".to_owned(), "2".to_owned()]), "1, 2");
        assert_eq!(list([]), "-");
    }
}
