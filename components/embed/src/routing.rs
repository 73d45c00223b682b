//! Carrying one request to the leader of its region, again when that is sure to be harmless.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine::RegionSnapshot;
use futures::channel::oneshot;
use futures::future::{Either, select};
use store::{RegionView, StoreHandle, StoreState};
use types::{Instant, Peer, RequestError, RequestHeader, Responder};

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

    /// The region of a key, as this store knows it. In static mode every member has every region.
    pub(crate) fn region_at(&self, key: &[u8]) -> Result<RegionView, Error> {
        let missing = || Error::Refused(RequestError::Invalid { reason: "no region holds the key".to_owned() });
        self.store.region_at(key).ok_or_else(missing)
    }

    /// Has a request carried out by the leader of the region that holds `key`.
    pub(crate) async fn request(
        &self,
        key: &Bytes,
        request: RegionRequest,
        deadline: Instant,
    ) -> Result<RegionResponse, Error> {
        let writes = matches!(request, RegionRequest::Write(_));
        let ask = |view: &RegionView, leader: Peer, responder| {
            let header = header(view, leader);
            if leader.store_id == self.store.ident().store {
                execute(&self.store, header, request.clone(), responder);
            } else {
                self.network.call(leader.store_id, header, request.clone(), responder);
            }
        };
        self.retry(key, deadline, writes, ask).await
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
        };
        self.retry(key, deadline, false, ask).await
    }

    async fn retry<T: Send + 'static>(
        &self,
        key: &Bytes,
        deadline: Instant,
        writes: bool,
        ask: impl Fn(&RegionView, Peer, Responder<Result<T, RequestError>>),
    ) -> Result<T, Error> {
        loop {
            let view = self.region_at(key)?;
            let refusal = match view.leader {
                Some(leader) => {
                    let (sender, receiver) = oneshot::channel();
                    let responder = Responder::new(move |answer| {
                        // Whoever has stopped waiting was told that the outcome is unknown.
                        let _ = sender.send(answer);
                    });
                    ask(&view, leader, responder);
                    match self.answer(receiver, deadline, writes).await {
                        Ok(answer) => return Ok(answer),
                        Err(Miss::Over(error)) => return Err(error),
                        Err(Miss::Again(refusal)) => refusal,
                    }
                }
                None => RequestError::NotLeader { region: view.descriptor.id, leader: None },
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
        writes: bool,
    ) -> Result<T, Miss> {
        let lost = "the answer did not come in time".to_owned();
        match select(receiver, self.pulse.sleep_until(deadline + BEAT)).await {
            Either::Left((Ok(Ok(answer)), _)) => Ok(answer),
            Either::Left((Ok(Err(RequestError::Undetermined { reason })), _)) if writes => {
                Err(Miss::Over(Error::Undetermined(reason.to_owned())))
            }
            Either::Left((Ok(Err(error @ RequestError::Undetermined { .. })), _)) => Err(Miss::Again(error)),
            Either::Left((Ok(Err(error)), _)) if error.is_retryable() => Err(Miss::Again(error)),
            Either::Left((Ok(Err(error)), _)) => Err(Miss::Over(Error::Refused(error))),
            Either::Left((Err(_), _)) | Either::Right(_) if writes => Err(Miss::Over(Error::Undetermined(lost))),
            Either::Left((Err(_), _)) | Either::Right(_) => Err(Miss::Over(Error::TimedOut { last: lost })),
        }
    }
}

fn header(view: &RegionView, leader: Peer) -> RequestHeader {
    RequestHeader { region_id: view.descriptor.id, peer_id: Some(leader.id), term: None, epoch: view.descriptor.epoch }
}
