//! Processes that die at a fail point, in the middle of what must be whole after a restart, with RocksDB underneath.
//!
//! A fail point is a named place in the code (`fail_point!`); builds for users hold none. Each test runs a part of itself in
//! a process of its own that kills itself there, and looks at what a restart makes of the disk. The tests find the points
//! in the sources, so a new one among the old is died at without another word.
//!
//! Reading order: [`child`], then [`embedded`], [`joining`], [`coordinating`].

#![allow(missing_docs, clippy::unwrap_used)]

mod child;
mod coordinating;
mod disk;
mod embedded;
mod joining;
#[path = "../support/ports.rs"]
mod ports;

#[test]
fn every_point_is_died_at() {
    let words = ["bootstrap", "cluster", "engines", "file", "format", "join", "log", "open", "role", "state", "upkeep"];
    let tested: std::collections::BTreeSet<_> = child::points(&words).into_iter().collect();
    assert_eq!(child::all_points(), tested, "a test must die at each of them");
}
