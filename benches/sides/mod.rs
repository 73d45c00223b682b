//! Who is measured: stores that replicate, and the same work done by hand.

pub mod children;
pub mod cluster;
pub mod disks;
pub mod etcd;
pub mod probed;
pub mod raw;
pub mod service;

use std::sync::mpsc::Sender;

use bytes::Bytes;

use crate::harness::sample::EngineUse;

/// A write that a writer wants done.
#[derive(Clone, Debug)]
pub struct Write {
    /// The region that holds the key, counted from zero.
    pub region: usize,
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

/// How a write ended.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// Which of the writers it belongs to.
    pub slot: usize,
    /// Whether it was acknowledged.
    pub acknowledged: bool,
}

/// Whom to tell that a write has ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// Which of the writers waits for it.
    pub slot: usize,
    /// Where the writers listen.
    pub sender: Sender<Completion>,
}

impl Done {
    /// Tells the writer.
    pub fn tell(&self, acknowledged: bool) {
        // A turn that has failed does not listen any more.
        let _ = self.sender.send(Completion { slot: self.slot, acknowledged });
    }
}

/// Something that takes writes and makes them durable.
pub trait Side: Send + Sync + 'static {
    /// Begins a write; never waits for its end.
    fn write(&self, write: Write, done: Done);

    /// What the engines behind it have done since they were opened.
    fn engine_use(&self) -> EngineUse {
        EngineUse::default()
    }
}

/// The key of a region: its number first, so that regions are ranges.
pub fn key(region: usize, number: u64) -> Bytes {
    Bytes::from(format!("{region:05}{:011x}", number & 0xfff_ffff_ffff))
}

/// The first key of a region.
pub fn first_key(region: usize) -> Bytes {
    Bytes::from(format!("{region:05}"))
}
