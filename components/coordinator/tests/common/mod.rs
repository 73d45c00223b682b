//! A machine over a journal that can fail in every way, crash and go on.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use coordinator::machine::{Effect, Input, LoadError, Machine, TaskNumber};
use coordinator::record::RecordWrite;
use coordinator::{
    Change, CoordinatorConfig, CoordinatorError, LayoutAnswer, Moment, Reply, Request, StoreDescription,
};
use types::{ClusterId, InstanceId, Instant, RegionId, RequestError, StoreId, Term};

/// How a write or a load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Applied,
    /// Refused by the leader, which goes on.
    Refused,
    /// Applied, but nobody is told.
    AppliedUnknown,
    /// Not applied, but nobody is told.
    LostUnknown,
    /// The state engine fails, where records are read. A write is refused.
    Broken,
}

#[derive(Debug)]
pub enum Task {
    Write(TaskNumber, Term, Vec<RecordWrite>),
    Load(TaskNumber),
}

pub type Outcomes<T> = Arc<Mutex<Vec<Result<T, CoordinatorError>>>>;

pub struct Bench {
    pub machine: Machine,
    pub config: CoordinatorConfig,
    pub durable: BTreeMap<Bytes, Bytes>,
    pub tasks: VecDeque<Task>,
    pub term: Term,
    pub leads: bool,
    pub at: Moment,
    pub writes: u64,
    pub failed: Option<CoordinatorError>,
    /// Orders that were no answer.
    pub orders: Vec<placement::RegionOrder>,
    /// Stores that were said to leave and not to get empty.
    pub stalled: Vec<(StoreId, placement::Drain)>,
}

pub fn config() -> CoordinatorConfig {
    let split_keys = vec![Bytes::from_static(b"h"), Bytes::from_static(b"q")];
    CoordinatorConfig { split_keys, ..CoordinatorConfig::new(ClusterId(7)) }
}

pub fn description(store: u64) -> StoreDescription {
    StoreDescription {
        id: StoreId(store),
        address: format!("127.0.0.1:{}", 20160 + store),
        version: "8.5.6".to_owned(),
        ..StoreDescription::default()
    }
}

impl Bench {
    /// A fresh coordinator that does not lead.
    pub fn fresh(config: CoordinatorConfig) -> Self {
        Self {
            machine: Machine::new(config.clone()).unwrap(),
            config,
            durable: BTreeMap::new(),
            tasks: VecDeque::new(),
            term: Term(5),
            leads: false,
            at: Moment { now: Instant(1), unix_ms: 1_700_000_000_000 },
            writes: 0,
            failed: None,
            orders: Vec::new(),
            stalled: Vec::new(),
        }
    }

    /// A fresh coordinator that serves.
    pub fn serving() -> Self {
        let mut bench = Self::fresh(config());
        bench.elect();
        bench.settle();
        bench
    }

    pub fn pass(&mut self, duration: Duration) {
        self.at.now = self.at.now + duration;
        self.at.unix_ms += duration.as_millis() as u64;
    }

    pub fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.machine.step(input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Answer(answer) => answer.deliver(),
                Effect::Order(order) => self.orders.push(order),
                Effect::Stalled { store, drain } => self.stalled.push((store, drain)),
                Effect::Write { task, term, writes } => self.tasks.push_back(Task::Write(task, term, writes)),
                Effect::Load { task } => self.tasks.push_back(Task::Load(task)),
                Effect::Serving { .. } | Effect::StoodDown | Effect::NotLoaded(_) => {}
                Effect::Failed(error) => self.failed = Some(error),
            }
        }
    }

    pub fn elect(&mut self) {
        self.term = Term(self.term.0 + 1);
        self.leads = true;
        self.step(Input::Elected { at: self.at, term: self.term });
    }

    pub fn depose(&mut self) {
        self.leads = false;
        self.step(Input::Deposed);
    }

    fn apply(&mut self, writes: Vec<RecordWrite>) {
        self.writes += 1;
        for write in writes {
            match write {
                RecordWrite::Put(key, value) => drop(self.durable.insert(key, value)),
                RecordWrite::Delete(key) => drop(self.durable.remove(&key)),
            }
        }
    }

    /// Ends the oldest write or load. A write of an older term is refused, whatever was wished for.
    pub fn finish(&mut self, end: End) {
        match self.tasks.pop_front() {
            None => {}
            Some(Task::Write(task, term, writes)) => {
                let region = RegionId(1000);
                let current = self.leads && term == self.term;
                let result = match end {
                    End::Refused | End::Broken => Err(RequestError::ServerIsBusy { reason: "a test" }),
                    _ if !current && end != End::AppliedUnknown => Err(RequestError::StaleCommand { region }),
                    End::LostUnknown => Err(RequestError::Undetermined { reason: "a test" }),
                    End::AppliedUnknown => {
                        self.apply(writes);
                        Err(RequestError::Undetermined { reason: "a test" })
                    }
                    End::Applied => {
                        self.apply(writes);
                        Ok(())
                    }
                };
                self.step(Input::Written { task, result });
            }
            Some(Task::Load(task)) => {
                let records = self.durable.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                let refused = Err(LoadError::Refused(RequestError::NotLeader { region: RegionId(1000), leader: None }));
                let result = match end {
                    End::Broken => Err(LoadError::Engine("a test".to_owned())),
                    End::Applied if self.leads => Ok(records),
                    _ => refused,
                };
                self.step(Input::Loaded { task, result });
            }
        }
    }

    /// Ends everything well.
    pub fn settle(&mut self) {
        while !self.tasks.is_empty() {
            self.finish(End::Applied);
        }
    }

    /// Loses the process. What was being written is applied, or not.
    pub fn crash(&mut self, applies: bool) {
        let tasks = std::mem::take(&mut self.tasks);
        for task in tasks {
            if let Task::Write(_, _, writes) = task
                && applies
            {
                self.apply(writes);
            }
        }
        self.leads = false;
        self.machine = Machine::new(self.config.clone()).unwrap();
    }

    pub fn request(&mut self, request: impl Into<Request>) {
        self.step(Input::Request { at: self.at, request: request.into() });
    }

    /// Asks, and ends everything well.
    pub fn ask<T: Send + 'static, R: Into<Request>>(
        &mut self,
        make: impl FnOnce(Reply<T>) -> R,
    ) -> Result<T, CoordinatorError> {
        let outcomes = Outcomes::default();
        self.request(make(reply(&outcomes)));
        self.settle();
        let mut outcomes = outcomes.lock().unwrap();
        assert_eq!(outcomes.len(), 1, "answered exactly once");
        outcomes.pop().unwrap()
    }

    pub fn put_store(&mut self, store: StoreDescription) -> Result<(), CoordinatorError> {
        self.ask(|reply| Change::PutStore { store: Box::new(store), reply })
    }

    pub fn get_layout(&mut self, store: u64, instance: u64) -> Result<LayoutAnswer, CoordinatorError> {
        let (store, instance) = (StoreId(store), InstanceId(instance));
        self.ask(|reply| Change::GetLayout { store, instance, reply })
    }

    pub fn confirm(&mut self, store: u64, instance: u64) -> Result<(), CoordinatorError> {
        let (store, instance) = (StoreId(store), InstanceId(instance));
        self.ask(|reply| Change::ConfirmBootstrap { store, instance, reply })
    }

    /// Three stores with instances 11, 12 and 13 that have their layout.
    pub fn lay_out(&mut self) {
        self.ask(|reply| Change::AllocateIds { count: 3, reply }).unwrap();
        for store in 1..=3 {
            self.put_store(description(store)).unwrap();
            self.get_layout(store, 10 + store).unwrap();
        }
        assert!(self.machine.view(self.at).unwrap().is_bootstrapped());
    }
}

pub fn reply<T: Send + 'static>(outcomes: &Outcomes<T>) -> Reply<T> {
    let outcomes = Arc::clone(outcomes);
    Reply::new(move |outcome| outcomes.lock().unwrap().push(outcome))
}
