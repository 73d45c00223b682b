//! What the tests of this crate share: opening engines, and running a part of a test in a process of its own.

#![allow(clippy::unwrap_used)]
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use engine::{EngineError, Result};
use engine_rocks::{LogEngineConfig, RocksLogEngine, RocksStateEngine, StateEngineConfig};
use slog::{Discard, Logger, o};

/// Where a child finds its directory; its presence makes the process a child.
const DIRECTORY: &str = "ENGINE_ROCKS_CHILD_DIRECTORY";
/// What begins a line that a child reports.
const MARK: &str = "child: ";
/// What else a child is told.
const ARGUMENT: &str = "ENGINE_ROCKS_CHILD_ARGUMENT";

/// Small, so that flushes, compactions and new log files come about with little data.
pub fn small_log_config() -> LogEngineConfig {
    LogEngineConfig { memtable_bytes: 1 << 20, block_cache_bytes: 1 << 20, ..LogEngineConfig::default() }
}

/// Small, so that flushes and compactions come about with little data.
pub fn small_state_config() -> StateEngineConfig {
    StateEngineConfig { memtable_bytes: 1 << 20, block_cache_bytes: 1 << 20, ..StateEngineConfig::default() }
}

pub fn logger() -> Logger {
    Logger::root(Discard, o!())
}

pub fn try_open_log(path: &Path) -> Result<RocksLogEngine> {
    RocksLogEngine::open(path, &small_log_config(), logger())
}

pub fn open_log(path: &Path) -> RocksLogEngine {
    try_open_log(path).unwrap()
}

pub fn try_open_state(path: &Path) -> Result<RocksStateEngine> {
    RocksStateEngine::open(path, &small_state_config(), logger())
}

pub fn open_state(path: &Path) -> RocksStateEngine {
    try_open_state(path).unwrap()
}

/// In a child, what the parent told it: its directory and its argument.
pub fn child_part() -> Option<(std::path::PathBuf, String)> {
    let directory = std::env::var_os(DIRECTORY)?;
    Some((directory.into(), std::env::var(ARGUMENT).unwrap()))
}

/// Runs one test of this file in a process of its own, as a child: it finds [`child_part`].
pub fn spawn_child(test: &str, directory: &Path, argument: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(ARGUMENT, argument)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Tells the parent something. The line breaks keep it apart from what the test harness prints.
pub fn report(what: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{MARK}{what}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What a child reports, in order, until it ends.
pub fn reports(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.map_while(std::io::Result::ok).filter_map(|line| line.strip_prefix(MARK).map(str::to_owned))
}

/// Ends this process as a power switch would: nothing is flushed, closed or dropped.
pub fn die() -> ! {
    // SAFETY: neither call touches memory; the signal goes to this process alone.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    unreachable!("SIGKILL cannot be survived")
}

/// Whether the error says that the disk is full.
pub fn is_disk_full(error: &EngineError) -> bool {
    matches!(error, EngineError::DiskFull { .. })
}
