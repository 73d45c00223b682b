//! How far a long piece of work is: a bar on a terminal, else a line now and then.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// Lines for one piece of work when there is no terminal.
const LINES: u64 = 10;

/// Shows how far a piece of work is.
pub enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// Elsewhere.
    Lines(ProgressLines),
}

impl Progress {
    /// Begins a piece of work of `total` keys; `doing` says what is done with them.
    pub fn begin(doing: &'static str, total: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines(ProgressLines { doing, total, told: 0 });
        }
        let template = "{msg:>8} [{bar:40}] {human_pos}/{human_len} keys, {rate} keys/s, {eta} left";
        let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
            // A rate that cannot be written is left out.
            let _ = write!(out, "{:.0}", state.per_sec());
        };
        let style = ProgressStyle::with_template(template).expect("the template is fixed and sound");
        let style = style.with_key("rate", rate).progress_chars("=> ");
        let bar = ProgressBar::new(total).with_style(style).with_message(doing);
        Self::Bar(bar)
    }

    /// Shows that `done` keys are done.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn update(&mut self, done: u64) -> io::Result<()> {
        match self {
            Self::Bar(bar) => bar.set_position(done),
            Self::Lines(lines) => {
                if let Some(line) = lines.line(done) {
                    writeln!(io::stdout(), "{line}")?;
                }
            }
        }
        Ok(())
    }

    /// Leaves the screen to what follows.
    pub fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Says now and then how far it is.
pub struct ProgressLines {
    doing: &'static str,
    total: u64,
    /// Tenths that were told.
    told: u64,
}

impl ProgressLines {
    /// What there is to say now that `done` keys are done.
    fn line(&mut self, done: u64) -> Option<String> {
        let part = (u128::from(done) * u128::from(LINES)).checked_div(u128::from(self.total))? as u64;
        if part <= self.told {
            return None;
        }
        self.told = part;
        Some(format!("{}: {done} of {} keys", self.doing, self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_said_for_each_tenth() {
        let mut lines = ProgressLines { doing: "writing", total: 1000, told: 0 };
        assert_eq!(lines.line(99), None);
        assert_eq!(lines.line(120).as_deref(), Some("writing: 120 of 1000 keys"));
        assert_eq!(lines.line(199), None);
        assert!(lines.line(1000).is_some());
        assert_eq!(lines.line(1000), None);
        assert_eq!(ProgressLines { doing: "writing", total: 0, told: 0 }.line(0), None);
    }
}
