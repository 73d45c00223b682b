//! Writers: a closed loop with one request each in flight, or a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use runtime::spawn::{Spawner, ThreadSpawner};
use types::seed::Rng;

use super::cpu::CpuTime;
use super::options::Options;
use super::sample::{EngineUse, Sample};
use super::wait;
use crate::sides::{Completion, Done, Side, Write, key};

/// Threads that issue the writes of all writers and hear of their ends: as few as keep up, so that the sides and not the
/// writers are measured.
const THREADS: usize = 2;
/// Only a hang takes this long.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Values that writers choose from. They do not compress.
const VALUES: usize = 64;

/// What the writers do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many writers there are, each with one request in flight.
    pub writers: usize,
    /// Over how many regions their keys are spread, evenly and by chance.
    pub regions: usize,
    /// The size of a value.
    pub value_bytes: usize,
    /// Writes per second that all of them begin together; `None` for as soon as the one before has ended.
    pub rate: Option<f64>,
}

/// What those who write share with the one who measures.
#[derive(Default)]
pub struct Window {
    measuring: AtomicBool,
    /// Nobody begins another write.
    pub over: AtomicBool,
    writes: AtomicU64,
    failures: AtomicU64,
}

/// What was seen from outside while the window was open.
pub struct Measured {
    time: Duration,
    cpu: CpuTime,
    engines: EngineUse,
}

impl Window {
    /// Waits until everything is warm, opens the window for as long as it is asked for, and tells everyone to end.
    pub fn measure(
        &self,
        options: &Options,
        engine_use: impl Fn() -> EngineUse,
        cpu_time: impl Fn() -> CpuTime,
    ) -> Measured {
        wait::pause(options.warm_up);
        let (engines, cpu, began) = (engine_use(), cpu_time(), Instant::now());
        self.measuring.store(true, Ordering::SeqCst);
        wait::pause(options.measured);
        self.measuring.store(false, Ordering::SeqCst);
        let (time, cpu) = (began.elapsed(), cpu_time() - cpu);
        let engines = engine_use().since(engines);
        self.over.store(true, Ordering::SeqCst);
        Measured { time, cpu, engines }
    }

    /// Counts a write that has ended, if the window is open.
    pub fn count(&self, acknowledged: bool, began: Instant, latency: &mut Histogram<u64>) {
        if !self.measuring.load(Ordering::Relaxed) {
            return;
        }
        if acknowledged {
            self.writes.fetch_add(1, Ordering::Relaxed);
            latency.saturating_record((began.elapsed().as_micros() as u64).max(1));
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Measured {
    /// Everything about the turn.
    ///
    /// # Errors
    /// When nothing was acknowledged.
    pub fn sample(self, window: &Window, latency: Histogram<u64>) -> Result<Sample, String> {
        let (writes, failures) = (window.writes.load(Ordering::SeqCst), window.failures.load(Ordering::SeqCst));
        if writes == 0 {
            return Err(format!("no write was acknowledged, {failures} failed"));
        }
        let Self { time, cpu, engines } = self;
        Ok(Sample { writes, failures, time, latency, cpu, engines })
    }
}

/// What is written: keys spread over all regions, values that do not compress.
pub struct Keys {
    regions: usize,
    values: Vec<Bytes>,
    rng: Rng,
}

impl Keys {
    /// Keys that no other writer draws.
    pub fn new(load: Load, writer: usize) -> Self {
        let mut rng = Rng::new(writer as u64 + 1);
        let values = (0..VALUES).map(|_| {
            let words = (0..load.value_bytes.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes());
            Bytes::from_iter(words).slice(..load.value_bytes)
        });
        Self { regions: load.regions, values: values.collect(), rng }
    }

    /// The next write.
    pub fn next(&mut self) -> Write {
        let region = self.rng.below(self.regions as u64) as usize;
        let value = self.values[self.rng.below(VALUES as u64) as usize].clone();
        Write { region, key: key(region, self.rng.next_u64()), value }
    }
}

/// Puts the load on a side, and measures when it is warm.
///
/// # Errors
/// When a write does not end, or a thread cannot be had.
pub fn run(side: &Arc<dyn Side>, load: Load, options: &Options) -> Result<Sample, String> {
    let window = Arc::new(Window::default());
    let (sender, latencies) = channel();
    for thread in 0..THREADS {
        let mut writers = Writers::new(Arc::clone(side), load, Arc::clone(&window), thread);
        let sender = sender.clone();
        let work = move || {
            let outcome = writers.run();
            // Whoever measures has given up only when another thread failed.
            let _ = sender.send(outcome.map(|()| writers.latency));
        };
        let spawned = ThreadSpawner.spawn(&format!("writers-{thread}"), Box::new(work));
        drop(spawned.map_err(|error| format!("a thread for writers: {error}"))?);
    }
    drop(sender);

    let measured = window.measure(options, || side.engine_use(), CpuTime::now);
    let mut latency = new_histogram();
    let mut ended = 0;
    for outcome in latencies {
        latency.add(outcome?).map_err(|error| error.to_string())?;
        ended += 1;
    }
    if ended < THREADS {
        return Err("a thread of the writers panicked".to_owned());
    }
    measured.sample(&window, latency)
}

/// A histogram of microseconds.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, PATIENCE.as_micros() as u64, 3).expect("the bounds are in order")
}

/// A share of the writers, on one thread.
struct Writers {
    side: Arc<dyn Side>,
    load: Load,
    window: Arc<Window>,
    /// When each writer's request began.
    began: Vec<Instant>,
    idle: Vec<usize>,
    sender: Sender<Completion>,
    completions: Receiver<Completion>,
    keys: Keys,
    latency: Histogram<u64>,
}

impl Writers {
    fn new(side: Arc<dyn Side>, load: Load, window: Arc<Window>, thread: usize) -> Self {
        let share = (thread..load.writers).step_by(THREADS).count();
        let (sender, completions) = channel();
        Self {
            side,
            load,
            window,
            began: vec![Instant::now(); share],
            idle: (0..share).collect(),
            sender,
            completions,
            keys: Keys::new(load, thread),
            latency: new_histogram(),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        match self.load.rate {
            None => self.closed_loop()?,
            Some(rate) => self.steadily(rate / THREADS as f64)?,
        }
        while self.idle.len() < self.began.len() {
            let completion = self.completions.recv_timeout(PATIENCE).map_err(hung)?;
            self.idle.push(completion.slot);
        }
        Ok(())
    }

    fn closed_loop(&mut self) -> Result<(), String> {
        while !self.window.over.load(Ordering::Relaxed) {
            while let Some(slot) = self.idle.pop() {
                self.begin(slot, Instant::now());
            }
            let first = self.completions.recv_timeout(PATIENCE).map_err(hung)?;
            self.finish(first);
            while let Ok(completion) = self.completions.try_recv() {
                self.finish(completion);
            }
        }
        Ok(())
    }

    /// A write's latency counts from the moment at which it was due, whether or not a writer was idle then: a side that
    /// stalls is charged for all that it held up.
    fn steadily(&mut self, rate: f64) -> Result<(), String> {
        let gap = Duration::from_secs_f64(1.0 / rate);
        let mut due = Instant::now();
        while !self.window.over.load(Ordering::Relaxed) {
            while due <= Instant::now()
                && let Some(slot) = self.idle.pop()
            {
                self.begin(slot, due);
                due += gap;
            }
            let patience = if self.idle.is_empty() { PATIENCE } else { due.saturating_duration_since(Instant::now()) };
            match self.completions.recv_timeout(patience) {
                Ok(completion) => self.finish(completion),
                Err(RecvTimeoutError::Timeout) if !self.idle.is_empty() => {}
                Err(error) => return Err(hung(error)),
            }
        }
        Ok(())
    }

    fn begin(&mut self, slot: usize, moment: Instant) {
        self.began[slot] = moment;
        let write = self.keys.next();
        self.side.write(write, Done { slot, sender: self.sender.clone() });
    }

    fn finish(&mut self, completion: Completion) {
        self.idle.push(completion.slot);
        self.window.count(completion.acknowledged, self.began[completion.slot], &mut self.latency);
    }
}

fn hung(error: RecvTimeoutError) -> String {
    format!("a write did not end within {} s: {error}", PATIENCE.as_secs())
}
