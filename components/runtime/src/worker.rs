//! One runner with a bounded queue of tasks, for work that no poller may wait for.

use std::convert::Infallible;
use std::fmt;
use std::io;

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded, select_biased};
use observe::QueueMetrics;

use crate::spawn::{Joinable, Spawner};

/// Carries out tasks, one after another.
pub trait Runner: Send + 'static {
    /// What is to be done.
    type Task: Send + 'static;

    /// Does it. May block.
    fn run(&mut self, task: Self::Task);
}

/// Why a task was not accepted; gives it back.
#[derive(PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError<T> {
    /// The queue is at its bound.
    #[error("the worker has too many tasks; schedule this one again later")]
    Full(T),
    /// The worker is stopped.
    #[error("the worker is stopped; nothing that is scheduled is done any more")]
    Stopped(T),
}

impl<T> fmt::Debug for ScheduleError<T> {
    /// Names the reason only: few tasks can be printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Stopped(_) => "Stopped",
        })
    }
}

/// Gives tasks to a worker; clones feed the same one.
pub struct Scheduler<T> {
    tasks: Sender<T>,
    metrics: QueueMetrics,
}

impl<T> Clone for Scheduler<T> {
    fn clone(&self) -> Self {
        Self { tasks: self.tasks.clone(), metrics: self.metrics.clone() }
    }
}

impl<T> Scheduler<T> {
    /// Queues a task. Never blocks.
    ///
    /// # Errors
    /// The task comes back with the reason.
    pub fn schedule(&self, task: T) -> Result<(), ScheduleError<T>> {
        let scheduled = self.tasks.try_send(task);
        self.metrics.length.set(self.tasks.len() as i64);
        scheduled.map_err(|error| match error {
            TrySendError::Full(task) => {
                self.metrics.full.inc();
                ScheduleError::Full(task)
            }
            TrySendError::Disconnected(task) => ScheduleError::Stopped(task),
        })
    }
}

/// A runner with its queue, to be stepped by hand or given a thread. Dropping it drops the tasks that wait.
pub struct Worker<R: Runner> {
    runner: R,
    tasks: Receiver<R::Task>,
    metrics: QueueMetrics,
}

impl<R: Runner> Worker<R> {
    /// A worker for whom at most `capacity` tasks wait, and what feeds it.
    ///
    /// # Panics
    /// When the capacity is zero: no task could ever wait.
    pub fn new(runner: R, capacity: usize, metrics: QueueMetrics) -> (Self, Scheduler<R::Task>) {
        assert!(capacity > 0, "a worker without a queue does nothing");
        let (sender, tasks) = bounded(capacity);
        let scheduler = Scheduler { tasks: sender, metrics: metrics.clone() };
        (Self { runner, tasks, metrics }, scheduler)
    }

    /// Does the oldest task without waiting. False when there is none.
    pub fn run_one(&mut self) -> bool {
        match self.tasks.try_recv() {
            Ok(task) => {
                self.run(task);
                true
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => false,
        }
    }

    /// Gives the worker a thread of its own.
    ///
    /// # Errors
    /// The spawner's.
    pub fn start(mut self, name: &str, spawner: &dyn Spawner) -> io::Result<WorkerThread> {
        let (stop, stopped) = bounded(0);
        let thread = spawner.spawn(name, Box::new(move || self.run_until(&stopped)))?;
        Ok(WorkerThread { stop: Some(stop), thread: Some(thread) })
    }

    fn run_until(&mut self, stopped: &Receiver<Infallible>) {
        loop {
            select_biased! {
                // Nothing is ever sent: it is the sender's end that wakes us.
                recv(stopped) -> _ => return,
                recv(self.tasks) -> task => match task {
                    Ok(task) => self.run(task),
                    // Nobody can schedule anything any more.
                    Err(_) => return,
                },
            }
        }
    }

    fn run(&mut self, task: R::Task) {
        self.metrics.length.set(self.tasks.len() as i64);
        self.runner.run(task);
    }
}

impl<R: Runner> Drop for Worker<R> {
    fn drop(&mut self) {
        self.metrics.length.set(0);
    }
}

/// The thread of a worker. Dropping it stops the worker.
pub struct WorkerThread {
    stop: Option<Sender<Infallible>>,
    thread: Option<Box<dyn Joinable>>,
}

impl WorkerThread {
    /// Stops the worker after its present task, drops those that wait, and waits for the thread. False when the runner
    /// panicked. Must not be called by the runner: it would wait for itself.
    pub fn stop(mut self) -> bool {
        self.join()
    }

    fn join(&mut self) -> bool {
        self.stop = None;
        self.thread.take().is_none_or(Joinable::join)
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        self.join();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::spawn::ThreadSpawner;

    /// Writes down its tasks; tells of each and waits for leave to go on, when it was given channels for it.
    #[derive(Default)]
    struct Notes {
        seen: Vec<u32>,
        gate: Option<(Sender<u32>, Receiver<()>)>,
    }

    impl Runner for Notes {
        type Task = u32;

        fn run(&mut self, task: u32) {
            self.seen.push(task);
            if let Some((began, go_on)) = &self.gate {
                began.send(task).unwrap();
                go_on.recv().unwrap();
            }
        }
    }

    #[test]
    fn tasks_are_done_in_order_within_a_bound() {
        let metrics = QueueMetrics::unregistered();
        let (mut worker, scheduler) = Worker::new(Notes::default(), 2, metrics.clone());
        assert!(!worker.run_one());
        scheduler.schedule(1).unwrap();
        scheduler.clone().schedule(2).unwrap();
        assert_eq!(scheduler.schedule(3), Err(ScheduleError::Full(3)));
        assert_eq!((metrics.length.get(), metrics.full.get()), (2, 1));
        assert!(worker.run_one());
        assert_eq!(metrics.length.get(), 1);
        scheduler.schedule(4).unwrap();
        while worker.run_one() {}
        assert_eq!(worker.runner.seen, [1, 2, 4]);
        drop(worker);
        assert_eq!(scheduler.schedule(5), Err(ScheduleError::Stopped(5)));
    }

    #[test]
    fn a_stopped_worker_ends_its_task_and_drops_the_rest() {
        let (began, has_begun) = bounded(10);
        let (go_on, told) = bounded(10);
        let runner = Notes { gate: Some((began, told)), ..Notes::default() };
        let (worker, scheduler) = Worker::new(runner, 10, QueueMetrics::unregistered());
        let mut thread = worker.start("notes", &ThreadSpawner).unwrap();
        scheduler.schedule(1).unwrap();
        assert_eq!(has_begun.recv(), Ok(1));
        scheduler.schedule(2).unwrap();
        thread.stop = None;
        go_on.send(()).unwrap();
        assert!(thread.stop());
        assert!(has_begun.recv().is_err(), "the second task was never begun, and the runner is gone");
        assert_eq!(scheduler.schedule(3), Err(ScheduleError::Stopped(3)));
    }

    #[test]
    fn a_worker_ends_when_nobody_can_schedule() {
        let (worker, scheduler) = Worker::new(Notes::default(), 10, QueueMetrics::unregistered());
        let mut thread = worker.start("notes", &ThreadSpawner).unwrap();
        drop(scheduler);
        assert!(thread.thread.take().unwrap().join());
    }
}
