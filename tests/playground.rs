//! The playground as a user runs it: the real binary, with a load and with commands from a pipe.

#![allow(clippy::unwrap_used)]

mod program;

use std::path::Path;

use program::{Program, answer, run};

#[test]
fn a_load_is_read_back_and_the_end_is_a_success() {
    let (status, said) = run(&["playground", "--load", "2000", "--exit"], "");
    assert_eq!(status, Some(0), "{said}");
    for part in
        ["writing: 2000 of 2000 keys", "wrote 2000 keys", "read back 2000 keys", "serving", "store 3 is stopped"]
    {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }
    let data = said.lines().find_map(|line| line.strip_prefix("data in ")?.split(',').next()).unwrap();
    assert!(!Path::new(data).exists(), "{data} was left behind");
}

#[test]
fn stores_die_and_come_back_while_keys_are_written_and_read() {
    let commands = [
        "put fruit apple",
        "get fruit",
        "kill 2",
        "kill 2",
        "stores",
        "put fruit pear",
        "get fruit",
        "put \"two words\" -1",
        "restart 2",
        "restart 2",
        "kill 9",
        "get  fruit",
        "scan f 5",
        "delete fruit",
        "get   fruit",
        "sotres",
        "",
        "regions",
        "quit",
    ];
    let (status, said) = run(&["playground", "--regions", "4"], &commands.join("\n"));
    assert_eq!(status, Some(0), "{said}");
    for (command, expected) in [
        ("put fruit apple", "ok"),
        ("get fruit", "apple"),
        ("put fruit pear", "ok"),
        ("put \"two words\" -1", "ok"),
        ("restart 2", "store 2 is back"),
        ("get  fruit", "pear"),
        ("scan f 5", "fruit = pear\ntwo words = -1\n(2 keys)"),
        ("delete fruit", "ok"),
        ("get   fruit", "(there is no such key)"),
    ] {
        assert_eq!(answer(&said, command), expected, "{command}:\n{said}");
    }
    assert!(answer(&said, "sotres").contains("did you mean \"stores\"?"), "{said}");
    assert!(answer(&said, "kill 9").contains("the stores are 1, 2, 3"), "{said}");
    let rows = answer(&said, "stores");
    let row = rows.lines().find(|line| line.contains("killed")).unwrap();
    assert!(row.starts_with("│     2 ┆"), "{rows}");
    assert!(said.contains("store 2 is not running") && said.contains("store 2 is running"), "{said}");
    assert_eq!(answer(&said, "regions").matches(", ").count(), 4 * 2, "four regions of three peers:\n{said}");
}

#[test]
fn a_region_gets_the_leader_that_it_is_given() {
    // The first region of a cluster with three stores has the fourth id.
    let commands = "transfer 4 1\ntransfer 4 3\nregions\ntransfer 4 9\ntransfer 5 1\nquit\n";
    let (status, said) = run(&["playground", "--regions", "1"], commands);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(answer(&said, "transfer 4 1"), "region 4 is led by store 1", "{said}");
    assert_eq!(answer(&said, "transfer 4 3"), "region 4 is led by store 3", "{said}");
    let rows = answer(&said, "regions");
    assert!(rows.lines().any(|line| line.starts_with("│      4 ┆ (first) ┆ (last) ┆      3 ┆")), "{rows}");
    assert!(answer(&said, "transfer 4 9").starts_with("error: there is no store 9"), "{said}");
    assert!(answer(&said, "transfer 5 1").starts_with("error: there is no region 5"), "{said}");
}

#[test]
fn a_data_directory_is_taken_up_again() {
    let data = tempfile::tempdir().unwrap();
    let arguments = ["playground", "--regions", "4", "--data-dir", data.path().to_str().unwrap()];
    let (status, said) = run(&arguments, "put fruit apple\nkill 1\nput colour green\nquit\n");
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = run(&arguments, "get fruit\nget colour\nstores\nquit\n");
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(
        (answer(&said, "get fruit").as_str(), answer(&said, "get colour").as_str()),
        ("apple", "green"),
        "{said}"
    );
    assert!(data.path().join("playground.log").is_file());
}

#[test]
fn commands_from_a_pipe_are_followed_by_service_until_sigterm() {
    let mut playground = Program::start(&["playground", "--stores", "1", "--regions", "1"], "put fruit apple\n");
    playground.wait_for("serving until SIGTERM");
    playground.terminate();
    let (status, said) = playground.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("ok") && said.contains("store 1 is stopped"), "{said}");
}

/// The rows of a table that have this in one of their cells.
fn rows<'a>(table: &'a str, cell: &str) -> Vec<&'a str> {
    let cells = |row: &str| row.split(['│', '┆']).any(|found| found.trim() == cell);
    table.lines().filter(|row| cells(row)).collect()
}

#[test]
fn regions_are_split_and_moved_while_stores_come_and_go() {
    // Ids are given out one after the other: three stores, a region with three peers, another one of the split, a store.
    let commands = [
        "put apple green",
        "put pear yellow",
        "split m",
        "regions",
        "add-store",
        "move 4 1 12",
        " regions",
        "remove-store 2",
        "  regions",
        "stores",
        "get apple",
        "get pear",
        "remove-store 3",
        "move 4 1 9",
        "quit",
    ];
    let (status, said) = run(&["playground", "--regions", "1"], &commands.join("\n"));
    assert_eq!(status, Some(0), "{said}");
    let parts = answer(&said, "split m");
    assert_eq!((rows(&parts, "8").len(), rows(&parts, "4").len(), rows(&parts, "m").len()), (1, 1, 2), "{said}");
    assert_eq!(rows(&answer(&said, "regions"), "1, 2, 3").len(), 2, "{said}");
    assert_eq!(answer(&said, "add-store"), "store 12 has joined; `move` gives it regions", "{said}");
    assert_eq!(answer(&said, "move 4 1 12"), "region 4 has moved from store 1 to store 12", "{said}");
    assert_eq!(rows(&answer(&said, " regions"), "2, 3, 12").len(), 1, "{said}");
    assert!(answer(&said, "remove-store 2").ends_with("store 2 is empty and gone"), "{said}");
    assert_eq!(rows(&answer(&said, "  regions"), "1, 3, 12").len(), 2, "{said}");
    assert_eq!(rows(&answer(&said, "stores"), "serving").len(), 3, "{said}");
    assert_eq!(
        (answer(&said, "get apple").as_str(), answer(&said, "get pear").as_str()),
        ("green", "yellow"),
        "{said}"
    );
    assert!(answer(&said, "remove-store 3").starts_with("error: "), "three replicas need three stores:\n{said}");
    assert!(answer(&said, "move 4 1 9").starts_with("error: "), "{said}");
}

#[test]
fn a_leader_that_is_cut_off_is_followed_by_another() {
    let commands = [
        "transfer 4 1",
        "partition 1|2 3",
        "put fruit apple",
        "regions",
        "watch",
        "",
        "partition 1|2|3",
        "partition 1|9",
        "partition one|2",
        "heal",
        "get fruit",
        "quit",
    ];
    let (status, said) = run(&["playground", "--regions", "1"], &commands.join("\n"));
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(answer(&said, "partition 1|2 3"), "the network is cut; `heal` mends it", "{said}");
    assert_eq!(answer(&said, "put fruit apple"), "ok", "{said}");
    let leader = rows(&answer(&said, "regions"), "4").first().map(|row| cell(row, 3)).unwrap();
    assert!(["2", "3"].contains(&leader.as_str()), "store {leader} leads:\n{said}");
    assert_eq!(rows(&answer(&said, "watch"), "1, 2, 3").len(), 1, "{said}");
    assert!(answer(&said, "partition 1|9").contains("there is no store 9"), "{said}");
    assert!(answer(&said, "partition one|2").contains("\"one\" is no side"), "{said}");
    assert_eq!(answer(&said, "heal"), "all stores reach each other", "{said}");
    assert_eq!(answer(&said, "get fruit"), "apple", "{said}");
}

/// A cell of a row; the first is 0.
fn cell(row: &str, place: usize) -> String {
    row.split(['│', '┆']).nth(place + 1).unwrap_or_default().trim().to_owned()
}
