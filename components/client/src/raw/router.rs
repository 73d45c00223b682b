//! One attempt: who is asked, and what is learned from the answer.

use std::sync::Arc;

use bytes::Bytes;
use proto::convert::UNKNOWN_OUTCOME;
use proto::errorpb;
use proto::kvrpcpb::Context;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};
use types::{Peer, RegionDescriptor};

use crate::pd::{PdClient, PdError, RegionRoute};
use crate::raw::call::Call;
use crate::raw::config::ClientConfig;
use crate::raw::error::ClientError;
use crate::raw::region_cache::{RegionCache, Route, Seek};
use crate::raw::retry::Failure;
use crate::raw::stores::{SendError, Store, Stores};

/// A key above all that are likely: where the search for the last region begins.
const HIGH_KEY: [u8; 64] = [0xFF; 64];

/// Routes requests by what it knows of regions and stores.
pub(crate) struct Router {
    pd: PdClient,
    config: Arc<ClientConfig>,
    regions: RegionCache,
    stores: Stores,
    /// Held while a region is looked up, so that one caller of many does it.
    lookup: tokio::sync::Mutex<()>,
}

impl Router {
    pub(crate) fn new(pd: PdClient, config: Arc<ClientConfig>) -> Self {
        let stores = Stores::new(pd.clone(), Arc::clone(&config));
        Self { pd, config, regions: RegionCache::default(), stores, lookup: tokio::sync::Mutex::default() }
    }

    /// The region there, and whom to ask for it.
    pub(crate) async fn route(&self, seek: &Seek, deadline: Instant) -> Result<Route, Failure> {
        if let Some(route) = self.regions.find(seek) {
            return Ok(route);
        }
        let looking_up = async {
            let _one = self.lookup.lock().await;
            match self.regions.find(seek) {
                Some(route) => Ok(route),
                None => self.look_up(seek).await,
            }
        };
        let no_answer = |_| Err(Failure::NotServed("the region was not found in time".to_owned()));
        timeout_at(deadline, looking_up).await.unwrap_or_else(no_answer)
    }

    async fn look_up(&self, seek: &Seek) -> Result<Route, Failure> {
        let found = match seek {
            Seek::At(key) => self.pd.get_region(key).await,
            Seek::Before(end) if end.is_empty() => self.last_region().await,
            Seek::Before(end) => self.region_before(end).await,
        };
        let found = found.map_err(|error| match error {
            error if error.is_retryable() => Failure::NotServed(error.to_string()),
            error => Failure::Fatal(error.into()),
        })?;
        let none = || Failure::NotServed("the placement driver knows no such region yet".to_owned());
        self.regions.learn(found.ok_or_else(none)?).ok_or_else(none)
    }

    async fn region_before(&self, end: &Bytes) -> Result<Option<RegionRoute>, PdError> {
        match self.pd.get_region(end).await? {
            Some(found) if found.descriptor.range.start == end => self.pd.get_prev_region(end).await,
            found => Ok(found),
        }
    }

    async fn last_region(&self) -> Result<Option<RegionRoute>, PdError> {
        let mut key = Bytes::from_static(&HIGH_KEY);
        loop {
            match self.pd.get_region(&key).await? {
                Some(found) if !found.descriptor.range.end.is_empty() => key = found.descriptor.range.end,
                found => return Ok(found),
            }
        }
    }

    /// Sends a request to the route's peer, once.
    pub(crate) async fn attempt<C: Call>(
        &self,
        route: &Route,
        mut call: C,
        deadline: Instant,
    ) -> Result<C::Answer, Failure> {
        let size = call.encoded_len();
        if size > self.config.max_request_bytes {
            let reason = format!("it has {size} bytes, more than the bound of {}", self.config.max_request_bytes);
            return Err(Failure::Fatal(ClientError::Refused { reason }));
        }
        let limit = (Instant::now() + self.config.attempt_timeout).min(deadline);
        let finding = timeout_at(deadline, self.stores.get(route.peer.store_id));
        let store = finding.await.unwrap_or_else(|_| Err(Failure::NotServed("the store was not found in time".into())));
        let store = store.inspect_err(|_| self.regions.failed(route))?;
        call.set_context(self.context(route));
        let mut answer = store.send(call, limit).await.map_err(|error| self.not_answered(route, &store, error))?;
        if let Some(error) = C::take_region_error(&mut answer) {
            return Err(self.region_error(route, &store, error));
        }
        match C::refusal(&answer) {
            Some(reason) if reason.starts_with(UNKNOWN_OUTCOME) => Err(Failure::Unknown(reason)),
            Some(reason) => Err(Failure::Fatal(ClientError::Refused { reason })),
            None => {
                self.regions.served(route);
                Ok(answer)
            }
        }
    }

    fn context(&self, route: &Route) -> Context {
        Context {
            region_id: route.region.id.0,
            region_epoch: Some(route.region.epoch.into()),
            peer: Some(route.peer.into()),
            cluster_id: self.pd.cluster_id().0,
            ..Context::default()
        }
    }

    /// Learns from a request that got no answer.
    fn not_answered(&self, route: &Route, store: &Arc<Store>, error: SendError) -> Failure {
        let describe =
            |status: &Status| format!("store {}: {:?}: {}", route.peer.store_id, status.code(), status.message());
        let (status, failure) = match &error {
            SendError::NotSent(status) => (status, Failure::NotServed(describe(status))),
            SendError::Refused(status) => {
                return Failure::Fatal(ClientError::Refused { reason: describe(status) });
            }
            SendError::Broken(status) => (status, Failure::Unknown(describe(status))),
        };
        self.regions.failed(route);
        if status.code() == Code::Unavailable {
            self.stores.forget(store);
        }
        failure
    }

    /// Learns from a region error. All but one kind promise that the request had no effect.
    fn region_error(&self, route: &Route, store: &Arc<Store>, error: errorpb::Error) -> Failure {
        let message = error.message;
        if error.undetermined_result.is_some() {
            return Failure::Unknown(message);
        }
        if error.raft_entry_too_large.is_some() {
            return Failure::Fatal(ClientError::Refused { reason: message });
        }
        if let Some(not_leader) = error.not_leader {
            return match not_leader.leader.and_then(|leader| Peer::try_from(leader).ok()) {
                Some(leader) => {
                    self.regions.redirect(route, leader);
                    Failure::Redirected(message)
                }
                None => {
                    self.regions.failed(route);
                    Failure::NotServed(message)
                }
            };
        }
        if let Some(epoch) = error.epoch_not_match {
            return self.epoch_error(route, epoch, message);
        }
        if error.server_is_busy.is_some() || error.stale_command.is_some() {
            return Failure::NotServed(message);
        }
        if error.store_not_match.is_some() {
            self.stores.forget(store);
        }
        self.regions.forget(route);
        Failure::NotServed(message)
    }

    /// The store told which regions hold the range now: no need to ask the placement driver, which may not know yet.
    fn epoch_error(&self, route: &Route, error: errorpb::EpochNotMatch, message: String) -> Failure {
        self.regions.forget(route);
        let current = error.current_regions.into_iter().map(RegionDescriptor::try_from);
        let Ok(current) = current.collect::<Result<Vec<_>, _>>() else {
            return Failure::NotServed(message);
        };
        if current.is_empty() {
            return Failure::NotServed(message);
        }
        for descriptor in current {
            // Siblings are born on the same stores, and their leader most likely is where their parent's was.
            let leader = descriptor.peer_on(route.peer.store_id).copied();
            self.regions.learn(RegionRoute { descriptor, leader });
        }
        Failure::Redirected(message)
    }
}
