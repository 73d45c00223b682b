//! What the raft library says of itself.
//!
//! It tells each message of an election and five lines of each peer that starts, at a level that would drown what a store
//! with a thousand regions has to say. The region tells what counts in its own words, such as "role changed".

use slog::{Drain, Level, Logger, Never, OwnedKVList, Record, o};

/// A logger for the library: what is no warning is told only where everything is, at level `debug`.
pub(crate) fn library_logger(logger: &Logger) -> Logger {
    Logger::root(Quiet(logger.clone()), o!())
}

struct Quiet(Logger);

impl Drain for Quiet {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        if self.is_enabled(record.level()) { Drain::log(&self.0, record, values) } else { Ok(()) }
    }

    fn is_enabled(&self, level: Level) -> bool {
        (level.is_at_least(Level::Warning) || Drain::is_enabled(&self.0, Level::Debug))
            && Drain::is_enabled(&self.0, level)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is said at a level and above.
    struct Kept {
        least: Level,
        said: Arc<Mutex<Vec<String>>>,
    }

    impl Drain for Kept {
        type Ok = ();
        type Err = Never;

        fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
            if self.is_enabled(record.level()) {
                self.said.lock().unwrap().push(record.msg().to_string());
            }
            Ok(())
        }

        fn is_enabled(&self, level: Level) -> bool {
            level.is_at_least(self.least)
        }
    }

    fn said(least: Level) -> Vec<String> {
        let said = Arc::default();
        let logger = library_logger(&Logger::root(Kept { least, said: Arc::clone(&said) }, o!("region" => 1)));
        slog::debug!(logger, "a detail");
        slog::info!(logger, "a step");
        slog::warn!(logger, "a doubt");
        slog::error!(logger, "a fault");
        let said = said.lock().unwrap();
        said.clone()
    }

    #[test]
    fn the_library_is_heard_in_full_or_when_something_is_wrong() {
        assert_eq!(said(Level::Info), ["a doubt", "a fault"]);
        assert_eq!(said(Level::Debug), ["a detail", "a step", "a doubt", "a fault"]);
        assert_eq!(said(Level::Error), ["a fault"]);
    }
}
