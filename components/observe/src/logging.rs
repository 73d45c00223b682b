//! Setting up a logger.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use slog::{BorrowedKV, Drain, Level, Logger, Never, OwnedKVList, Record, RecordStatic, SingleKV, b, o, record};
use slog_async::{AsyncCore, AsyncError, AsyncGuard};
use types::{PeerId, RegionId};

use crate::line::{TIME_KEY, write_line};
use crate::timestamp;

/// What a log line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// The unified log format of the TiDB ecosystem:
    /// `[2026/11/21 09:12:33.123 +00:00] [INFO] [file.rs:123] ["message"] [key=value]`.
    #[default]
    Text,
    /// An object with `time`, `level`, `caller`, `message`, and a member per field.
    Json,
}

/// How to log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The least level that is logged at first; see [`LevelControl`].
    pub level: Level,
    /// What a line looks like.
    pub format: LogFormat,
    /// The file to append to; standard error when there is none.
    pub file: Option<PathBuf>,
    /// Lines that wait for the writer. Those beyond are dropped and counted: logging never blocks a poller.
    pub queue: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: Level::Info, format: LogFormat::Text, file: None, queue: 16 << 10 }
    }
}

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be opened.
    #[error("cannot open log file {path}: {source}; name a file in a directory that exists and may be written")]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// There is no such level.
    #[error("unknown log level {given:?}; use fatal, error, warn, info, debug or trace")]
    UnknownLevel {
        /// What was asked for.
        given: String,
    },
}

/// A logger with its writer. Dropping it writes out what waits; loggers that outlive it log nothing any more.
pub struct Logging {
    logger: Logger,
    level: LevelControl,
    lost: Arc<AtomicU64>,
    _writer: AsyncGuard,
}

impl Logging {
    /// Logs to the configured file, or to standard error.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn start(config: &LogConfig) -> Result<Self, LogError> {
        let sink: Box<dyn Write + Send> = match &config.file {
            None => Box::new(io::stderr()),
            Some(path) => {
                let open = OpenOptions::new().create(true).append(true).open(path);
                Box::new(open.map_err(|source| LogError::Open { path: path.clone(), source })?)
            }
        };
        Ok(Self::to_sink(config, sink))
    }

    /// Logs to `sink`, one write per line. What it refuses is lost: there is nowhere left to say so.
    pub fn to_sink(config: &LogConfig, sink: Box<dyn Write + Send>) -> Self {
        let lines = Lines { format: config.format, state: RefCell::new((String::new(), sink)) };
        let (core, writer) = AsyncCore::custom(lines)
            .chan_size(config.queue)
            .blocking(false)
            .thread_name("log-writer".to_owned())
            .build_with_guard();
        let level = LevelControl(Arc::new(AtomicUsize::new(config.level.as_usize())));
        let lost = Arc::new(AtomicU64::new(0));
        let queue = Queue { inner: Stamp(core), unreported: AtomicU64::new(0), lost: Arc::clone(&lost) };
        let logger = Logger::root(Gate { level: level.clone(), inner: queue }.ignore_res(), o!());
        Self { logger, level, lost, _writer: writer }
    }

    /// The logger, from which others are derived.
    pub fn logger(&self) -> &Logger {
        &self.logger
    }

    /// What changes the level while the program runs.
    pub fn level(&self) -> &LevelControl {
        &self.level
    }

    /// How many lines found the queue full since the start. The log itself tells it as soon as there is room.
    pub fn lost_lines(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The least level that is logged; may be changed at any time. Clones change the same logger.
#[derive(Clone, Debug)]
pub struct LevelControl(Arc<AtomicUsize>);

impl LevelControl {
    /// Logs this level and those that are graver.
    pub fn set(&self, level: Level) {
        self.0.store(level.as_usize(), Ordering::Relaxed);
    }

    /// The least level that is logged.
    pub fn get(&self) -> Level {
        Level::from_usize(self.0.load(Ordering::Relaxed)).expect("only levels are stored")
    }

    fn allows(&self, level: Level) -> bool {
        level.as_usize() <= self.0.load(Ordering::Relaxed)
    }
}

/// The level of a name as it stands in configurations and in log lines, in any case.
///
/// # Errors
/// When there is no such level; the error names those that exist.
pub fn parse_level(name: &str) -> Result<Level, LogError> {
    match name.to_ascii_lowercase().as_str() {
        "fatal" | "critical" => Ok(Level::Critical),
        "error" => Ok(Level::Error),
        "warn" | "warning" => Ok(Level::Warning),
        "info" => Ok(Level::Info),
        "debug" => Ok(Level::Debug),
        "trace" => Ok(Level::Trace),
        _ => Err(LogError::UnknownLevel { given: name.to_owned() }),
    }
}

/// A logger that says nothing, for tests.
pub fn discard_logger() -> Logger {
    Logger::root(slog::Discard, o!())
}

/// A logger whose every line carries the region and the peer.
pub fn region_logger(parent: &Logger, region: RegionId, peer: PeerId) -> Logger {
    parent.new(o!("region_id" => region.0, "peer_id" => peer.0))
}

/// Lets through what the level allows, before anything is formatted.
struct Gate<D> {
    level: LevelControl,
    inner: D,
}

impl<D: Drain> Drain for Gate<D> {
    type Ok = Option<D::Ok>;
    type Err = D::Err;

    fn log(&self, record: &Record<'_>, context: &OwnedKVList) -> Result<Self::Ok, Self::Err> {
        if !self.level.allows(record.level()) {
            return Ok(None);
        }
        self.inner.log(record, context).map(Some)
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.level.allows(level) && self.inner.is_enabled(level)
    }
}

/// Hands records to the writer, and counts those for which there is no room. (slog-async's own counting counts a lost
/// line several times when it cannot report it at once.)
struct Queue {
    inner: Stamp<AsyncCore>,
    unreported: AtomicU64,
    lost: Arc<AtomicU64>,
}

impl Queue {
    fn report_lost(&self) {
        // The usual case costs a load rather than a write to a shared cache line.
        if self.unreported.load(Ordering::Relaxed) == 0 {
            return;
        }
        let count = self.unreported.swap(0, Ordering::Relaxed);
        let message = format_args!("log lines were lost because the writer is too slow");
        if self.inner.log(&record!(Level::Warning, "", &message, b!("count" => count)), &o!().into()).is_err() {
            self.unreported.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Drain for Queue {
    type Ok = ();
    type Err = AsyncError;

    fn log(&self, record: &Record<'_>, context: &OwnedKVList) -> Result<(), AsyncError> {
        self.report_lost();
        let queued = self.inner.log(record, context);
        if matches!(queued, Err(AsyncError::Full)) {
            self.unreported.fetch_add(1, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }
}

/// Adds the time at which a record is made: it may wait long for the writer when the disk stalls, which is just when
/// the times matter.
struct Stamp<D>(D);

impl<D: Drain> Drain for Stamp<D> {
    type Ok = D::Ok;
    type Err = D::Err;

    fn log(&self, record: &Record<'_>, context: &OwnedKVList) -> Result<Self::Ok, Self::Err> {
        let fields = (SingleKV::from((TIME_KEY, timestamp::now())), record.kv());
        let fixed = RecordStatic { location: record.location(), tag: record.tag(), level: record.level() };
        self.0.log(&Record::new(&fixed, record.msg(), BorrowedKV(&fields)), context)
    }
}

/// Writes lines; runs on the writer's thread alone.
struct Lines {
    format: LogFormat,
    state: RefCell<(String, Box<dyn Write + Send>)>,
}

impl Drain for Lines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, context: &OwnedKVList) -> Result<(), Never> {
        let (line, sink) = &mut *self.state.borrow_mut();
        line.clear();
        write_line(line, self.format, record, context);
        // One write per line: appends of several processes do not tear each other's lines.
        let _ = sink.write_all(line.as_bytes()).and_then(|()| sink.flush());
        Ok(())
    }
}
