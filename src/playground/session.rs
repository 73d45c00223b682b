//! Doing what is said at the prompt.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use client::{ClientConfig, ClientError, RawClient, ScanOptions};
use slog::{info, warn};
use store::StopProgress;
use tokio::time::timeout;
use types::{KeyRange, StoreId};

use super::cluster::{Cluster, Surroundings};
use super::console::{Console, Said};
use super::error::PlaygroundError;
use super::load::Load;
use super::moves::Removal;
use super::network::Sides;
use super::prompt::{self, PromptCommand, ScanRequest};
use super::watch::Watch;
use super::words::Readable;
use super::{ports, tables};

/// Regions that are shown without being asked for.
const REGIONS_AT_START: usize = 64;

/// Bytes of a value that a scan shows.
const SCAN_VALUE_BYTES: usize = 64;

/// How long regions get to elect their leaders before they are shown all the same.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is looked whether they have.
const ELECTION_LOOK: Duration = Duration::from_millis(20);

/// How often `watch` looks.
const WATCH_LOOK: Duration = Duration::from_millis(500);

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Continue,
    Quit,
}

/// A cluster, and somebody who plays with it.
pub struct Session {
    cluster: Cluster,
    client: RawClient,
    around: Surroundings,
    /// Stores whose failure was told.
    told_failures: BTreeSet<StoreId>,
}

impl Session {
    /// Waits until every region has a leader.
    ///
    /// # Errors
    /// When the process shall end meanwhile.
    pub fn begin(cluster: Cluster, around: Surroundings) -> Result<Self, PlaygroundError> {
        let pd = cluster.pd().clone();
        let config = ClientConfig { batch_commands: true, ..ClientConfig::default() };
        let client = around.runtime.block_on(async { RawClient::new(pd, config) });
        let session = Self { cluster, client, around, told_failures: BTreeSet::new() };
        session.around.runtime.block_on(session.around.interrupt.or(session.wait_led()))?;
        Ok(session)
    }

    /// Regions without a leader are shown as such when it takes them too long.
    async fn wait_led(&self) -> Result<(), PlaygroundError> {
        let led = async {
            let mut look = tokio::time::interval(ELECTION_LOOK);
            while !self.cluster.all_led() {
                look.tick().await;
            }
        };
        if timeout(ELECTION_TIMEOUT, led).await.is_err() {
            warn!(self.around.logger, "some regions have no leader yet");
        }
        Ok(())
    }

    /// Loads keys and reads them back.
    ///
    /// # Errors
    /// When a request fails, a key is not as it was written, or the process shall end meanwhile.
    pub fn load(&self, load: Load) -> Result<(), PlaygroundError> {
        self.around.runtime.block_on(self.around.interrupt.or(load.run(&self.client, &self.around.logger)))
    }

    /// Shows where everything is and how it is.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn show(&self) -> io::Result<()> {
        let (address, status) = self.cluster.coordinator_addresses();
        let stores = self.cluster.stores();
        let mut out = io::stdout();
        writeln!(out, "{}", tables::stores(&stores))?;
        writeln!(out, "{}", tables::regions(&self.cluster.regions(), REGIONS_AT_START))?;
        writeln!(out, "coordinator: {address} (clients connect here), status http://{status}")?;
        let addresses = stores.iter().flat_map(|store| [store.address.as_str(), &store.status_address]);
        let addresses: Vec<&str> = addresses.chain([address, status]).collect();
        let taken = ports::in_use_by_others(stores.len(), &addresses);
        if !taken.is_empty() {
            writeln!(out, "in use by others, so that other ports were taken: {}", taken.join(", "))?;
        }
        Ok(())
    }

    /// Does what is said until there is nothing more to do.
    ///
    /// # Errors
    /// When the console cannot be used. That the process shall end is none.
    pub fn run(&mut self) -> Result<(), PlaygroundError> {
        let mut console = Console::open()?;
        loop {
            self.tell_failures()?;
            match console.next(&self.around.runtime, &self.around.interrupt) {
                Ok(Said::Line(line)) => match self.execute(&line, &mut console) {
                    Ok(Flow::Continue) => {}
                    Ok(Flow::Quit) | Err(PlaygroundError::Interrupted(_)) => return Ok(()),
                    Err(PlaygroundError::Terminal(error)) => return Err(error.into()),
                    Err(error) => writeln!(io::stdout(), "error: {error} ({})", error.code())?,
                },
                Ok(Said::Nothing) if console.is_terminal() => return Ok(()),
                Ok(Said::Nothing) => return self.serve(),
                Err(PlaygroundError::Interrupted(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Serves until the process shall end.
    fn serve(&self) -> Result<(), PlaygroundError> {
        writeln!(io::stdout(), "serving until SIGTERM")?;
        self.around.runtime.block_on(self.around.interrupt.wait());
        Ok(())
    }

    /// A store that failed says so once, before the next prompt.
    fn tell_failures(&mut self) -> io::Result<()> {
        for row in self.cluster.stores() {
            match row.running.and_then(|running| running.failure) {
                Some(reason) if self.told_failures.insert(row.id) => {
                    warn!(self.around.logger, "a store failed"; "store_id" => row.id.0, "reason" => &reason);
                    writeln!(io::stdout(), "store {} failed: {reason}", row.id)?;
                }
                Some(_) => {}
                None => {
                    self.told_failures.remove(&row.id);
                }
            }
        }
        Ok(())
    }

    fn execute(&mut self, line: &str, console: &mut Console) -> Result<Flow, PlaygroundError> {
        let Some(command) = prompt::parse(line)? else {
            return Ok(Flow::Continue);
        };
        info!(self.around.logger, "command"; "command" => ?command);
        let answer = match command {
            PromptCommand::Quit => return Ok(Flow::Quit),
            PromptCommand::Help => prompt::help(),
            PromptCommand::Stores => tables::stores(&self.cluster.stores()).to_string(),
            PromptCommand::Regions => tables::regions(&self.cluster.regions(), usize::MAX),
            PromptCommand::Kill { store } => self.kill(store.into())?,
            PromptCommand::Restart { store } => self.restart(store.into())?,
            PromptCommand::Transfer { region, store } => {
                self.cluster.transfer(region.into(), store.into())?;
                format!("region {region} is led by store {store}")
            }
            PromptCommand::Split { keys } => self.split(keys)?,
            PromptCommand::Move { region, from, to } => {
                self.cluster.move_peer(region.into(), from.into(), to.into())?;
                format!("region {region} has moved from store {from} to store {to}")
            }
            PromptCommand::AddStore => {
                let store = self.cluster.add()?;
                format!("store {store} has joined; `move` gives it regions")
            }
            PromptCommand::RemoveStore { store } => self.remove_store(store.into())?,
            PromptCommand::Partition { words } => self.partition(prompt::sides(&words)?)?,
            PromptCommand::Heal => {
                self.cluster.network().heal();
                "all stores reach each other".to_owned()
            }
            PromptCommand::Watch => {
                self.watch(console)?;
                return Ok(Flow::Continue);
            }
            PromptCommand::Put { key, value } => self.ask(self.client.put(key, value)).map(|()| "ok".to_owned())?,
            PromptCommand::Get { key } => match self.ask(self.client.get(key))? {
                Some(value) => Readable(&value).to_string(),
                None => "(there is no such key)".to_owned(),
            },
            PromptCommand::Delete { key } => self.ask(self.client.delete(key)).map(|()| "ok".to_owned())?,
            PromptCommand::Scan { words } => self.scan(ScanRequest::new(&words))?,
        };
        writeln!(io::stdout(), "{answer}")?;
        Ok(Flow::Continue)
    }

    fn kill(&mut self, store: StoreId) -> Result<String, PlaygroundError> {
        self.cluster.kill(store)?;
        Ok(format!("store {store} is dead; `restart {store}` brings it back"))
    }

    fn restart(&mut self, store: StoreId) -> Result<String, PlaygroundError> {
        self.cluster.restart(store)?;
        Ok(format!("store {store} is back"))
    }

    fn split(&self, keys: Vec<String>) -> Result<String, PlaygroundError> {
        let parts = self.cluster.split(keys.into_iter().map(Into::into).collect())?;
        Ok(tables::parts(&parts).to_string())
    }

    fn remove_store(&mut self, store: StoreId) -> Result<String, PlaygroundError> {
        let left = |regions| {
            // Nobody may be reading any more; that is no reason to stop half-way.
            let _ = writeln!(io::stdout(), "store {store} still holds {}", counted(regions));
        };
        Ok(match self.cluster.remove(store, left)? {
            Removal::Left => format!("store {store} is empty and gone"),
            Removal::Emptying(regions) => {
                format!("store {store} still holds {}; `remove-store {store}` waits again", counted(regions))
            }
        })
    }

    fn partition(&mut self, sides: Sides) -> Result<String, PlaygroundError> {
        for store in sides.0.iter().flatten() {
            self.cluster.member(*store)?;
        }
        let parted = async {
            self.cluster.network().part(sides).await;
            Ok::<_, PlaygroundError>(())
        };
        self.around.runtime.block_on(self.around.interrupt.or(parted))?;
        Ok("the network is cut; `heal` mends it".to_owned())
    }

    /// Shows the regions until Enter.
    fn watch(&mut self, console: &mut Console) -> Result<(), PlaygroundError> {
        let mut watch = Watch::begin();
        loop {
            watch.show(tables::regions(&self.cluster.regions(), REGIONS_AT_START))?;
            match console.entered(&self.around.runtime, &self.around.interrupt, WATCH_LOOK) {
                Ok(false) => {}
                ended => {
                    // What was typed to end it stands in the way of what is shown.
                    watch.end(ended.is_ok() && console.is_terminal())?;
                    return ended.map(drop);
                }
            }
        }
    }

    fn scan(&self, request: ScanRequest) -> Result<String, PlaygroundError> {
        let range = KeyRange::new(request.start, request.end);
        let pairs = self.ask(self.client.scan(range, request.limit, ScanOptions::default()))?;
        let lines = pairs.iter().map(|(key, value)| {
            let shown = Readable(&value[..value.len().min(SCAN_VALUE_BYTES)]);
            let rest =
                if value.len() > SCAN_VALUE_BYTES { format!("… ({} bytes)", value.len()) } else { String::new() };
            format!("{} = {shown}{rest}\n", Readable(key))
        });
        let lines: String = lines.collect();
        let keys = if pairs.len() == 1 { "key" } else { "keys" };
        Ok(format!("{lines}({} {keys})", pairs.len()))
    }

    fn ask<T>(&self, request: impl Future<Output = Result<T, ClientError>>) -> Result<T, PlaygroundError> {
        self.around.runtime.block_on(self.around.interrupt.or(request))
    }

    /// Stops everything in order.
    ///
    /// # Errors
    /// When a store cannot be stopped in order. Nothing that was acknowledged is lost by that.
    pub fn end(self) -> Result<(), PlaygroundError> {
        // Nobody may be reading any more; that is no reason to stop in disorder.
        let _ = writeln!(io::stdout(), "stopping");
        self.cluster.stop(|store, step| {
            if step == StopProgress::Stopped {
                let _ = writeln!(io::stdout(), "store {store} is stopped");
            }
        })
    }
}

fn counted(regions: u64) -> String {
    if regions == 1 { "1 region".to_owned() } else { format!("{regions} regions") }
}
