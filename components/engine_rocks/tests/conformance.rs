//! Both engines under the suite that every engine must pass. What happens before a crash runs in a child process that
//! kills itself.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use common::{child_part, die, open_log, open_state, spawn_child};
use engine::conformance::{crash, log, random, state};
use tempfile::TempDir;

const LOG_CRASHES: &str = "log_engine_over_a_crash";
const STATE_CRASHES: &str = "state_engine_over_a_crash";

/// Where a state engine lies, and where the files for its ingest do: on the same disk.
fn state_directories(directory: &Path) -> (PathBuf, PathBuf) {
    let files = directory.join("files");
    std::fs::create_dir_all(&files).unwrap();
    (directory.join("state"), files)
}

/// Lets a child write and die.
fn crash(test: &str, directory: &Path, check: &str) {
    let output = spawn_child(test, directory, check).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{check}: the child ended otherwise: {said}");
}

#[test]
fn log_engine() {
    for check in log::CHECKS.iter().chain(random::LOG_CHECKS) {
        println!("log engine: {}", check.name);
        let directory = TempDir::new().unwrap();
        (check.run)(&open_log(directory.path()));
    }
}

#[test]
fn state_engine() {
    for check in state::CHECKS.iter().chain(random::STATE_CHECKS) {
        println!("state engine: {}", check.name);
        let directory = TempDir::new().unwrap();
        let (engine, files) = state_directories(directory.path());
        (check.run)(&open_state(&engine), &files);
    }
}

#[test]
fn log_engine_over_a_crash() {
    if let Some((directory, name)) = child_part() {
        let check = crash::LOG_CHECKS.iter().find(|check| check.name == name).unwrap();
        let engine = open_log(&directory);
        (check.before)(&engine);
        die();
    }
    for check in crash::LOG_CHECKS {
        println!("log engine, crash: {}", check.name);
        let directory = TempDir::new().unwrap();
        crash(LOG_CRASHES, directory.path(), check.name);
        (check.after)(&open_log(directory.path()));
    }
}

#[test]
fn state_engine_over_a_crash() {
    if let Some((directory, name)) = child_part() {
        let check = crash::STATE_CHECKS.iter().find(|check| check.name == name).unwrap();
        let (engine, files) = state_directories(&directory);
        let engine = open_state(&engine);
        (check.before)(&engine, &files);
        die();
    }
    for check in crash::STATE_CHECKS {
        println!("state engine, crash: {}", check.name);
        let directory = TempDir::new().unwrap();
        crash(STATE_CRASHES, directory.path(), check.name);
        (check.after)(&open_state(&state_directories(directory.path()).0));
    }
}
