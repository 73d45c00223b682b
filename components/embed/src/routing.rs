//! Carrying one request to the leader of its region, again when that is sure to be harmless.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::RegionSnapshot;
use futures::channel::oneshot;
use futures::future::{Either, select};
use store::{RegionView, StoreHandle, StoreState};
use types::{Instant, KeyRange, Peer, RegionDescriptor, RequestError, RequestHeader, Responder};

use crate::error::Error;
use crate::network::Network;
use crate::pulse::{BEAT, Pulse};
use crate::request::{RegionRequest, RegionResponse, execute};

/// How long a request waits before it is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// Knows the way to every region's leader.
#[derive(Clone)]
pub(crate) struct Routing {
    pub(crate) store: StoreHandle,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) pulse: Pulse,
    pub(crate) timeout: Duration,
}

/// Which region a request is for. It is looked up for each try: regions split while requests are under way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// The one that holds a key.
    At(&'a Bytes),
    /// The one that holds the upper end of a range.
    EndOf(&'a KeyRange),
}

/// What is done about an outcome that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The request changes nothing: it is asked again.
    Ask,
    /// The request changes something, and doing it twice is the same as doing it once: it is made again.
    Repeat,
    /// Whoever made the request is told.
    Tell,
}

/// How one try ended, when it brought no answer.
enum Miss {
    /// It had no effect: another try may.
    Again(RequestError),
    /// It is over.
    Over(Error),
}

impl Routing {
    pub(crate) fn deadline(&self) -> Instant {
        self.pulse.now() + self.timeout
    }

    /// The region of a place, as this store knows it. In static mode every member has every region; while one is split, a
    /// part of it may be missing for a moment.
    fn find(&self, place: Place<'_>) -> Option<RegionView> {
        match place {
            Place::At(key) => self.store.region_at(key),
            Place::EndOf(range) => {
                let reaches =
                    |region: &KeyRange| region.end.is_empty() || (!range.end.is_empty() && range.end <= region.end);
                let last = self.store.regions().into_iter().rev().find(|view| view.descriptor.range.overlaps(range));
                last.filter(|view| reaches(&view.descriptor.range))
            }
        }
    }

    /// Has a request carried out by the leader of a region. `build` makes the request for the region as it is at that
    /// try. Returns that region, too: what it answered goes for the range that it had.
    pub(crate) async fn request(
        &self,
        place: Place<'_>,
        deadline: Instant,
        unknown: Unknown,
        build: impl Fn(&RegionDescriptor) -> Result<RegionRequest, Error>,
    ) -> Result<(Arc<RegionDescriptor>, RegionResponse), Error> {
        let ask = |view: &RegionView, leader: Peer, responder| {
            let (header, request) = (header(view, leader), build(&view.descriptor)?);
            if leader.store_id == self.store.ident().store {
                execute(&self.store, header, request, responder);
            } else {
                self.network.call(leader.store_id, header, request, responder);
            }
            Ok(())
        };
        self.retry(place, deadline, unknown, ask).await
    }

    /// Takes a snapshot of the region that holds `key`.
    pub(crate) async fn snapshot(&self, key: &Bytes, deadline: Instant) -> Result<RegionSnapshot, Error> {
        let ask = |view: &RegionView, leader: Peer, responder| {
            let header = header(view, leader);
            if leader.store_id == self.store.ident().store {
                self.store.read(header, responder);
            } else {
                self.network.snapshot(leader.store_id, header, responder);
            }
            Ok(())
        };
        Ok(self.retry(Place::At(key), deadline, Unknown::Ask, ask).await?.1)
    }

    async fn retry<T: Send + 'static>(
        &self,
        place: Place<'_>,
        deadline: Instant,
        unknown: Unknown,
        ask: impl Fn(&RegionView, Peer, Responder<Result<T, RequestError>>) -> Result<(), Error>,
    ) -> Result<(Arc<RegionDescriptor>, T), Error> {
        loop {
            let view = self.find(place);
            let refusal = match view.map(|view| (view.leader, view)) {
                Some((Some(leader), view)) => {
                    let (sender, receiver) = oneshot::channel();
                    let responder = Responder::new(move |answer| {
                        // Whoever has stopped waiting was told that the outcome is unknown.
                        let _ = sender.send(answer);
                    });
                    ask(&view, leader, responder)?;
                    match self.answer(receiver, deadline, unknown).await {
                        Ok(answer) => return Ok((view.descriptor, answer)),
                        Err(Miss::Over(error)) => return Err(error),
                        Err(Miss::Again(refusal)) => refusal,
                    }
                }
                Some((None, view)) => RequestError::NotLeader { region: view.descriptor.id, leader: None },
                None => RequestError::ServerIsBusy { reason: "no region is known to hold the keys" },
            };
            if matches!(self.store.state(), StoreState::Failed | StoreState::Stopped) {
                return Err(Error::Refused(refusal));
            }
            if self.pulse.now() + PAUSE >= deadline {
                return Err(Error::TimedOut { last: refusal.to_string() });
            }
            // An error here means that the store is gone; the next try says so.
            let _ = self.pulse.sleep_until(self.pulse.now() + PAUSE).await;
        }
    }

    async fn answer<T>(
        &self,
        receiver: oneshot::Receiver<Result<T, RequestError>>,
        deadline: Instant,
        unknown: Unknown,
    ) -> Result<T, Miss> {
        let lost = "the answer did not come in time".to_owned();
        match select(receiver, self.pulse.sleep_until(deadline + BEAT)).await {
            Either::Left((Ok(Ok(answer)), _)) => Ok(answer),
            Either::Left((Ok(Err(RequestError::Undetermined { reason })), _)) if unknown == Unknown::Tell => {
                Err(Miss::Over(Error::Undetermined(reason.to_owned())))
            }
            Either::Left((Ok(Err(error @ RequestError::Undetermined { .. })), _)) => Err(Miss::Again(error)),
            Either::Left((Ok(Err(error)), _)) if error.is_retryable() => Err(Miss::Again(error)),
            Either::Left((Ok(Err(error)), _)) => Err(Miss::Over(Error::Refused(error))),
            Either::Left((Err(_), _)) | Either::Right(_) => Err(Miss::Over(match unknown {
                Unknown::Ask => Error::TimedOut { last: lost },
                Unknown::Repeat | Unknown::Tell => Error::Undetermined(lost),
            })),
        }
    }
}

pub(crate) fn header(view: &RegionView, leader: Peer) -> RequestHeader {
    RequestHeader { region_id: view.descriptor.id, peer_id: Some(leader.id), term: None, epoch: view.descriptor.epoch }
}
