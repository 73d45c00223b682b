//! A node: a disk, a clock, and the process that runs on them, if one does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Coordinator, StoreJournal, home_region};
use engine::StoreIdent;
use engine::memory::MemDisk;
use observe::{CoordinatorMetrics, Registry, StoreMetrics};
use region::Role;
use runtime::clock::Clock;
use store::{Engines, Stepper, Store, StoreConfig, StoreError, Surroundings};
use types::seed::Seed;
use types::{InstanceId, Instant, RegionDescriptor, StoreId};

use crate::cell::{Cell, Life};
use crate::chance::Dice;
use crate::clock::Timepiece;
use crate::coordinating::{CoordinatorObserver, WatchedJournal};
use crate::orders::Silences;
use crate::session::Session;
use crate::splitting::{AskedIds, OpenQuestions};
use crate::streams::Streams;

/// The store that holds the coordinator's region. Its id is of a space of its own in production; here it must be told
/// from the others in a trace.
pub(crate) const HOME: StoreId = StoreId(100);

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Store,
    Coordinator,
}

/// When a poller has its next round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) is_planned: bool,
    pub(crate) free_at: Instant,
}

/// How far a store that starts has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinStep {
    Register,
    Layout,
    Confirm,
}

/// A process whose store is not open yet: it talks to the coordinator first.
pub(crate) struct Joining {
    pub(crate) life: Life,
    pub(crate) engines: Engines,
    pub(crate) ident: StoreIdent,
    pub(crate) step: JoinStep,
    pub(crate) attempt: u64,
    pub(crate) bootstrapped: bool,
}

/// A process at work.
pub(crate) struct Running {
    pub(crate) life: Life,
    pub(crate) ident: StoreIdent,
    pub(crate) stepper: Stepper,
    pub(crate) metrics: Arc<StoreMetrics>,
    pub(crate) raft: Vec<Turn>,
    pub(crate) apply: Vec<Turn>,
    pub(crate) writer: Turn,
    pub(crate) lifecycle: Turn,
    pub(crate) snapshots: Turn,
    pub(crate) streams: Streams,
    pub(crate) silences: Silences,
    /// What the store has asked the coordinator for, to split its regions by itself.
    pub(crate) questions: OpenQuestions,
    /// Connections to other stores, by the index of their node.
    pub(crate) sessions: BTreeMap<usize, Session>,
    /// Connections from other stores: which life of them opened the newest, and of which disk.
    pub(crate) accepted: BTreeMap<usize, (u64, InstanceId)>,
    pub(crate) coordinator: Option<Coordinator>,
    pub(crate) upkeeps: u64,
    /// When the guests are woken next, by the process's own clock.
    pub(crate) guests_at: Option<Instant>,
}

/// A node's process.
pub(crate) enum Process {
    /// None.
    Down,
    Joining(Box<Joining>),
    Running(Box<Running>),
}

/// Why a node does not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Its disk is damaged, and it refuses to open.
    Damaged,
    /// Its disk was emptied, and it came back under its old id: nobody listens to it.
    Wiped,
    /// It is thrown away.
    Scrapped,
}

/// One node.
pub(crate) struct Node {
    pub(crate) part: Part,
    pub(crate) store: StoreId,
    pub(crate) cell: Arc<Cell>,
    pub(crate) disk: MemDisk,
    pub(crate) time: Timepiece,
    pub(crate) process: Process,
    pub(crate) paused_until: Instant,
    /// Until when its apply pollers get no turn.
    pub(crate) apply_rests_until: Instant,
    pub(crate) loss: Option<Loss>,
    /// Whether it belongs to the cluster; a spare one does not yet.
    pub(crate) is_in_service: bool,
    /// Whether the coordinator has seen it off for good.
    pub(crate) has_left: bool,
    /// It is away, and nobody starts it.
    pub(crate) is_away: bool,
    /// A start is planned.
    pub(crate) is_starting: bool,
    /// What it set out to be before the coordinator had heard of it; on disk, beside the engines.
    pub(crate) intent: Option<StoreIdent>,
    /// The regions that it was born with, for the day when its disk is emptied.
    pub(crate) birth_regions: Vec<RegionDescriptor>,
    pub(crate) dice: Dice,
}

impl Node {
    pub(crate) fn life(&self) -> Option<&Life> {
        match &self.process {
            Process::Down => None,
            Process::Joining(joining) => Some(&joining.life),
            Process::Running(running) => Some(&running.life),
        }
    }

    pub(crate) fn running(&self) -> Option<&Running> {
        match &self.process {
            Process::Running(running) => Some(running),
            _ => None,
        }
    }

    pub(crate) fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.process {
            Process::Running(running) => Some(running),
            _ => None,
        }
    }

    /// Whether it must run when all is well.
    pub(crate) fn is_expected(&self) -> bool {
        self.loss.is_none() && self.is_in_service
    }

    pub(crate) fn is_down(&self) -> bool {
        matches!(self.process, Process::Down)
    }

    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        now < self.paused_until
    }

    /// Lets the node's clocks show this moment.
    pub(crate) fn show(&self, now: Instant) {
        self.cell.clock.show(self.time.local(now));
        self.cell.wall_clock.show(self.time.unix_ms(now));
    }

    /// A disk's new life. Never zero.
    pub(crate) fn draw_instance(&mut self) -> InstanceId {
        InstanceId(self.dice.number().max(1))
    }

    /// Opens the store, or the coordinator with the store that holds its region.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn open(
        &mut self,
        engines: Engines,
        life: &Life,
        ident: StoreIdent,
        mut config: StoreConfig,
        coordinator: Option<coordinator::CoordinatorConfig>,
    ) -> Result<Running, StoreError> {
        config.region.seed = Seed(self.dice.number());
        let clock: Arc<dyn Clock> = Arc::new(self.cell.clock.clone());
        let registry = Registry::new();
        let metrics = Arc::new(StoreMetrics::new(&registry, self.store));
        let observer = Arc::new(CoordinatorObserver { leadership: coordinator::Leadership::new(), life: life.clone() });
        let mut around = Surroundings {
            outbox: Arc::new(life.clone()),
            carrier: Arc::new(life.clone()),
            observer: Arc::new(life.clone()),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            logger: observe::discard_logger(),
        };
        if self.part == Part::Coordinator {
            around.observer = observer.clone();
        }
        let store = Store::open(config, engines, around)?;
        let coordinator = coordinator.map(|config| {
            let journal = StoreJournal::new(store.handle(), home_region(HOME).id).planting(config.planted);
            let journal = WatchedJournal { inner: journal, life: life.clone() };
            let around = coordinator::Surroundings {
                clock,
                wall_clock: Arc::new(self.cell.wall_clock.clone()),
                metrics: Arc::new(CoordinatorMetrics::new(&registry)),
                logger: observe::discard_logger(),
            };
            let coordinator = Coordinator::new(config, journal, around).expect("the configuration was checked");
            coordinator.send_orders_by(Arc::new(life.clone()));
            observer.leadership.attach(&coordinator);
            coordinator
        });
        if self.part == Part::Store {
            store.handle().attach_split_ids(Arc::new(AskedIds(life.clone())));
        }
        let stepper = store.into_stepper()?;
        Ok(Running {
            life: life.clone(),
            ident,
            raft: vec![Turn::default(); stepper.raft_pollers()],
            apply: vec![Turn::default(); stepper.apply_pollers()],
            writer: Turn::default(),
            lifecycle: Turn::default(),
            snapshots: Turn::default(),
            streams: Streams::default(),
            silences: Silences::default(),
            questions: OpenQuestions::default(),
            sessions: BTreeMap::new(),
            accepted: BTreeMap::new(),
            stepper,
            metrics,
            coordinator,
            upkeeps: 0,
            guests_at: None,
        })
    }
}

impl Running {
    /// The connection to another node.
    pub(crate) fn session(&mut self, to: usize) -> &mut Session {
        self.sessions.entry(to).or_insert_with(Session::new)
    }

    /// Whether it leads any region.
    pub(crate) fn leads(&self, region: types::RegionId) -> bool {
        self.stepper.handle().region(region).is_some_and(|view| view.role == Role::Leader)
    }
}

/// How long a poller's round takes by itself.
pub(crate) fn draw_cpu(dice: &mut Dice) -> Duration {
    dice.micros(5, 60)
}
