//! The table at the end.

use std::fmt;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::rounds::Spread;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Nothing is asked for; it explains another figure.
    None,
}

impl Goal {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
            Self::None => true,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {bound}"),
            Self::AtMost(bound) => write!(f, "≤ {bound}"),
            Self::None => Ok(()),
        }
    }
}

struct Row {
    id: &'static str,
    what: String,
    measured: String,
    target: String,
    spread: String,
}

/// Every figure that was measured, in order.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    failures: usize,
}

impl Report {
    /// Adds a figure of several rounds.
    pub fn add(&mut self, id: &'static str, what: impl Into<String>, figure: Spread, goal: Goal) {
        let digits = if figure.median >= 1000.0 { 0 } else { 2 };
        let missed = if goal.is_met(figure.median) { "" } else { " (missed)" };
        self.rows.push(Row {
            id,
            what: what.into(),
            measured: format!("{:.digits$}", figure.median),
            target: format!("{goal}{missed}"),
            spread: format!("{figure:.digits$}"),
        });
    }

    /// Notes that a target was not measured, and why.
    pub fn skipped(&mut self, id: &'static str, what: impl Into<String>, why: &str) {
        let measured = format!("skipped: {why}");
        self.rows.push(Row { id, what: what.into(), measured, target: String::new(), spread: String::new() });
    }

    /// Notes that a target could not be measured.
    pub fn failed(&mut self, id: &'static str, cause: &str) {
        self.failures += 1;
        let measured = format!("failed: {cause}");
        self.rows.push(Row { id, what: String::new(), measured, target: String::new(), spread: String::new() });
    }

    /// Whether a target could not be measured.
    pub fn has_failures(&self) -> bool {
        self.failures > 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header(["id", "what", "measured (median)", "target", "spread (min–max)"]);
        for row in &self.rows {
            let right = |text: &str| Cell::new(text).set_alignment(CellAlignment::Right);
            table.add_row([
                Cell::new(row.id),
                Cell::new(&row.what),
                right(&row.measured),
                right(&row.target),
                right(&row.spread),
            ]);
        }
        write!(f, "{table}")
    }
}
