//! The way from a call to the coordinator and back.
//!
//! The coordinator answers by callbacks on whatever thread it is stepped; each call waits for its own through a channel
//! of one, so no thread of the runtime ever blocks. A client that went away drops its end, and the answer with it.

use std::sync::Arc;

use coordinator::{Coordinator, CoordinatorError, Reply, Request, Surroundings, View};
use observe::CoordinatorMetrics;
use observe::metrics::coordinator::CoordinatorRequest;
use slog::Logger;
use tokio::sync::{oneshot, watch};
use types::{ClusterId, Instant};

use super::member::Member;

/// What all services share; cheap to clone.
#[derive(Clone)]
pub(super) struct Bridge(Arc<Shared>);

struct Shared {
    coordinator: Coordinator,
    member: Member,
    around: Surroundings,
    /// Becomes true when the streams must end.
    closing: watch::Sender<bool>,
}

impl Bridge {
    pub(super) fn new(coordinator: Coordinator, member: Member, around: Surroundings) -> Self {
        Self(Arc::new(Shared { coordinator, member, around, closing: watch::Sender::new(false) }))
    }

    pub(super) fn member(&self) -> &Member {
        &self.0.member
    }

    fn metrics(&self) -> &CoordinatorMetrics {
        &self.0.around.metrics
    }

    pub(super) fn logger(&self) -> &Logger {
        &self.0.around.logger
    }

    fn now(&self) -> Instant {
        self.0.around.clock.now()
    }

    /// The time of day, in milliseconds since the Unix epoch.
    pub(super) fn unix_ms(&self) -> u64 {
        self.0.around.wall_clock.unix_ms()
    }

    /// Asks the coordinator for something and waits for its answer.
    pub(super) async fn ask<T, R>(&self, make: impl FnOnce(Reply<T>) -> R) -> Result<T, CoordinatorError>
    where
        T: Send + 'static,
        R: Into<Request>,
    {
        let (tell, told) = oneshot::channel();
        // Nobody listens any more when the client went away.
        let reply = Reply::new(move |outcome| drop(tell.send(outcome)));
        self.0.coordinator.request(make(reply));
        told.await.unwrap_or(Err(CoordinatorError::Undetermined))
    }

    /// Looks at the coordinator's state. `look` runs while the coordinator stands still: it takes what it needs, and
    /// leaves conversions to afterwards.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(View<'_>) -> Result<T, CoordinatorError> + Send + 'static,
    ) -> Result<T, CoordinatorError> {
        let (tell, told) = oneshot::channel();
        self.0.coordinator.query(move |view| drop(tell.send(view.and_then(look))));
        // A coordinator that is lost drops the question.
        told.await.unwrap_or(Err(CoordinatorError::NotLeader))
    }

    /// The cluster, which only a coordinator that leads knows for sure.
    pub(super) async fn cluster(&self) -> Result<ClusterId, CoordinatorError> {
        self.look(|view| Ok(view.cluster_id())).await
    }

    /// Ends all streams, those to come included.
    pub(super) fn close(&self) {
        self.0.closing.send_replace(true);
    }

    /// Waits until the streams must end.
    pub(super) async fn closed(self) {
        let mut closing = self.0.closing.subscribe();
        // An error would mean that the sender is gone, which `self` holds.
        drop(closing.wait_for(|closing| *closing).await);
    }

    /// Counts a request until the measure is dropped.
    pub(super) fn measure(&self, kind: CoordinatorRequest) -> Measure {
        self.metrics().in_flight[kind].inc();
        Measure { bridge: self.clone(), kind, begun: self.now() }
    }
}

/// A request that is being answered.
pub(super) struct Measure {
    bridge: Bridge,
    kind: CoordinatorRequest,
    begun: Instant,
}

impl Measure {
    pub(super) fn failed(&self) {
        self.bridge.metrics().failures[self.kind].inc();
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        let metrics = self.bridge.metrics();
        let lasted = self.bridge.now().since(self.begun);
        metrics.request_duration[self.kind].observe(lasted.as_secs_f64());
        metrics.in_flight[self.kind].dec();
    }
}
