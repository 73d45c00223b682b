//! What the system promises about order, bounds, closing and fairness, without a thread; then that no wake-up is lost.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use runtime::{Actor, Handler, Pool, SendError, System, SystemConfig, SystemMetrics, ThreadSpawner, Verdict};

/// Counts its living clones.
#[derive(Clone, Default)]
struct Alive(Arc<()>);

impl Alive {
    fn count(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

struct Recorder {
    id: u64,
    _alive: Alive,
}

enum Message {
    Note(u32),
    Hold { _alive: Alive },
    Close,
    Again,
    Panic,
}

impl Actor for Recorder {
    type Message = Message;
}

/// Writes down every round: the actors with their notes.
#[derive(Default)]
struct Journal {
    rounds: Vec<Vec<(u64, Vec<u32>)>>,
    verdicts: Vec<(u64, Verdict)>,
    /// Leaves the inbox of this actor alone but for one message a round.
    picky: Option<u64>,
}

impl Handler<Recorder> for Journal {
    fn begin(&mut self) {
        self.rounds.push(Vec::new());
        self.verdicts.clear();
    }

    fn handle(&mut self, actor: &mut Recorder, inbox: &mut Vec<Message>) {
        let count = if self.picky == Some(actor.id) { inbox.len().min(1) } else { inbox.len() };
        let mut notes = Vec::new();
        for message in inbox.drain(..count) {
            match message {
                Message::Note(note) => notes.push(note),
                Message::Hold { .. } => {}
                Message::Close => self.verdicts.push((actor.id, Verdict::Close)),
                Message::Again => self.verdicts.push((actor.id, Verdict::Again)),
                Message::Panic => panic!("as told"),
            }
        }
        self.rounds.last_mut().unwrap().push((actor.id, notes));
    }

    fn end(&mut self, actors: &mut [Box<Recorder>]) {
        let handled: Vec<u64> = self.rounds.last().unwrap().iter().map(|(id, _)| *id).collect();
        assert_eq!(actors.iter().map(|actor| actor.id).collect::<Vec<_>>(), handled);
    }

    fn verdict(&self, actor: &Recorder) -> Verdict {
        self.verdicts.iter().find(|(id, _)| *id == actor.id).map_or(Verdict::Idle, |(_, verdict)| *verdict)
    }
}

const CONFIG: SystemConfig = SystemConfig { mailbox_capacity: 4, actors_per_round: 3, messages_per_round: 2 };

fn system(ids: &[u64]) -> (Arc<System<Recorder>>, Alive) {
    let alive = Alive::default();
    let system = System::new("test", CONFIG, SystemMetrics::unregistered());
    for id in ids {
        system.register(*id, Recorder { id: *id, _alive: alive.clone() });
    }
    (system, alive)
}

fn note(system: &System<Recorder>, id: u64, note: u32) {
    system.send(id, Message::Note(note)).unwrap();
}

fn drain(system: &System<Recorder>) -> Vec<Vec<(u64, Vec<u32>)>> {
    let mut journal = Journal::default();
    while system.poll_once(&mut journal) {}
    journal.rounds
}

#[test]
fn rounds_take_actors_in_the_order_of_their_notification() {
    let (system, _alive) = system(&[1, 2, 3, 4, 5]);
    for id in [5, 3, 1, 3, 4] {
        note(&system, id, 10 + id as u32);
    }
    assert_eq!(
        drain(&system),
        [vec![(5, vec![15]), (3, vec![13, 13]), (1, vec![11])], vec![(4, vec![14])]],
        "at most three actors a round, in the order in which they were notified"
    );
    assert_eq!(system.ids(), [1, 2, 3, 4, 5]);
}

#[test]
fn an_actor_with_leftovers_goes_behind_the_others() {
    let (system, _alive) = system(&[1, 2, 3, 4, 5]);
    for number in 0..4 {
        note(&system, 1, number);
    }
    for id in 2..=5 {
        note(&system, id, 0);
    }
    assert_eq!(
        drain(&system),
        [vec![(1, vec![0, 1]), (2, vec![0]), (3, vec![0])], vec![(4, vec![0]), (5, vec![0]), (1, vec![2, 3])],]
    );
}

#[test]
fn a_full_mailbox_refuses_but_a_forced_message_gets_in() {
    let metrics = SystemMetrics::unregistered();
    let system = System::new("test", CONFIG, metrics.clone());
    system.register(1, Recorder { id: 1, _alive: Alive::default() });
    for number in 0..4 {
        note(&system, 1, number);
    }
    assert!(matches!(system.send(1, Message::Note(4)), Err(SendError::Full(Message::Note(4)))));
    assert_eq!(metrics.full.get(), 1);
    assert!(system.force_send(1, Message::Note(5)).is_ok());
    assert_eq!(system.mailbox_len(1), Some(5));
    assert_eq!(system.broadcast(|_| Message::Again), 1);
    assert_eq!(drain(&system), [vec![(1, vec![0, 1])], vec![(1, vec![2, 3])], vec![(1, vec![5])]]);
}

#[test]
fn closing_drops_the_actor_and_its_messages() {
    let (system, alive) = system(&[1, 2]);
    system.send(1, Message::Hold { _alive: alive.clone() }).unwrap();
    system.send(2, Message::Hold { _alive: alive.clone() }).unwrap();
    assert_eq!(alive.count(), 4);
    system.close(1);
    assert_eq!(alive.count(), 2, "the actor and its message are gone though it stood on the run queue");
    assert!(matches!(system.send(1, Message::Close), Err(SendError::Unknown(Message::Close))));
    assert_eq!(drain(&system), [vec![(2, vec![])]]);
    system.close(2);
    assert_eq!(alive.count(), 0);
    assert!(!system.poll_once(&mut Journal::default()));
}

#[test]
fn a_verdict_closes_or_asks_for_another_round() {
    let (system, alive) = system(&[1, 2]);
    system.send(1, Message::Close).unwrap();
    for number in 0..3 {
        note(&system, 1, number);
    }
    system.send(2, Message::Again).unwrap();
    assert_eq!(drain(&system), [vec![(1, vec![0]), (2, vec![])], vec![(2, vec![])]]);
    assert_eq!(system.ids(), [2]);
    assert_eq!(alive.count(), 1);
}

#[test]
fn registering_again_closes_the_older_actor() {
    let (system, alive) = system(&[1]);
    note(&system, 1, 1);
    system.register(1, Recorder { id: 1, _alive: alive.clone() });
    assert_eq!(alive.count(), 1);
    note(&system, 1, 2);
    assert_eq!(drain(&system), [vec![(1, vec![2])]], "the older actor's message went with it");
}

#[test]
fn a_stopped_system_holds_and_takes_nothing() {
    let (system, alive) = system(&[1, 2]);
    system.send(1, Message::Hold { _alive: alive.clone() }).unwrap();
    system.stop();
    assert_eq!(alive.count(), 0);
    assert!(matches!(system.force_send(1, Message::Close), Err(SendError::Closed(Message::Close))));
    system.register(3, Recorder { id: 3, _alive: alive.clone() });
    assert_eq!(alive.count(), 0);
    assert!(!system.poll_once(&mut Journal::default()));
    system.run(&mut Journal::default());
}

#[test]
fn what_a_handler_leaves_stays_in_front() {
    let (system, _alive) = system(&[1]);
    for number in 0..3 {
        note(&system, 1, number);
    }
    let mut journal = Journal { picky: Some(1), ..Journal::default() };
    while system.poll_once(&mut journal) {}
    assert_eq!(journal.rounds, [vec![(1, vec![0])], vec![(1, vec![1])], vec![(1, vec![2])]]);
}

#[test]
fn a_pick_chooses_who_takes_part() {
    let (system, _alive) = system(&[1, 2, 3]);
    for id in 1..=3 {
        note(&system, id, 0);
    }
    let mut journal = Journal::default();
    assert!(!system.poll_picking(&mut journal, |_| None));
    let mut picks = [Some(2), Some(0), None].into_iter();
    assert!(system.poll_picking(&mut journal, |_| picks.next().unwrap()));
    assert!(system.poll_once(&mut journal));
    assert_eq!(journal.rounds, [vec![(3, vec![0]), (1, vec![0])], vec![(2, vec![0])]]);
}

#[test]
fn a_panic_closes_the_actors_of_its_round() {
    let (system, alive) = system(&[1, 2, 3, 4]);
    system.send(2, Message::Panic).unwrap();
    note(&system, 3, 0);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| system.poll_once(&mut Journal::default())));
    assert!(caught.is_err());
    assert_eq!(system.ids(), [1, 4]);
    assert_eq!(alive.count(), 2);
}

#[test]
fn a_panic_under_run_stops_the_system() {
    let (system, alive) = system(&[1, 2]);
    system.send(1, Message::Panic).unwrap();
    let panicked = std::thread::scope(|scope| scope.spawn(|| system.run(&mut Journal::default())).join().is_err());
    assert!(panicked);
    assert!(system.is_stopped());
    assert_eq!(alive.count(), 0);
}

/// An actor that checks that each sender's messages come in order, and that it is never in two rounds.
struct Counter {
    last: Vec<usize>,
}

impl Actor for Counter {
    type Message = (usize, usize);
}

struct CountingHandler {
    handled: Arc<AtomicUsize>,
    done: crossbeam_channel::Sender<()>,
    expected: usize,
}

impl Handler<Counter> for CountingHandler {
    fn handle(&mut self, actor: &mut Counter, inbox: &mut Vec<(usize, usize)>) {
        for (sender, number) in inbox.drain(..) {
            assert_eq!(actor.last[sender] + 1, number, "a sender's messages stay in order");
            actor.last[sender] = number;
            if self.handled.fetch_add(1, Ordering::SeqCst) + 1 == self.expected {
                self.done.send(()).unwrap();
            }
        }
    }

    fn end(&mut self, _: &mut [Box<Counter>]) {}

    fn verdict(&self, _: &Counter) -> Verdict {
        Verdict::Idle
    }
}

/// Senders pause after each message until a poller had the chance to give the actor back, so that the race between the
/// two is run into often. A lost wake-up leaves a message unhandled, and the test waits for it in vain.
#[test]
fn no_wake_up_is_lost() {
    const SENDERS: usize = 4;
    const ACTORS: u64 = 3;
    const PER_SENDER: usize = 20_000;
    let config = SystemConfig { mailbox_capacity: 1 << 20, actors_per_round: 2, messages_per_round: 1 };
    let system = System::new("stress", config, SystemMetrics::unregistered());
    for id in 0..ACTORS {
        system.register(id, Counter { last: vec![0; SENDERS] });
    }
    let (done, finished) = crossbeam_channel::bounded(1);
    let handled = Arc::new(AtomicUsize::new(0));
    let expected = SENDERS * PER_SENDER * ACTORS as usize;
    let handlers = (0..3).map(|_| CountingHandler { handled: Arc::clone(&handled), done: done.clone(), expected });
    let pool = Pool::start(&system, handlers, &ThreadSpawner).unwrap();
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let system = &system;
            scope.spawn(move || {
                for number in 1..=PER_SENDER {
                    for id in 0..ACTORS {
                        system.send(id, (sender, number)).unwrap();
                    }
                    std::thread::yield_now();
                }
            });
        }
    });
    finished.recv_timeout(std::time::Duration::from_secs(60)).expect("every message is handled");
    assert!(pool.stop());
    assert_eq!(handled.load(Ordering::SeqCst), expected);
}

/// Does something to its own system in the middle of a round.
struct Meddler<F: FnMut(&mut Vec<Message>)> {
    meddle: F,
    handled: usize,
    verdict: Verdict,
}

impl<F: FnMut(&mut Vec<Message>)> Handler<Recorder> for Meddler<F> {
    fn handle(&mut self, _: &mut Recorder, inbox: &mut Vec<Message>) {
        self.handled += inbox.len();
        (self.meddle)(inbox);
        inbox.clear();
    }

    fn end(&mut self, _: &mut [Box<Recorder>]) {}

    fn verdict(&self, _: &Recorder) -> Verdict {
        self.verdict
    }
}

fn meddle(system: &System<Recorder>, meddle: impl FnMut(&mut Vec<Message>)) -> usize {
    let mut handler = Meddler { meddle, handled: 0, verdict: Verdict::Idle };
    while system.poll_once(&mut handler) {}
    handler.handled
}

#[test]
fn a_message_that_arrives_during_the_round_makes_another() {
    let (system, _alive) = system(&[1]);
    note(&system, 1, 0);
    let mut left = 3;
    let handled = meddle(&system, |_| {
        if left > 0 {
            left -= 1;
            note(&system, 1, 1);
        }
    });
    assert_eq!(handled, 4);
}

#[test]
fn an_actor_that_is_closed_in_its_round_goes_at_its_end() {
    let (system, alive) = system(&[1]);
    for _ in 0..4 {
        system.send(1, Message::Hold { _alive: alive.clone() }).unwrap();
    }
    let mut seen = Vec::new();
    let handled = meddle(&system, |_| {
        system.close(1);
        seen.push((system.ids().len(), alive.count()));
    });
    assert_eq!(handled, 2, "the two messages of the round, not those behind them");
    assert_eq!(seen, [(0, 3)], "the actor and the round's messages are still there");
    assert_eq!(alive.count(), 0);
}

#[test]
fn an_actor_that_is_replaced_in_its_round_does_not_come_back() {
    let (system, alive) = system(&[1]);
    note(&system, 1, 0);
    let mut replaced = false;
    let handled = meddle(&system, |_| {
        if !std::mem::replace(&mut replaced, true) {
            system.register(1, Recorder { id: 1, _alive: alive.clone() });
            note(&system, 1, 1);
        }
    });
    assert_eq!(handled, 2);
    assert_eq!((system.ids(), alive.count()), (vec![1], 1));
}

#[test]
fn an_actor_that_closes_leaves_its_successor_alone() {
    let (system, alive) = system(&[1]);
    note(&system, 1, 0);
    let meddle = |_: &mut Vec<Message>| system.register(1, Recorder { id: 1, _alive: alive.clone() });
    assert!(system.poll_once(&mut Meddler { meddle, handled: 0, verdict: Verdict::Close }));
    assert_eq!((system.ids(), alive.count()), (vec![1], 1));
}

#[test]
fn a_system_that_is_stopped_in_a_round_lets_it_end() {
    let (system, alive) = system(&[1, 2, 3, 4]);
    for id in 1..=4 {
        note(&system, id, 0);
    }
    assert_eq!(meddle(&system, |_| system.stop()), 1, "messages not yet taken are dropped at once");
    assert_eq!(alive.count(), 0);
}

/// A destructor that sends, as a responder may.
struct Parting {
    system: Arc<System<Sender>>,
}

struct Sender;

impl Actor for Sender {
    type Message = Parting;
}

impl Drop for Parting {
    fn drop(&mut self) {
        assert!(self.system.send(2, Parting { system: Arc::clone(&self.system) }).is_err_and(|error| {
            std::mem::forget(error.into_inner());
            true
        }));
    }
}

#[test]
fn no_lock_is_held_while_messages_are_dropped() {
    let system = System::new("parting", CONFIG, SystemMetrics::unregistered());
    system.register(1, Sender);
    let parting = || Parting { system: Arc::clone(&system) };
    system.send(1, parting()).unwrap();
    system.register(1, Sender);
    system.send(1, parting()).unwrap();
    system.close(1);
    system.register(1, Sender);
    system.send(1, parting()).unwrap();
    system.stop();
}

/// A spawner that has no room for a second thread.
struct Narrow(AtomicUsize);

impl runtime::Spawner for Narrow {
    fn spawn(&self, name: &str, work: Box<dyn FnOnce() + Send>) -> std::io::Result<Box<dyn runtime::Joinable>> {
        if self.0.fetch_add(1, Ordering::SeqCst) > 0 {
            return Err(std::io::ErrorKind::OutOfMemory.into());
        }
        ThreadSpawner.spawn(name, work)
    }
}

#[test]
fn a_pool_that_cannot_start_leaves_no_thread_behind() {
    let (system, alive) = system(&[1]);
    let handlers = [Journal::default(), Journal::default()];
    assert!(Pool::start(&system, handlers, &Narrow(AtomicUsize::new(0))).is_err());
    assert!(system.is_stopped());
    assert_eq!((alive.count(), Arc::strong_count(&system)), (0, 1), "the first thread has ended");
}

/// Handles by dropping.
struct Sink;

impl Actor for Sink {
    type Message = Alive;
}

impl Handler<Sink> for Sink {
    fn handle(&mut self, _: &mut Sink, inbox: &mut Vec<Alive>) {
        inbox.clear();
    }

    fn end(&mut self, _: &mut [Box<Sink>]) {}

    fn verdict(&self, _: &Sink) -> Verdict {
        Verdict::Idle
    }
}

/// Actors come and go under senders and pollers; whatever was accepted is handled or dropped, and nothing is kept.
#[test]
fn nothing_is_kept_when_actors_come_and_go() {
    const ROUNDS: usize = 5_000;
    let system = System::new("churn", CONFIG, SystemMetrics::unregistered());
    let alive = Alive::default();
    let pool = Pool::start(&system, [Sink, Sink], &ThreadSpawner).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (system, alive) = (&system, &alive);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let id = (thread + round as u64) % 4;
                    match round % 7 {
                        0 => system.register(id, Sink),
                        3 => system.close(id),
                        // Refusals are as good as acceptances here: the message is dropped.
                        _ => drop(system.send(id, alive.clone())),
                    }
                }
            });
        }
    });
    assert!(pool.stop());
    assert_eq!(alive.count(), 0);
}
