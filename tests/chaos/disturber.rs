//! Carries out the steps of a plan.

use std::collections::BTreeMap;

use tokio::time::{Instant, sleep_until};

use crate::network::Network;
use crate::plan::{Fault, Party, Step, Turn};
use crate::support::process::Process;
use crate::support::{Cluster, ClusterShape};

/// A cluster in a network, and what is wrong with them just now.
pub struct Disturber {
    pub cluster: Cluster,
    network: Box<dyn Network>,
    /// How often each fault has begun and not ended.
    open: BTreeMap<Fault, u32>,
    /// How many of them cut what one party sends to another.
    cuts: BTreeMap<(Party, Party), u32>,
}

impl Disturber {
    /// Starts a cluster in a network.
    pub async fn start(shape: ClusterShape, mut network: Box<dyn Network>) -> Self {
        let place =
            |process, store: Option<usize>| network.place(store.map_or(Party::Coordinator, Party::Store), process);
        let cluster = Cluster::start_placed(shape, place).await;
        Self { cluster, network, open: BTreeMap::new(), cuts: BTreeMap::new() }
    }

    /// Carries out all steps, each at its time. Nothing is wrong any more when it returns, but nobody has had time to
    /// recover.
    ///
    /// # Panics
    /// When a process ends by itself.
    pub async fn disturb(&mut self, steps: &[Step]) {
        let begin = Instant::now();
        for step in steps {
            sleep_until(begin + step.at).await;
            self.assert_nobody_gave_up();
            match step.turn {
                Turn::Begin => self.begin(step.fault),
                Turn::End => self.end(step.fault),
            }
        }
        self.assert_nobody_gave_up();
    }

    fn begin(&mut self, fault: Fault) {
        let open = self.open.entry(fault).or_default();
        *open += 1;
        if *open == 1 {
            self.set(fault, true);
        }
    }

    fn end(&mut self, fault: Fault) {
        let open = self.open.get_mut(&fault).expect("a fault ends after it began");
        *open -= 1;
        if *open == 0 {
            self.open.remove(&fault);
            self.set(fault, false);
        }
    }

    fn set(&mut self, fault: Fault, is_on: bool) {
        match fault {
            Fault::Kill(_) | Fault::KillAllStores if is_on => self.kill(fault),
            Fault::Kill(_) | Fault::KillAllStores => self.start_again(fault),
            Fault::Pause(party) => self.set_paused(party, is_on),
            Fault::Cut { from, to } => self.set_cut(from, to, is_on),
            Fault::Part(store) => self.set_parted(store, is_on),
            Fault::Isolate(party) => self.network.set_isolated(party, is_on),
            Fault::Slow(party) => self.network.set_slow(party, is_on),
            Fault::Reset(party) => {
                self.network.reset(party);
                self.open.remove(&fault);
            }
        }
    }

    fn set_parted(&mut self, store: Party, is_on: bool) {
        let others = (0..self.cluster.stores.len()).map(Party::Store).filter(|other| *other != store);
        for other in others.collect::<Vec<_>>() {
            self.set_cut(store, other, is_on);
            self.set_cut(other, store, is_on);
        }
    }

    fn set_cut(&mut self, from: Party, to: Party, is_on: bool) {
        let cuts = self.cuts.entry((from, to)).or_default();
        let was_cut = *cuts > 0;
        *cuts = if is_on { *cuts + 1 } else { *cuts - 1 };
        if was_cut != (*cuts > 0) {
            self.network.set_cut(from, to, is_on);
        }
    }

    fn kill(&mut self, fault: Fault) {
        let concerned = self.concerned(fault);
        // One right after the other: nobody has time to notice the death of the one before.
        for party in concerned {
            let process = self.process(party);
            if process.is_running() {
                process.kill();
            }
        }
    }

    /// Starts whom no other fault keeps down. Nobody waits until it serves: the next fault may hit it while it recovers.
    fn start_again(&mut self, fault: Fault) {
        for party in self.concerned(fault) {
            let is_store = matches!(party, Party::Store(_));
            let stays_down = self.open.contains_key(&Fault::Kill(party))
                || (is_store && self.open.contains_key(&Fault::KillAllStores));
            if !stays_down {
                self.process(party).start();
            }
        }
    }

    /// Whom a fault of processes concerns.
    fn concerned(&self, fault: Fault) -> Vec<Party> {
        match fault {
            Fault::Kill(party) => vec![party],
            Fault::KillAllStores => (0..self.cluster.stores.len()).map(Party::Store).collect(),
            other => panic!("{other} is no fault of processes"),
        }
    }

    /// A process that is down, or was started again meanwhile, is not paused.
    fn set_paused(&mut self, party: Party, is_paused: bool) {
        let process = self.process(party);
        if process.is_running() {
            if is_paused { process.pause() } else { process.resume() }
        }
    }

    fn process(&mut self, party: Party) -> &mut Process {
        match party {
            Party::Store(place) => &mut self.cluster.stores[place],
            Party::Coordinator => &mut self.cluster.coordinator,
            Party::Clients => panic!("the clients are no process"),
        }
    }

    /// Whatever is done to a process, it goes on or is killed; it has no reason to stop by itself.
    fn assert_nobody_gave_up(&mut self) {
        let Cluster { stores, coordinator, .. } = &mut self.cluster;
        for process in stores.iter_mut().chain([coordinator]) {
            if let Some(ended) = process.ended() {
                panic!("{} ended by itself with {}:\n{}", process.name, ended.status, ended.log);
            }
        }
    }
}
