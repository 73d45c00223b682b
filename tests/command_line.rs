//! `raftyard server` and `raftyard coordinator` as a user runs them.

#![allow(clippy::unwrap_used)]

mod program;

use std::net::TcpListener;

use program::{Program, run};

#[test]
fn the_sample_configuration_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sample.toml");
    for command in ["server", "coordinator"] {
        let (status, sample) = run(&[command, "--print-sample-config"], "");
        assert_eq!(status, Some(0));
        assert!(sample.contains("[coordinator]") && sample.contains("pd-endpoints"), "{sample}");
        std::fs::write(&file, sample).unwrap();
        let checked = run(&[command, "--config", file.to_str().unwrap(), "--config-check"], "");
        assert_eq!(checked, (Some(0), "config check successful".to_owned()));
    }
}

#[test]
fn a_wrong_configuration_is_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("raftyard.toml");
    for (text, part) in [
        ("[server]\nadrr = \"a:1\"", "did you mean \"server.addr\"?"),
        ("[sevrer]\naddr = \"a:1\"", "did you mean \"server\"?"),
        ("[server]\naddr = \"a\"", "server.addr"),
        ("[log]\nlevel = \"loud\"", "log.level"),
        ("[server", "raftyard.toml"),
    ] {
        std::fs::write(&file, text).unwrap();
        let (status, said) = run(&["server", "-C", file.to_str().unwrap(), "--config-check"], "");
        assert_eq!(status, Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(part) && said.contains("(RY-"), "{part:?} is missing in {said}");
    }
    let (status, said) = run(&["server", "-C", "/does/not/exist.toml"], "");
    assert_eq!((status, said.lines().count()), (Some(2), 1), "{said}");
    assert_eq!(run(&["server", "--no-such-flag"], "").0, Some(2));
}

#[test]
fn an_address_in_use_is_told_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("log");
    for command in ["server", "coordinator"] {
        let arguments = [
            command,
            "--addr",
            &address,
            "--data-dir",
            data.path().to_str().unwrap(),
            "--log-file",
            log.to_str().unwrap(),
        ];
        let (status, said) = run(&arguments, "");
        assert_eq!(status, Some(1), "{said}");
        assert!(said.starts_with("raftyard: ") && said.contains(&address) && said.contains("(RY-SERVER-"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// The address in a line of the log that says that somebody serves.
fn address(line: &str) -> String {
    let (_, rest) = line.split_once("[address=").unwrap();
    rest.split(']').next().unwrap().to_owned()
}

#[test]
fn a_store_and_a_coordinator_find_each_other_and_stop_in_order() {
    let data = tempfile::tempdir().unwrap();
    let dir = |name: &str| data.path().join(name).to_str().unwrap().to_owned();
    let any = ["--addr", "127.0.0.1:0", "--status-addr", "127.0.0.1:0", "--log-level", "info"];
    let coordinator_dir = dir("coordinator");
    let own = ["coordinator", "--data-dir", &coordinator_dir, "--replicas", "1", "--split-keys", "g,p"];
    let mut coordinator = Program::start(&[&own[..], &any].concat(), "");
    let endpoint = address(&coordinator.wait_for("status_address="));
    let store_dir = dir("store");
    let own = ["server", "--data-dir", &store_dir, "--pd-endpoints", &endpoint, "--labels", "zone=a"];
    let mut store = Program::start(&[&own[..], &any].concat(), "");
    store.wait_for("\"store serves\"");
    store.terminate();
    let (status, said) = store.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("stopping: making the state engine durable") && said.contains("stopping: done"), "{said}");
    coordinator.terminate();
    let (status, said) = coordinator.end();
    assert_eq!(status.code(), Some(0), "{said}");
}
