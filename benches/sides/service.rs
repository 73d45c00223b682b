//! Three stores and a coordinator as processes, and clients that put over the public protocol.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use client::{ClientConfig, PdClient, PdConfig, RawClient};
use tokio::runtime::Runtime;

use super::children::{Process, free_addresses};
use super::{first_key, key};
use crate::harness::clients::Client;
use crate::harness::sample::REPLICAS;
use crate::harness::wait;

/// Longest that the stores may take to lead every region.
const START: Duration = Duration::from_secs(60);

/// Three stores and a coordinator, each a process.
pub struct Service {
    processes: Vec<Process>,
    coordinator: String,
}

impl Service {
    /// Starts a fresh cluster in a directory; every region serves when this returns. Where leaders are is chance's.
    ///
    /// # Errors
    /// When a process does not start, or a region does not serve.
    pub fn start(directory: &Path, regions: usize, runtime: &Runtime) -> Result<Self, String> {
        let addresses = free_addresses(2 * (REPLICAS + 1))?;
        let (ports, status_ports) = addresses.split_at(REPLICAS + 1);
        let start = |at: usize, name: String, command: &str, flag: &str, value: &str| {
            let mut process = Command::new(env!("CARGO_BIN_EXE_raftyard"));
            process.arg(command).args(["--addr", &ports[at], "--status-addr", &status_ports[at]]);
            process.arg("--data-dir").arg(directory.join(&name)).args(["--log-level", "warn", flag, value]);
            Process::start(name, &mut process, directory)
        };
        let split_keys: Vec<_> =
            (1..regions).map(|region| String::from_utf8_lossy(&first_key(region)).into()).collect();
        let split_keys: Vec<String> = split_keys;
        let coordinator = ports[REPLICAS].clone();
        let mut processes =
            vec![start(REPLICAS, "coordinator".to_owned(), "coordinator", "--split-keys", &split_keys.join(","))?];
        for at in 0..REPLICAS {
            processes.push(start(at, format!("store-{at}"), "server", "--pd-endpoints", &coordinator)?);
        }
        let mut service = Self { processes, coordinator };
        service.await_service(regions, runtime)?;
        Ok(service)
    }

    fn await_service(&mut self, regions: usize, runtime: &Runtime) -> Result<(), String> {
        let (mut left, mut ended): (Vec<usize>, _) = ((0..regions).collect(), Ok(()));
        wait::until("every region to serve", START, || {
            ended = self.processes.iter_mut().try_for_each(Process::check);
            if ended.is_ok()
                && let Ok(client) = self.connect(1, runtime)
            {
                left.retain(|region| !runtime.block_on(client.put(key(*region, 0), Bytes::from("first write"))));
            }
            ended.is_err() || left.is_empty()
        })?;
        ended
    }

    /// The stores and the coordinator.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// A client with so many connections to each store.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub fn connect(&self, connections: usize, runtime: &Runtime) -> Result<ServiceClient, String> {
        let endpoint = PdConfig::new([self.coordinator.clone()]);
        let pd = runtime.block_on(PdClient::connect(endpoint, observe::discard_logger()));
        let config =
            ClientConfig { connections_per_store: connections, batch_commands: true, ..ClientConfig::default() };
        let _in_runtime = runtime.enter();
        Ok(ServiceClient { client: RawClient::new(pd.map_err(|error| error.to_string())?, config) })
    }
}

/// Our own client, with a `BatchCommands` stream on each connection.
#[derive(Clone)]
pub struct ServiceClient {
    client: RawClient,
}

impl Client for ServiceClient {
    async fn put(&self, key: Bytes, value: Bytes) -> bool {
        self.client.put(key, value).await.is_ok()
    }
}
