//! Permits, cancellation, bandwidth, resumption within a store, and what is shown and counted of it.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{FROM, INDEX, Place, REGION, TO, announced, small_chunks, small_files};
use observe::metrics::{SnapshotOutcome, SnapshotPhase, SnapshotRefusal};
use observe::{Registry, SnapshotMetrics};
use snapshot::{
    Answer, BuildConfig, CancelReason, Chunk, Delivery, DeliveryStep, Direction, Offer, RateLimiter, ReceiveConfig,
    Received, Reception, ReceptionConfig, ReceptionError, ReceptionStep, Receptions, RefusalKind, Refused, SendError,
    SnapshotNumbers, Transfer, TransferLimits, Transfers, time_limit,
};
use types::Instant;

fn at(milliseconds: u64) -> Instant {
    Instant(milliseconds * 1_000_000)
}

/// The snapshot side of one store.
struct Store {
    place: Place,
    metrics: SnapshotMetrics,
    transfers: Transfers,
    limiter: RateLimiter,
    receptions: Receptions,
}

impl Store {
    fn new(place: Place, limits: TransferLimits, bytes_per_second: u64) -> Self {
        let metrics = SnapshotMetrics::new(&Registry::new(), TO.into());
        let transfers = Transfers::new(limits, metrics.clone());
        let limiter = RateLimiter::new(bytes_per_second);
        let config = ReceptionConfig { receive: ReceiveConfig::default(), resume_timeout: Duration::from_secs(60) };
        let receptions = Receptions::new(
            Arc::clone(&place.engine),
            Arc::clone(&place.files),
            SnapshotNumbers::new(5),
            transfers.clone(),
            limiter.clone(),
            config,
        );
        Self { place, metrics, transfers, limiter, receptions }
    }

    fn receiving() -> Self {
        Self::new(Place::memory(), TransferLimits::default(), 0)
    }

    fn sending() -> Self {
        let place = Place::memory().with_region().with_data(1, 60, 200);
        Self::new(place, TransferLimits::default(), 0)
    }

    fn begin(&self, now: Instant) -> Transfer {
        self.transfers.begin(Direction::Outgoing, REGION, TO.into(), now).unwrap()
    }

    fn delivery(&self, now: Instant) -> Delivery {
        let built = Arc::new(self.place.build(small_files()));
        Delivery::begin(built, self.begin(now), self.limiter.clone(), small_chunks(), now)
    }

    fn refused(&self, reason: SnapshotRefusal) -> u64 {
        self.metrics.refused[reason].get()
    }

    fn ended(&self, outcome: SnapshotOutcome) -> u64 {
        self.metrics.ended[outcome].get()
    }
}

fn offer(delivery: &Delivery) -> Offer {
    Offer { announced: announced(), from_store: FROM.into(), manifest: delivery.manifest().clone() }
}

/// Opens a stream.
fn connect(delivery: &mut Delivery, to: &Store, now: Instant) -> Result<Reception, ReceptionError> {
    let mut reception = to.receptions.offer(&offer(delivery), now)?;
    delivery.connected();
    delivery.answer(reception.wanted()).unwrap();
    Ok(reception)
}

/// Sends up to `chunks` chunks; returns how many there were.
fn pump(delivery: &mut Delivery, reception: &mut Reception, chunks: usize, now: Instant) -> usize {
    for sent in 0..chunks {
        let DeliveryStep::Chunk(chunk) = delivery.step(now).unwrap() else { return sent };
        let answer = reception.take(&chunk, now).unwrap().answer.unwrap();
        delivery.answer(answer).unwrap();
    }
    chunks
}

fn look_through(reception: &mut Reception, now: Instant) -> (Received, Transfer) {
    loop {
        match reception.step(1000, now).unwrap() {
            ReceptionStep::More => {}
            ReceptionStep::Received(received, transfer) => return (received, transfer),
        }
    }
}

#[test]
fn a_snapshot_is_shown_measured_and_counted_from_beginning_to_end() {
    let (from, to) = (Store::sending(), Store::receiving());
    let transfer = from.begin(at(0));
    let built = from.place.build(small_files());
    assert_eq!(from.metrics.in_flight[SnapshotPhase::Build].get(), 1);
    let total = built.manifest().file_bytes();
    let mut delivery = Delivery::begin(Arc::new(built), transfer, from.limiter.clone(), small_chunks(), at(1000));
    let mut reception = connect(&mut delivery, &to, at(1000)).unwrap();

    assert_eq!(pump(&mut delivery, &mut reception, 3, at(2000)), 3);
    let [sending] = &from.transfers.list()[..] else { panic!("one is in flight") };
    assert_eq!((sending.direction, sending.region, sending.peer_store), (Direction::Outgoing, REGION, TO.into()));
    assert_eq!((sending.phase, sending.bytes_done, sending.bytes_total), (SnapshotPhase::Send, 3000, total));
    assert_eq!((sending.since, sending.cancelled), (at(0), None));
    let [receiving] = &to.transfers.list()[..] else { panic!("one is in flight") };
    assert_eq!((receiving.direction, receiving.peer_store), (Direction::Incoming, FROM.into()));
    assert_eq!((receiving.phase, receiving.bytes_done, receiving.bytes_total), (SnapshotPhase::Receive, 3000, total));
    assert_eq!((from.transfers.count(Direction::Outgoing), from.transfers.count(Direction::Incoming)), (1, 0));

    pump(&mut delivery, &mut reception, usize::MAX, at(3000));
    assert!(reception.has_all());
    assert_eq!(to.transfers.list()[0].phase, SnapshotPhase::Verify);
    let (received, transfer) = look_through(&mut reception, at(4000));
    assert_eq!(received.key().number, 5, "the first number that was free");
    assert_eq!(to.transfers.list()[0].phase, SnapshotPhase::Install);
    delivery.answer(Answer::Received).unwrap();
    assert_eq!(delivery.step(at(4000)).unwrap(), DeliveryStep::Delivered);
    assert_eq!(delivery.step(at(4000)).unwrap(), DeliveryStep::Delivered);
    transfer.finish(SnapshotOutcome::Received, at(9000));

    assert_eq!((from.ended(SnapshotOutcome::Sent), to.ended(SnapshotOutcome::Received)), (1, 1));
    assert_eq!((from.transfers.list(), to.transfers.list()), (vec![], vec![]));
    assert_eq!(from.metrics.bytes[SnapshotPhase::Send].get(), total);
    for phase in [SnapshotPhase::Receive, SnapshotPhase::Verify, SnapshotPhase::Install] {
        assert_eq!(to.metrics.bytes[phase].get(), total, "{phase:?}");
    }
    let seconds = |store: &Store, phase| {
        let histogram = &store.metrics.duration[phase];
        (histogram.get_sample_count(), histogram.get_sample_sum())
    };
    assert_eq!(seconds(&from, SnapshotPhase::Build), (1, 1.0));
    assert_eq!(seconds(&from, SnapshotPhase::Send), (1, 3.0));
    assert_eq!(seconds(&to, SnapshotPhase::Receive), (1, 2.0));
    assert_eq!(seconds(&to, SnapshotPhase::Verify), (1, 1.0));
    assert_eq!(seconds(&to, SnapshotPhase::Install), (1, 5.0));
    let phases = [SnapshotPhase::Build, SnapshotPhase::Send, SnapshotPhase::Receive, SnapshotPhase::Install];
    assert!(phases.iter().all(|phase| from.metrics.in_flight[*phase].get() + to.metrics.in_flight[*phase].get() == 0));
}

#[test]
fn permits_are_bounded_in_each_direction_and_come_back() {
    let store = Store::new(Place::memory(), TransferLimits { outgoing: 2, incoming: 1 }, 0);
    let begin = |direction, region: u64, peer: u64| store.transfers.begin(direction, region.into(), peer.into(), at(0));
    let first = begin(Direction::Outgoing, 1, 2).unwrap();
    let _second = begin(Direction::Outgoing, 1, 3).expect("the same region to another store");
    assert_eq!(begin(Direction::Outgoing, 2, 2).err(), Some(Refused::TooMany { limit: 2 }));
    assert_eq!(begin(Direction::Outgoing, 1, 2).err(), Some(Refused::SameRegion { region: 1.into() }));
    let _incoming = begin(Direction::Incoming, 1, 2).expect("the other direction has permits of its own");
    assert_eq!(begin(Direction::Incoming, 1, 3).err(), Some(Refused::SameRegion { region: 1.into() }));
    assert_eq!(begin(Direction::Incoming, 2, 3).err(), Some(Refused::TooMany { limit: 1 }));
    assert_eq!((store.refused(SnapshotRefusal::TooMany), store.refused(SnapshotRefusal::SameRegion)), (2, 2));
    drop(first);
    assert_eq!(store.ended(SnapshotOutcome::Failed), 1);
    assert!(begin(Direction::Outgoing, 2, 2).is_ok());
}

#[test]
fn a_refused_offer_is_made_again_later() {
    let (from, to) = (Store::sending(), Store::new(Place::memory(), TransferLimits { outgoing: 0, incoming: 1 }, 0));
    let other = to.transfers.begin(Direction::Incoming, 99.into(), 9.into(), at(0)).unwrap();
    let mut delivery = from.delivery(at(0));
    let Err(error) = connect(&mut delivery, &to, at(0)) else { panic!("there is no permit") };
    let refusal = error.refusal();
    assert_eq!(refusal.kind, RefusalKind::Later);
    let error = delivery.answer(Answer::Refused(refusal)).unwrap_err();
    assert!(error.may_retry(), "{error}");
    assert_eq!(from.refused(SnapshotRefusal::Declined), 1);
    drop(other);
    let mut reception = connect(&mut delivery, &to, at(0)).unwrap();
    pump(&mut delivery, &mut reception, usize::MAX, at(0));
    assert!(reception.has_all());
}

#[test]
fn what_is_cancelled_stops_on_both_sides_and_leaves_nothing() {
    for reason in [CancelReason::SteppedDown, CancelReason::EpochChanged, CancelReason::Requested] {
        let (from, to) = (Store::sending(), Store::receiving());
        let mut delivery = from.delivery(at(0));
        let mut reception = connect(&mut delivery, &to, at(0)).unwrap();
        pump(&mut delivery, &mut reception, 3, at(0));

        assert_eq!(from.transfers.cancel(|flight| flight.region == 8.into(), reason), 0);
        assert_eq!(from.transfers.cancel(|flight| flight.region == REGION, reason), 1);
        assert_eq!(from.transfers.cancel(|_| true, CancelReason::Stopping), 1);
        assert_eq!(from.transfers.list()[0].cancelled, Some(reason), "the first reason stays");
        let error = delivery.step(at(0)).unwrap_err();
        assert!(matches!(error, SendError::Cancelled { reason: named } if named == reason));
        assert!(!error.may_retry());
        drop(delivery);
        assert_eq!(from.ended(SnapshotOutcome::Cancelled), 1);
        assert_eq!(from.place.names(), [""; 0]);

        to.transfers.cancel(|flight| flight.region == REGION, reason);
        let chunk = Chunk::new(0, types::ColumnFamily::Default, 3000, 0, vec![0; 10].into());
        let error = reception.take(&chunk, at(0)).unwrap_err();
        assert_eq!(error.refusal().kind, RefusalKind::Unwanted, "{error}");
        assert_eq!((to.place.names(), to.ended(SnapshotOutcome::Cancelled)), (vec![], 1));
        reception.interrupted(at(0));
        assert_eq!(to.transfers.list(), [], "a failed one does not wait for anybody");
    }
}

#[test]
fn a_snapshot_that_takes_too_long_is_given_up() {
    let (from, to) = (Store::sending(), Store::receiving());
    let limit = time_limit(0);
    assert_eq!(limit, Duration::from_secs(600));
    assert_eq!(time_limit(3 << 40), Duration::from_secs(3 << 20));
    let mut delivery = from.delivery(at(0));
    let mut reception = connect(&mut delivery, &to, at(1000)).unwrap();
    let chunk = match delivery.step(at(599_999)).unwrap() {
        DeliveryStep::Chunk(chunk) => chunk,
        other => panic!("{other:?}"),
    };
    reception.take(&chunk, at(600_999)).unwrap();
    let timed_out = CancelReason::TimedOut;
    assert!(matches!(delivery.step(at(600_000)), Err(SendError::Cancelled { reason }) if reason == timed_out));
    assert!(
        matches!(reception.take(&chunk, at(601_000)), Err(ReceptionError::Cancelled(reason)) if reason == timed_out)
    );
    assert_eq!(to.place.names(), [""; 0]);
}

#[test]
fn a_broken_connection_is_gone_on_with_and_its_permit_kept() {
    let (from, to) = (Store::sending(), Store::receiving());
    let mut delivery = from.delivery(at(0));
    let mut reception = connect(&mut delivery, &to, at(0)).unwrap();
    pump(&mut delivery, &mut reception, 7, at(0));
    let here = to.place.names();
    reception.interrupted(at(1000));
    assert_eq!((to.place.names(), to.transfers.count(Direction::Incoming)), (here, 1));
    assert_eq!(to.receptions.expire(at(60_999)), 0);

    let mut reception = connect(&mut delivery, &to, at(60_999)).unwrap();
    assert_eq!(to.receptions.expire(at(200_000)), 0, "it waits no more");
    pump(&mut delivery, &mut reception, usize::MAX, at(60_999));
    let total = from.metrics.bytes[SnapshotPhase::Send].get();
    assert_eq!(total, to.transfers.list()[0].bytes_total, "nothing was sent twice");
    look_through(&mut reception, at(0));
}

#[test]
fn nobody_waits_for_ever() {
    let (from, to) = (Store::sending(), Store::receiving());
    let mut delivery = from.delivery(at(0));
    let mut reception = connect(&mut delivery, &to, at(0)).unwrap();
    pump(&mut delivery, &mut reception, 7, at(0));
    reception.interrupted(at(1000));
    assert_eq!(to.receptions.expire(at(61_000)), 1);
    assert_eq!((to.place.names(), to.transfers.list()), (vec![], vec![]));

    // What is cancelled while it waits goes at once.
    let mut reception = connect(&mut delivery, &to, at(0)).unwrap();
    pump(&mut delivery, &mut reception, 2, at(0));
    reception.interrupted(at(0));
    to.transfers.cancel(|_| true, CancelReason::PeerRemoved);
    assert_eq!(to.receptions.expire(at(0)), 1);
    assert_eq!((to.place.names(), to.ended(SnapshotOutcome::Cancelled)), (vec![], 1));
}

#[test]
fn another_snapshot_of_the_region_takes_the_place_of_one_that_waits() {
    let (from, to) = (Store::sending(), Store::receiving());
    let mut delivery = from.delivery(at(0));
    let mut reception = connect(&mut delivery, &to, at(0)).unwrap();
    pump(&mut delivery, &mut reception, 7, at(0));
    reception.interrupted(at(0));
    drop(delivery);

    from.place.put(types::ColumnFamily::Default, "c", "a later moment");
    let mut delivery = from.delivery(at(0));
    let mut reception = connect(&mut delivery, &to, at(0)).unwrap();
    assert_eq!(to.place.names(), [""; 0], "what the other brought is of no use");
    pump(&mut delivery, &mut reception, usize::MAX, at(0));
    look_through(&mut reception, at(0));
}

#[test]
fn a_newer_stream_takes_over_from_one_that_hangs() {
    let (from, to) = (Store::sending(), Store::receiving());
    let mut delivery = from.delivery(at(0));
    let mut hanging = connect(&mut delivery, &to, at(0)).unwrap();
    pump(&mut delivery, &mut hanging, 7, at(0));

    let Err(error) = connect(&mut delivery, &to, at(0)) else { panic!("the old stream is not over") };
    assert!(matches!(error, ReceptionError::Refused(Refused::SameRegion { .. })));
    assert_eq!(error.refusal().kind, RefusalKind::Later);
    let late = Chunk::new(0, types::ColumnFamily::Default, 7000, 0, vec![0; 10].into());
    let error = hanging.take(&late, at(0)).unwrap_err();
    assert!(matches!(error, ReceptionError::Cancelled(CancelReason::Superseded)), "{error}");
    hanging.interrupted(at(0));
    assert_eq!(to.receptions.expire(at(1)), 0);

    let mut reception = connect(&mut delivery, &to, at(0)).unwrap();
    pump(&mut delivery, &mut reception, usize::MAX, at(0));
    look_through(&mut reception, at(0));
    let total = from.metrics.bytes[SnapshotPhase::Send].get();
    assert_eq!(to.metrics.bytes[SnapshotPhase::Receive].get(), total, "nothing was sent twice");
}

#[test]
fn a_snapshot_that_is_looked_through_is_not_disturbed_by_another_offer() {
    let (from, to) = (Store::sending(), Store::receiving());
    let mut delivery = from.delivery(at(0));
    let mut reception = connect(&mut delivery, &to, at(0)).unwrap();
    pump(&mut delivery, &mut reception, usize::MAX, at(0));
    assert!(to.receptions.offer(&offer(&delivery), at(0)).is_err());
    let (_received, _transfer) = look_through(&mut reception, at(0));
    assert!(to.receptions.offer(&offer(&delivery), at(0)).is_err(), "nor one that is installed");
}

#[test]
fn both_sides_keep_to_their_bandwidth() {
    let from = Store::new(Place::memory().with_region().with_data(1, 60, 200), TransferLimits::default(), 10_000);
    let to = Store::new(Place::memory(), TransferLimits::default(), 5_000);
    let mut delivery = from.delivery(at(1000));
    let mut reception = connect(&mut delivery, &to, at(1000)).unwrap();
    let (mut now, mut sent) = (at(1000), 0);
    loop {
        match delivery.step(now).unwrap() {
            DeliveryStep::Chunk(chunk) => {
                sent += chunk.data.len() as u64;
                let taken = reception.take(&chunk, now).unwrap();
                now = taken.ready_at;
                delivery.answer(taken.answer.unwrap()).unwrap();
            }
            DeliveryStep::WaitUntil(moment) => {
                assert!(moment > now);
                now = moment;
            }
            DeliveryStep::Wait => break,
            DeliveryStep::Delivered => panic!("nobody said so"),
        }
    }
    let seconds = now.since(at(1000)).as_secs_f64();
    let expected = sent as f64 / 5_000.0;
    assert!((expected - 0.2..expected + 0.2).contains(&seconds), "{sent} bytes in {seconds} s");

    // The sender's own limit, where the receiver is fast.
    drop(delivery);
    let mut delivery = from.delivery(at(100_000));
    let to = Store::receiving();
    let mut reception = connect(&mut delivery, &to, at(100_000)).unwrap();
    assert_eq!(pump(&mut delivery, &mut reception, usize::MAX, at(100_000)), 2, "1,000 bytes are the burst");
    assert_eq!(delivery.step(at(100_000)).unwrap(), DeliveryStep::WaitUntil(at(100_100)));
}

#[test]
fn damaged_chunks_are_counted() {
    let (from, to) = (Store::sending(), Store::receiving());
    let mut delivery = from.delivery(at(0));
    let mut reception = connect(&mut delivery, &to, at(0)).unwrap();
    let DeliveryStep::Chunk(chunk) = delivery.step(at(0)).unwrap() else { panic!("there is a chunk") };
    let answer = reception.take(&Chunk { checksum: chunk.checksum ^ 1, ..chunk }, at(0)).unwrap().answer.unwrap();
    assert_eq!(answer, Answer::Again { place: 0, offset: 0 });
    delivery.answer(answer).unwrap();
    assert_eq!(to.metrics.repeated_chunks.get(), 1);
    pump(&mut delivery, &mut reception, usize::MAX, at(0));
    assert!(reception.has_all());
}

#[test]
fn an_inline_snapshot_needs_no_chunk() {
    let from = Store::new(Place::memory().with_region().with_data(1, 3, 20), TransferLimits::default(), 0);
    let to = Store::receiving();
    let built = Arc::new(from.place.build(BuildConfig::default()));
    let mut delivery = Delivery::begin(built, from.begin(at(0)), from.limiter.clone(), small_chunks(), at(0));
    let mut reception = connect(&mut delivery, &to, at(0)).unwrap();
    assert_eq!(delivery.step(at(0)).unwrap(), DeliveryStep::Wait);
    assert!(reception.has_all());
    let (mut received, _transfer) = look_through(&mut reception, at(0));
    assert_eq!(received.manifest().index, INDEX.into());
    to.place.install(&mut received);
    assert_eq!(to.place.content(), from.place.content());
    delivery.answer(Answer::Received).unwrap();
    assert_eq!(delivery.step(at(0)).unwrap(), DeliveryStep::Delivered);
}
