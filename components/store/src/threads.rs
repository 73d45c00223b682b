//! Running a store on threads: pollers, the log writer, the ticker, upkeep and the split checker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, unbounded};
use region::{RegionStatus, Role};
use runtime::pool::Pool;
use runtime::spawn::{Joinable, Spawner};
use slog::{info, warn};
use types::{PeerId, RegionId, Responder, StoreId};

use crate::apply_poller::ApplyActor;
use crate::drive::{Store, apply_handler, guarded, tick};
use crate::error::StoreError;
use crate::handle::{RegionView, StoreHandle, StoreState};
use crate::lifecycle::LifecycleWorker;
use crate::log_writer::{LogWriter, QUEUED_ROUNDS, RoundWriter};
use crate::raft_poller::{RaftActor, RaftHandler};
use crate::shared::Shared;
use crate::snapshots::SnapshotWorker;
use crate::split::checker::SplitChecker;
use crate::upkeep::Upkeep;

/// How long a stopping store waits before it looks again whether everything is executed.
const DRAIN_PAUSE: Duration = Duration::from_millis(5);

/// How far a graceful stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopProgress {
    /// Handing leaders over: so many are left.
    Leaders(usize),
    /// Executing what is committed.
    Draining,
    /// Making the state engine durable, so that the next start has nothing to replay.
    Flushing,
    /// Done.
    Stopped,
}

/// A store that runs on threads of its own. Stop it with [`stop`](Self::stop); dropping it stops it as a crash would,
/// which loses nothing that was acknowledged.
pub struct RunningStore {
    shared: Arc<Shared>,
    raft: Option<Pool<RaftActor>>,
    apply: Option<Pool<ApplyActor>>,
    /// Dropping it ends the threads that wait between two looks.
    stop: Option<Sender<()>>,
    others: Vec<Box<dyn Joinable>>,
}

impl Store {
    /// Starts the store's threads.
    ///
    /// # Errors
    /// When a thread cannot be started, or the state engine fails.
    pub fn start(self, spawner: &dyn Spawner) -> Result<RunningStore, StoreError> {
        let shared = self.into_shared();
        let store = shared.ident.store;
        let (stop, stopped) = bounded(0);
        let mut others = Vec::new();
        let (log_queue, rounds) = bounded(QUEUED_ROUNDS);
        if shared.config.log_writer_thread {
            let writer = RoundWriter::new(Arc::clone(&shared), rounds);
            others.push(spawn(spawner, &format!("log-writer-{store}"), move || writer.run())?);
        }
        let raft_handlers = (0..shared.config.raft_pollers.max(1)).map(|_| {
            let writer = if shared.config.log_writer_thread {
                LogWriter::Queued(log_queue.clone())
            } else {
                LogWriter::Inline(Arc::clone(&shared))
            };
            RaftHandler::new(Arc::clone(&shared), writer)
        });
        let raft = Pool::start(&shared.raft, raft_handlers, spawner).map_err(StoreError::Thread)?;
        drop(log_queue);
        let apply_handlers: Result<Vec<_>, _> =
            (0..shared.config.apply_pollers.max(1)).map(|number| apply_handler(&shared, number as u16)).collect();
        let apply = Pool::start(&shared.apply, apply_handlers?, spawner).map_err(StoreError::Thread)?;
        others.push(spawn_periodic(spawner, format!("tick-{store}"), shared.config.tick, stopped.clone(), {
            let shared = Arc::clone(&shared);
            move || tick(&shared)
        })?);
        others.push(spawn(spawner, &format!("lifecycle-{store}"), {
            let (worker, stopped) = (LifecycleWorker::new(Arc::clone(&shared))?, stopped.clone());
            move || run_lifecycle(worker, &stopped)
        })?);
        others.push(spawn(spawner, &format!("snapshot-{store}"), {
            let (worker, stopped) = (SnapshotWorker::new(Arc::clone(&shared)), stopped.clone());
            let discarded = shared.snapshots.discards.take_over();
            move || run_snapshots(worker, &discarded, &stopped)
        })?);
        let mut upkeep = Upkeep::new();
        others.push(spawn_periodic(
            spawner,
            format!("upkeep-{store}"),
            shared.config.upkeep_interval,
            stopped.clone(),
            {
                let shared = Arc::clone(&shared);
                move || {
                    if shared.is_running()
                        && let Err(error) = upkeep.run(&shared, shared.around.clock.now())
                    {
                        shared.fail(error);
                    }
                }
            },
        )?);
        let mut split_checker = SplitChecker::new();
        others.push(spawn_periodic(spawner, format!("split-{store}"), shared.config.split.check_interval, stopped, {
            let shared = Arc::clone(&shared);
            move || {
                if shared.is_running()
                    && let Err(error) = split_checker.run(&shared, shared.around.clock.now())
                {
                    shared.fail(error);
                }
            }
        })?);
        Ok(RunningStore { shared, raft: Some(raft), apply: Some(apply), stop: Some(stop), others })
    }
}

/// How long the lifecycle waits at most before it looks again at what is blocked.
const LIFECYCLE_PAUSE: Duration = Duration::from_millis(10);

/// Works through the lifecycle's queue until the other end of `stopped` is dropped.
fn run_lifecycle(mut worker: LifecycleWorker, stopped: &Receiver<()>) {
    let shared = Arc::clone(worker.shared());
    loop {
        if !shared.is_running() || !guarded(&shared, || worker.step()) {
            let pause = if worker.has_work() { after(LIFECYCLE_PAUSE) } else { never() };
            select! {
                recv(stopped) -> _ => return,
                recv(shared.lifecycle.queue()) -> task => {
                    if let Ok(task) = task && shared.is_running() {
                        guarded(&shared, || worker.take(task).map(|()| true));
                    }
                }
                recv(pause) -> _ => {}
            }
        } else if stopped.try_recv().is_err_and(|error| error.is_disconnected()) {
            return;
        }
    }
}

/// How long orders for snapshots wait, while as many as may be are on their way, before it is looked whether one has ended.
const PERMIT_PAUSE: Duration = Duration::from_millis(100);

/// Builds snapshots, hashes regions and removes what is discarded until the other end of `stopped` is dropped.
fn run_snapshots(mut worker: SnapshotWorker, discarded: &Receiver<Box<dyn Send>>, stopped: &Receiver<()>) {
    let shared = Arc::clone(worker.shared());
    loop {
        discarded.try_iter().for_each(drop);
        if !shared.is_running() || !guarded(&shared, || worker.step()) {
            let orders = || shared.snapshots.outgoing.queue().clone();
            let (orders, pause) = if worker.may_build() { (orders(), never()) } else { (never(), after(PERMIT_PAUSE)) };
            select! {
                recv(stopped) -> _ => return,
                recv(pause) -> _ => {}
                recv(discarded) -> what => drop(what),
                recv(orders) -> order => {
                    if let Ok(order) = order && shared.is_running() {
                        // The one that it takes the place of may be among them, with the permit for this member.
                        discarded.try_iter().for_each(drop);
                        worker.begin(order);
                    }
                }
                recv(shared.hashes.queue()) -> order => {
                    if let Ok(order) = order && shared.is_running() {
                        guarded(&shared, || worker.hash(order).map(|()| true));
                    }
                }
            }
        } else if stopped.try_recv().is_err_and(|error| error.is_disconnected()) {
            return;
        }
    }
}

fn spawn(
    spawner: &dyn Spawner,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<Box<dyn Joinable>, StoreError> {
    spawner.spawn(name, Box::new(work)).map_err(StoreError::Thread)
}

/// Runs `work` each `interval` until the other end of `stopped` is dropped.
fn spawn_periodic(
    spawner: &dyn Spawner,
    name: String,
    interval: Duration,
    stopped: Receiver<()>,
    mut work: impl FnMut() + Send + 'static,
) -> Result<Box<dyn Joinable>, StoreError> {
    let run = move || {
        while stopped.recv_timeout(interval).is_err_and(|error| error.is_timeout()) {
            work();
        }
    };
    spawn(spawner, &name, run)
}

impl RunningStore {
    /// What everyone else sees of the store.
    pub fn handle(&self) -> StoreHandle {
        StoreHandle::new(Arc::clone(&self.shared))
    }

    /// Stops the store: hands its leaders over, executes what is committed, makes it durable. Takes
    /// `StoreConfig::stop_timeout` and one flush at most.
    ///
    /// # Errors
    /// When the last flush fails. Nothing acknowledged is lost by that.
    pub fn stop(mut self, progress: &mut dyn FnMut(StopProgress)) -> Result<(), StoreError> {
        if self.shared.is_running() {
            self.shared.status.set(StoreState::Stopping);
            self.hand_leaders_over(progress);
        }
        progress(StopProgress::Draining);
        self.drain();
        self.join_pollers();
        progress(StopProgress::Flushing);
        let failed = self.shared.status.get() == StoreState::Failed;
        let result = if failed { Ok(()) } else { self.shared.engines.state.flush().map_err(StoreError::from) };
        if !failed {
            self.shared.status.set(StoreState::Stopped);
        }
        progress(StopProgress::Stopped);
        info!(self.shared.around.logger, "store stopped"; "flushed" => !failed && result.is_ok());
        result
    }

    /// Asks each region that is led here to be led elsewhere, again and again until none is left or the time is over.
    fn hand_leaders_over(&self, progress: &mut dyn FnMut(StopProgress)) {
        let clock = &self.shared.around.clock;
        let deadline = clock.now() + self.shared.config.stop_timeout;
        loop {
            let leaders = self.movable_leaders();
            progress(StopProgress::Leaders(leaders.len()));
            let left = deadline.since(clock.now());
            if leaders.is_empty() || left.is_zero() {
                return;
            }
            self.transfer_all(&leaders, left);
        }
    }

    /// The regions that are led here and have another member that could lead, with the best one.
    fn movable_leaders(&self) -> Vec<(RegionId, StoreId)> {
        let led = self.statuses(|view| view.role == Role::Leader);
        led.iter().filter_map(|status| Some((status.descriptor.id, best_heir(status)?))).collect()
    }

    /// Waits until what is committed now is executed and answered, or the time is over.
    fn drain(&self) {
        let clock = &self.shared.around.clock;
        let deadline = clock.now() + self.shared.config.stop_timeout;
        let targets: BTreeMap<_, _> =
            self.statuses(|_| true).into_iter().map(|status| (status.descriptor.id, status.committed)).collect();
        let behind = |status: &RegionStatus| {
            targets.get(&status.descriptor.id).is_some_and(|target| status.apply_state.applied < *target)
        };
        while self.shared.is_running() && clock.now() < deadline && self.statuses(|_| true).iter().any(behind) {
            // Nothing is ever sent: a pause that starts nothing and can be seen for what it is.
            let _ = never::<()>().recv_timeout(DRAIN_PAUSE);
        }
    }

    /// What the chosen regions look like, as soon as all of them have answered.
    fn statuses(&self, choose: impl Fn(&RegionView) -> bool) -> Vec<RegionStatus> {
        let handle = self.handle();
        let (sender, statuses) = unbounded();
        for view in handle.regions().into_iter().filter(choose) {
            let sender = sender.clone();
            let inspector = Responder::new(move |status: Option<RegionStatus>| {
                // The receiver waits for every sender to be gone.
                let _ = sender.send(status);
            });
            handle.inspect(view.descriptor.id, inspector);
        }
        drop(sender);
        statuses.iter().flatten().collect()
    }

    fn transfer_all(&self, leaders: &[(RegionId, StoreId)], limit: Duration) {
        let handle = self.handle();
        let (sender, answers) = unbounded();
        for (region, heir) in leaders {
            let sender = sender.clone();
            let responder = Responder::new(move |result| {
                // The receiver may have stopped waiting.
                let _ = sender.send(result);
            });
            handle.transfer_leader(*region, *heir, responder);
        }
        drop(sender);
        for _ in leaders {
            match answers.recv_timeout(limit) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    warn!(self.shared.around.logger, "a leader was not handed over"; "reason" => %error);
                }
                Err(_) => return,
            }
        }
    }

    /// Ends the raft pollers first: what they committed is then executed before the apply pollers end.
    fn join_pollers(&mut self) {
        self.stop = None;
        let pools = [self.raft.take().map(Pool::stop), self.apply.take().map(Pool::stop)];
        let others = self.others.drain(..).map(Joinable::join).filter(|ended_well| !ended_well).count();
        if others > 0 || pools.contains(&Some(false)) {
            warn!(self.shared.around.logger, "a thread of the store ended by a panic");
        }
    }
}

impl Drop for RunningStore {
    fn drop(&mut self) {
        if self.raft.is_some() {
            self.shared.status.set(StoreState::Stopped);
            self.join_pollers();
        }
    }
}

/// The member that answers and has most of the log; a learner cannot lead.
fn best_heir(status: &RegionStatus) -> Option<StoreId> {
    let own: PeerId = status.peer.id;
    let able = status
        .members
        .iter()
        .filter(|member| member.active && member.peer.id != own && member.peer.role == types::PeerRole::Voter);
    able.max_by_key(|member| member.matched).map(|member| member.peer.store_id)
}
