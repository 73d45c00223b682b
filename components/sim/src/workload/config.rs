//! How many clients there are, and how they behave.

use std::time::Duration;

use bytes::Bytes;

/// What a workload is like.
#[derive(Clone, Debug)]
pub struct WorkloadConfig {
    /// How many clients there are.
    pub clients: u32,
    /// Where the regions end and the next ones begin, in order, so that every region has registers.
    pub split_keys: Vec<Bytes>,
    /// How many registers each region has.
    pub registers_per_region: u32,
    /// How long a client rests between two operations, on average.
    pub rest: Duration,
    /// How long a client waits for the answer to an operation.
    pub timeout: Duration,
    /// How long a client waits for the coordinator to say where a key is, before it guesses.
    pub route_timeout: Duration,
    /// The shortest and the longest window of the pauses between attempts.
    pub backoff: (Duration, Duration),
    /// Before one operation in so many a client forgets where regions are led, as one that has just started: then it finds
    /// a new leader while others still believe in the old one.
    pub forgets_one_in: u64,
    /// How long a client goes on with attempts that had no effect.
    pub give_up_after: Duration,
    /// One value in so many is some tens of kilobytes long; the others have up to a few hundred bytes.
    pub large_values_one_in: u64,
    /// How many operations a register may see before it is checked and another takes its place: what bounds a long run's
    /// memory.
    pub operations_per_register: usize,
    /// How many clients may be busy at once with a register whose values are deleted, which bounds the search for an order
    /// of its operations.
    pub users_per_deletable: usize,
}

impl Default for WorkloadConfig {
    fn default() -> Self {
        Self {
            clients: 16,
            split_keys: Vec::new(),
            registers_per_region: 16,
            rest: Duration::from_millis(10),
            timeout: Duration::from_secs(2),
            route_timeout: Duration::from_millis(500),
            backoff: (Duration::from_millis(4), Duration::from_millis(500)),
            forgets_one_in: 8,
            give_up_after: Duration::from_secs(15),
            large_values_one_in: 64,
            operations_per_register: 2000,
            users_per_deletable: 6,
        }
    }
}
