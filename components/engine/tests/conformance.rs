//! The engines in memory under the suite that every engine must pass.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use engine::conformance::{LogFixture, StateFixture, check_log, check_state};
use engine::memory::{CrashPoint, MemDisk};
use engine::{LogEngine, StateEngine};
use types::seed::Rng;

/// How a fixture's crashes are chosen.
#[derive(Clone, Copy)]
enum Crash {
    At(CrashPoint),
    Random(u64),
}

struct Fixture {
    disk: MemDisk,
    crash: Crash,
}

impl Fixture {
    fn boxed(crash: Crash) -> Box<Self> {
        Box::new(Self { disk: MemDisk::default(), crash })
    }

    fn crash(&self) {
        match self.crash {
            Crash::At(point) => self.disk.crash_at(point),
            Crash::Random(seed) => {
                self.disk.crash(&mut Rng::new(seed));
            }
        }
    }
}

impl LogFixture for Fixture {
    fn open(&mut self) -> Arc<dyn LogEngine> {
        Arc::new(self.disk.open_log().unwrap())
    }

    fn crash(&mut self) {
        Self::crash(self);
    }
}

impl StateFixture for Fixture {
    fn open(&mut self) -> Arc<dyn StateEngine> {
        Arc::new(self.disk.open_state().unwrap())
    }

    fn crash(&mut self) {
        Self::crash(self);
    }

    fn files(&self) -> PathBuf {
        PathBuf::from("files")
    }
}

fn crashes() -> impl Iterator<Item = Crash> {
    let torn = CrashPoint { torn_tail: true, ..CrashPoint::OLDEST };
    let chosen = [CrashPoint::OLDEST, CrashPoint::NEWEST, torn].map(Crash::At);
    chosen.into_iter().chain((0..20).map(Crash::Random))
}

#[test]
fn log_engine() {
    crashes().for_each(|crash| check_log(|| Fixture::boxed(crash)));
}

#[test]
fn state_engine() {
    crashes().for_each(|crash| check_state(|| Fixture::boxed(crash)));
}
