//! Waiting for a while, without an asynchronous runtime: one thread beats while somebody waits, and wakes those whose
//! time has come. A store that somebody else drives has no such thread; its driver beats by [`Timers`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use futures::channel::oneshot;
use parking_lot::Mutex;
use runtime::clock::Clock;
use runtime::spawn::{Joinable, Spawner};
use store::StoreError;
use types::{Instant, StoreId};

/// How often the beat comes; waits are rounded up to it.
pub(crate) const BEAT: Duration = Duration::from_millis(5);

/// Who waits until when. Clones are the same pulse.
#[derive(Clone)]
pub(crate) struct Pulse {
    clock: Arc<dyn Clock>,
    waiting: Arc<Mutex<Waiting>>,
    /// Tells the thread that somebody waits; one word is enough. Without a thread the driver looks by itself.
    nudge: Option<Sender<()>>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    sleepers: BTreeMap<(Instant, u64), oneshot::Sender<()>>,
    closed: bool,
}

impl Pulse {
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Done at the first beat behind a moment; cancelled when the store is closed.
    pub(crate) fn sleep_until(&self, moment: Instant) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if !waiting.closed {
            waiting.next += 1;
            let place = (moment, waiting.next);
            waiting.sleepers.insert(place, sender);
            if let Some(nudge) = &self.nudge {
                // A word that waits already says the same.
                let _ = nudge.try_send(());
            }
        }
        receiver
    }

    /// Wakes everyone whose moment has come.
    fn beat(&self) {
        let now = self.clock.now();
        let mut waiting = self.waiting.lock();
        let later = waiting.sleepers.split_off(&(Instant(now.0 + 1), 0));
        let due = std::mem::replace(&mut waiting.sleepers, later);
        // Whoever has been answered meanwhile does not sleep any more.
        waiting.sleepers.retain(|_, sleeper| !sleeper.is_canceled());
        drop(waiting);
        for sleeper in due.into_values() {
            // Whoever does not wait any more needs no waking.
            let _ = sleeper.send(());
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.lock().sleepers.is_empty()
    }

    /// Cancels every sleep, the later ones too.
    fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        let cancelled = std::mem::take(&mut waiting.sleepers);
        drop(waiting);
        drop(cancelled);
    }
}

/// The waits of the operations of [attached](crate::Store::attach) stores, beaten by whoever drives them. Clones are the
/// same timers.
#[derive(Clone)]
pub struct Timers(Pulse);

impl Timers {
    /// Timers that go by `clock`. Nobody waits yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Pulse { clock, waiting: Arc::default(), nudge: None })
    }

    /// Wakes everyone whose moment has come.
    pub fn beat(&self) {
        self.0.beat();
    }

    /// The moment for which the next one waits; nothing when nobody waits.
    pub fn next(&self) -> Option<Instant> {
        self.0.waiting.lock().sleepers.first_key_value().map(|((moment, _), _)| *moment)
    }

    /// Done at the first beat that is so much later.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        let moment = self.0.sleep_until(self.0.now() + duration);
        // Cancelled when nobody beats any more.
        async move {
            let _ = moment.await;
        }
    }

    pub(crate) fn pulse(&self) -> Pulse {
        self.0.clone()
    }
}

/// The thread behind a [`Pulse`]; ends when it is dropped.
pub(crate) struct Beat {
    pulse: Pulse,
    stop: Option<Sender<()>>,
    thread: Option<Box<dyn Joinable>>,
}

impl Beat {
    pub(crate) fn start(spawner: &dyn Spawner, store: StoreId, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let (nudge, nudged) = bounded(1);
        let (stop, stopped) = bounded::<()>(0);
        let pulse = Pulse { clock, waiting: Arc::default(), nudge: Some(nudge) };
        let beating = pulse.clone();
        let run = move || beat_until(&beating, &stopped, &nudged);
        let thread = spawner.spawn(&format!("pulse-{store}"), Box::new(run)).map_err(StoreError::Thread)?;
        Ok(Self { pulse, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }
}

fn beat_until(pulse: &Pulse, stopped: &Receiver<()>, nudged: &Receiver<()>) {
    loop {
        let next_beat = if pulse.is_idle() { never() } else { crossbeam_channel::after(BEAT) };
        select! {
            recv(stopped) -> _ => return,
            recv(nudged) -> _ => {}
            recv(next_beat) -> _ => pulse.beat(),
        }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
        self.pulse.close();
    }
}
