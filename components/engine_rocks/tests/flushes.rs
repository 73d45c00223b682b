//! Flushes that several threads ask for at the same time, while others write.

#![allow(clippy::unwrap_used)]
#![expect(clippy::disallowed_methods, reason = "the threads are the test")]

mod common;

use std::sync::Arc;

use common::open_state;
use engine::{Family, StateBatch, StateEngine, WriterId};
use types::{ColumnFamily, Round};

const THREADS: u16 = 4;
const ROUNDS: u64 = 150;

/// What was written before a flush began can be read as durable when it returns (D4), whoever flushes beside it. A store
/// does so from two threads: for its watermark, and for its fences.
#[test]
fn a_flush_shows_what_was_written_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Arc::new(open_state(directory.path()));
    let late: Vec<u64> = std::thread::scope(|scope| {
        let flush = |number: u16| {
            let engine = Arc::clone(&engine);
            move || {
                let mut late = 0;
                for round in 1..=ROUNDS {
                    let mut batch = StateBatch::default();
                    batch.put(Family::User(ColumnFamily::Default), format!("key{number}-{round}"), vec![7; 100]);
                    batch.set_round(WriterId::Apply(number), Round(round));
                    engine.write(&batch).unwrap();
                    engine.flush().unwrap();
                    late += u64::from(engine.persisted_round(WriterId::Apply(number)).unwrap() < Round(round));
                }
                late
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|number| scope.spawn(flush(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(late, vec![0; usize::from(THREADS)]);
}
