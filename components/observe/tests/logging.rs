//! What stands in the log, down to the byte but for the time.
#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use observe::{LogConfig, LogError, LogFormat, Logging, SlowLog, parse_level, region_logger};
use slog::{Drain, Level, debug, error, info, o, warn};
use types::{PeerId, RegionId};

/// Collects what is written.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    /// The lines, with `T` for every time of the expected shape.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(hide_time).collect()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hide_time(line: &str) -> String {
    const SHAPE: &str = "0000/00/00 00:00:00.000 +00:00";
    let at = line.find(|c: char| c.is_ascii_digit()).unwrap();
    let (before, rest) = line.split_at(at);
    let (time, after) = rest.split_at(SHAPE.len());
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, SHAPE);
    format!("{before}T{after}")
}

fn log_with(config: LogConfig, log: impl FnOnce(&Logging)) -> Vec<String> {
    let sink = Sink::default();
    let logging = Logging::to_sink(&config, Box::new(sink.clone()));
    log(&logging);
    drop(logging);
    sink.lines()
}

#[test]
fn text_lines_follow_the_unified_format() {
    let line = line!() + 2;
    let lines = log_with(LogConfig::default(), |logging| {
        info!(logging.logger(), "became leader"; "term" => 5, "time" => "noon", "key with space" => "a=b", "empty" => "", "plain" => "x:1");
        let region = region_logger(&logging.logger().new(o!("store_id" => 3)), RegionId(7), PeerId(9));
        warn!(region, "two\nlines and \"quotes\""; "cause" => %"tab\there", "optional" => Some(1.5));
        error!(region, "bad byte \u{1} [brackets]");
    });
    assert_eq!(
        lines,
        [
            format!(
                r#"[T] [INFO] [logging.rs:{line}] ["became leader"] [term=5] [time=noon] ["key with space"="a=b"] [empty=""] [plain=x:1]"#
            ),
            format!(
                r#"[T] [WARN] [logging.rs:{}] ["two\nlines and \"quotes\""] [cause="tab\there"] [optional=1.5] [store_id=3] [region_id=7] [peer_id=9]"#,
                line + 2
            ),
            format!(
                r#"[T] [ERROR] [logging.rs:{}] ["bad byte \u0001 [brackets]"] [store_id=3] [region_id=7] [peer_id=9]"#,
                line + 3
            ),
        ]
    );
}

#[test]
fn json_lines_keep_numbers_apart_from_strings() {
    let line = line!() + 3;
    let config = LogConfig { format: LogFormat::Json, ..LogConfig::default() };
    let lines = log_with(config, |logging| {
        info!(logging.logger(), "a \"message\""; "n" => 5u64, "s" => "5", "yes" => true, "nan" => f64::NAN);
    });
    assert_eq!(
        lines,
        [format!(
            r#"{{"time":"T","level":"INFO","caller":"logging.rs:{line}","message":"a \"message\"","n":5,"s":"5","yes":true,"nan":"NaN"}}"#
        )]
    );
}

#[test]
fn the_level_changes_while_the_program_runs() {
    let lines = log_with(LogConfig { level: Level::Warning, ..LogConfig::default() }, |logging| {
        info!(logging.logger(), "hidden");
        assert!(!logging.logger().is_info_enabled());
        logging.level().set(Level::Debug);
        assert_eq!(logging.level().get(), Level::Debug);
        debug!(logging.logger(), "shown");
        logging.level().set(Level::Error);
        warn!(logging.logger(), "hidden again");
    });
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains(r#"[DEBUG]"#) && lines[0].contains(r#"["shown"]"#), "{lines:?}");
}

/// A sink that tells of every write, and whose first one waits until it is told to go on.
struct Stalled {
    sink: Sink,
    writing: SyncSender<()>,
    go_on: Receiver<()>,
    stalled: bool,
}

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writing.send(()).unwrap();
        if !std::mem::replace(&mut self.stalled, true) {
            self.go_on.recv().unwrap();
        }
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stalled_disk_blocks_nobody_and_lost_lines_are_counted() {
    const QUEUE: usize = 2;
    let (writing, is_writing) = sync_channel(20);
    let (go_on, told_to_go_on) = sync_channel(1);
    let sink = Sink::default();
    let stalled = Stalled { sink: sink.clone(), writing, go_on: told_to_go_on, stalled: false };
    let logging = Logging::to_sink(&LogConfig { queue: QUEUE, ..LogConfig::default() }, Box::new(stalled));
    info!(logging.logger(), "first");
    is_writing.recv().unwrap();
    for number in 0..10 {
        info!(logging.logger(), "more"; "number" => number);
    }
    go_on.send(()).unwrap();
    for _ in 0..QUEUE {
        is_writing.recv().unwrap();
    }
    assert_eq!(logging.lost_lines(), 8);
    info!(logging.logger(), "there is room again");
    drop(logging);
    let lines = sink.lines();
    assert_eq!(lines.len(), 1 + QUEUE + 2, "{lines:?}");
    assert!(lines[3].contains("log lines were lost") && lines[3].ends_with("[count=8]"), "{lines:?}");
    assert!(lines[4].contains("there is room again"), "{lines:?}");
}

#[test]
fn a_log_file_is_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raftyard.log");
    for message in ["first run", "second run"] {
        let logging = Logging::start(&LogConfig { file: Some(path.clone()), ..LogConfig::default() }).unwrap();
        info!(logging.logger(), "{}", message);
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("[\"first run\"]\n") && text.contains("[\"second run\"]\n"), "{text}");
    let missing = LogConfig { file: Some(dir.path().join("no/such/file")), ..LogConfig::default() };
    let error = Logging::start(&missing).err().unwrap();
    assert!(matches!(error, LogError::Open { .. }) && error.to_string().contains("no/such/file"));
}

#[test]
fn levels_have_the_names_that_users_write() {
    for (name, level) in [("FATAL", Level::Critical), ("warn", Level::Warning), ("Info", Level::Info)] {
        assert_eq!(parse_level(name).unwrap(), level);
    }
    assert_eq!(
        parse_level("verbose").unwrap_err().to_string(),
        r#"unknown log level "verbose"; use fatal, error, warn, info, debug or trace"#
    );
}

#[test]
fn only_what_exceeds_the_bound_is_slow() {
    let lines = log_with(LogConfig::default(), |logging| {
        let slow = SlowLog::new(logging.logger().clone(), Duration::from_millis(500));
        let fine = slow.check("sync log", Duration::from_millis(500), || -> slog::OwnedKV<()> {
            unreachable!("fields are made for slow operations only")
        });
        assert!(!fine);
        assert!(slow.check("sync log", Duration::from_millis(501), || o!("regions" => 17)));
    });
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].ends_with(r#"["slow operation"] [operation="sync log"] [took_ms=501] [bound_ms=500] [regions=17]"#),
        "{lines:?}"
    );
}
