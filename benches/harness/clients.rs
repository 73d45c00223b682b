//! Clients of a network protocol: tasks with one request in flight each.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::runtime::Runtime;

use super::cpu::CpuTime;
use super::load::{Keys, Load, PATIENCE, Window, new_histogram};
use super::options::Options;
use super::sample::Sample;
use crate::sides::Write;
use crate::sides::children::Process;

/// Threads that all clients share. On the machine for planning the servers need the other cores.
const THREADS: usize = 2;

/// A client that writes over the network.
pub trait Client: Clone + Send + Sync + 'static {
    /// Writes a value; whether it was acknowledged.
    fn put(&self, key: Bytes, value: Bytes) -> impl Future<Output = bool> + Send;
}

/// What the clients run on.
///
/// # Errors
/// The operating system's, in words.
pub fn runtime() -> Result<Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(THREADS).thread_name("clients").enable_all();
    builder.build().map_err(|error| format!("a runtime for clients: {error}"))
}

/// Puts the load on a service, through each of the clients in turn, and measures when it is warm; the CPU time is that of
/// the service's processes and of this one.
///
/// # Errors
/// When a write does not end.
pub fn run<C: Client>(
    runtime: &Runtime,
    clients: &[C],
    processes: &[Process],
    load: Load,
    options: &Options,
) -> Result<Sample, String> {
    let window = Arc::new(Window::default());
    let writers: Vec<_> = (0..load.writers)
        .map(|number| {
            let client = clients[number % clients.len()].clone();
            runtime.spawn(write_until_over(client, Keys::new(load, number), Arc::clone(&window)))
        })
        .collect();
    let measured =
        window.measure(options, Default::default, || CpuTime::with_others(processes.iter().map(Process::for_what)));
    let latencies = runtime.block_on(async {
        let ended = tokio::time::timeout(PATIENCE, futures::future::join_all(writers)).await;
        ended.map_err(|_| format!("writes did not end within {} s", PATIENCE.as_secs()))
    })?;
    let mut latency = new_histogram();
    for histogram in latencies {
        let histogram = histogram.map_err(|error| format!("a client panicked: {error}"))?;
        latency.add(histogram).map_err(|error| error.to_string())?;
    }
    measured.sample(&window, latency)
}

async fn write_until_over<C: Client>(client: C, mut keys: Keys, window: Arc<Window>) -> Histogram<u64> {
    let mut latency = new_histogram();
    while !window.over.load(Ordering::Relaxed) {
        let Write { key, value, .. } = keys.next();
        let began = Instant::now();
        let acknowledged = client.put(key, value).await;
        window.count(acknowledged, began, &mut latency);
    }
    latency
}
