//! What simulated clients ask of stores and of the coordinator.

use bytes::Bytes;
use coordinator::Timestamp;
use proto::log::Command;
use types::{
    ColumnFamily, CommandOutput, Instant, KeyRange, Peer, RegionDescriptor, RequestError, RequestHeader, StoreId,
};

/// One of the simulated clients; they are counted from zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u32);

/// Tells a client's calls apart; unique in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// What is asked of a region's leader.
#[derive(Clone, Debug)]
pub enum RegionCall {
    /// Apply a command.
    Write(Command),
    /// Read the value of a key.
    Get {
        /// Where to look.
        family: ColumnFamily,
        /// The key.
        key: Bytes,
    },
    /// Read the pairs of a range in order; what lies outside of the region is left out.
    Scan {
        /// Where to look.
        family: ColumnFamily,
        /// Which keys.
        range: KeyRange,
        /// The most pairs to return.
        limit: usize,
    },
}

/// What a region's leader answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegionReply {
    /// A command was applied.
    Written(CommandOutput),
    /// A key's value, if it has one.
    Value(Option<Bytes>),
    /// Pairs in order, and the region's range at that moment.
    Pairs(Vec<Pair>, KeyRange),
}

/// A call on its way over the simulated network.
#[derive(Clone, Debug)]
pub enum Call {
    /// To a store, about one of its regions.
    Region {
        /// The store.
        to: StoreId,
        /// What the client knows of the region.
        header: RequestHeader,
        /// What it wants.
        call: RegionCall,
    },
    /// To the coordinator: which region holds a key, and who leads it.
    Route {
        /// The key.
        key: Bytes,
    },
    /// To the coordinator: timestamps.
    Timestamps {
        /// How many.
        count: u32,
    },
    /// To the coordinator: ids.
    Ids {
        /// How many.
        count: u32,
    },
}

/// What the coordinator knows of a key's region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The region.
    pub region: RegionDescriptor,
    /// Its leader, where it is known.
    pub leader: Option<Peer>,
}

/// The answer to a [`Call`]. A call that is lost has none: its client stops waiting by itself.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Of a region's leader, or of a store that refuses.
    Region(Result<RegionReply, RequestError>),
    /// Where a key lives.
    Route(Option<Route>),
    /// The largest of a batch of timestamps.
    Timestamps(Timestamp),
    /// The largest of a batch of ids.
    Ids(u64),
    /// The coordinator refuses, in its own words.
    Refused(String),
}

/// How a client reaches the cluster, and the clock that it goes by.
pub trait Wires {
    /// Sends a call. Its reply comes later, or never.
    ///
    /// What happens to it is the network's affair. It is answered once at most: a connection does not repeat requests.
    fn call(&mut self, id: CallId, call: Call);

    /// Asks for a wake-up at a moment, or as soon after it as can be. Earlier ones that were asked for may come too.
    fn wake_at(&mut self, client: ClientId, at: Instant);
}
