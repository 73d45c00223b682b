//! A table that is shown again whenever it changes: in its place on a terminal, below the last one elsewhere.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

/// Takes a terminal's cursor one line up.
const CURSOR_UP: &str = "\x1b[1A";

/// Shows a text as it changes.
pub enum Watch {
    /// On a terminal.
    Place(ProgressBar),
    /// Elsewhere; with what was shown last.
    Lines(String),
}

impl Watch {
    /// Begins to show something.
    pub fn begin() -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines(String::new());
        }
        let style = ProgressStyle::with_template("{msg}").expect("the template is fixed and sound");
        Self::Place(ProgressBar::new_spinner().with_style(style))
    }

    /// Shows what it is now.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn show(&mut self, text: String) -> io::Result<()> {
        match self {
            Self::Place(place) => place.set_message(text),
            Self::Lines(last) if *last == text => {}
            Self::Lines(last) => {
                writeln!(io::stdout(), "{text}")?;
                *last = text;
            }
        }
        Ok(())
    }

    /// Leaves the screen to what follows, with what was shown last on it. `entered` says that somebody pressed Enter on the
    /// terminal, which left the place for the line below.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn end(self, entered: bool) -> io::Result<()> {
        if let Self::Place(place) = self {
            let last = place.message();
            if entered {
                write!(io::stderr(), "{CURSOR_UP}")?;
            }
            place.finish_and_clear();
            writeln!(io::stdout(), "{last}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_has_not_changed_is_not_said_again() {
        let mut watch = Watch::Lines(String::new());
        watch.show("one".to_owned()).unwrap();
        watch.show("one".to_owned()).unwrap();
        let Watch::Lines(last) = watch else { panic!("it goes on as it began") };
        assert_eq!(last, "one");
    }
}
