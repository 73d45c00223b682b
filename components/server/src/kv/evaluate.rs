//! Carries out what a request comes to, for single calls and for streams alike.

use std::sync::Arc;
use std::time::Instant;

use observe::ServerMetrics;
use observe::metrics::server::RequestType;
use proto::convert::Refusal;
use proto::kvrpcpb::Context;
use slog::{Logger, error};
use store::{StoreHandle, StoreState};
use tokio::sync::Semaphore;
use types::{ClusterId, RegionId, RequestError, RequestHeader, Responder, StoreId};

use super::KvConfig;
use super::admission::{Admission, Ticket};
use super::header::{WrongCluster, check_cluster, request_header};
use super::plan::{Found, Plan, RawRequest, RawResponse, ReadError, Target};

/// An answer, as far as the store's threads have brought it. What is left is a read of the state engine, which must not
/// keep them: whoever waits for the answer does it.
pub(super) enum Answer<T> {
    /// Nothing is left to do.
    Ready(T),
    /// It is soon done.
    Quick(Rest<T>),
    /// It is done on a thread of its own, by [`Evaluator::run_long`].
    Long(Rest<T>),
}

/// What is left to do for an answer.
pub(super) type Rest<T> = Box<dyn FnOnce() -> T + Send>;

/// Carries requests out.
pub(super) struct Evaluator {
    store: StoreHandle,
    cluster_id: ClusterId,
    store_id: StoreId,
    pub(super) config: KvConfig,
    pub(super) metrics: Arc<ServerMetrics>,
    logger: Logger,
    admission: Arc<Admission>,
    long_reads: Arc<Semaphore>,
}

impl Evaluator {
    pub(super) fn new(store: StoreHandle, config: KvConfig, metrics: Arc<ServerMetrics>, logger: Logger) -> Self {
        let ident = store.ident();
        Self {
            store,
            cluster_id: ident.cluster,
            store_id: ident.store,
            config,
            metrics,
            logger,
            admission: Arc::new(Admission::new(&config)),
            long_reads: Arc::new(Semaphore::new(config.max_long_reads.max(1))),
        }
    }

    /// Sets a request going. `deliver` gets its answer, wrapped, once: at once, or later on a thread of the store.
    ///
    /// # Errors
    /// When the request is for another cluster; `deliver` is not called then.
    pub(super) fn evaluate<C: RawRequest, T: 'static>(
        self: &Arc<Self>,
        request: C,
        wrap: fn(C::Response) -> T,
        deliver: impl FnOnce(Answer<T>) + Send + 'static,
    ) -> Result<(), WrongCluster> {
        self.check_cluster(request.context())?;
        let mut asked = Asked::new(self, C::KIND);
        let (header, plan) = match self.prepare(request) {
            Ok((header, plan, ticket)) => {
                asked.ticket = Some(ticket);
                (header, plan)
            }
            Err(error) => {
                deliver(Answer::Ready(wrap(asked.refuse(&error))));
                return Ok(());
            }
        };
        let (read, long) = match plan {
            Plan::Write(command, answer) => {
                let responder = Responder::new(move |result: types::WriteResult| {
                    let response = match result {
                        Ok(output) => asked.served(answer(output)),
                        Err(error) => {
                            let error = asked.evaluator.send_away(header.region_id, error);
                            asked.refuse(&error)
                        }
                    };
                    deliver(Answer::Ready(wrap(response)));
                });
                self.store.write(header, command, responder);
                return Ok(());
            }
            Plan::Quick(read) => (read, false),
            Plan::Long(read) => (read, true),
        };
        let responder = Responder::new(move |snapshot: Result<engine::RegionSnapshot, RequestError>| match snapshot {
            Err(error) => {
                let error = match error {
                    // A read that nobody answered had no effect: another store may answer it.
                    RequestError::Undetermined { .. } => not_here(header.region_id),
                    other => asked.evaluator.send_away(header.region_id, other),
                };
                deliver(Answer::Ready(wrap(asked.refuse(&error))));
            }
            Ok(snapshot) => {
                let rest: Rest<T> = Box::new(move || {
                    let mut found = Found::default();
                    let read = read(&snapshot, &mut found);
                    if let Some(range) = found.range() {
                        let store = &asked.evaluator.store;
                        store.note_read(header.region_id, &range, found.keys, found.bytes);
                    }
                    wrap(match read {
                        Ok(response) => asked.served(response),
                        Err(error) => asked.read_failed(error),
                    })
                });
                deliver(if long { Answer::Long(rest) } else { Answer::Quick(rest) });
            }
        });
        self.store.read(header, responder);
        Ok(())
    }

    /// # Errors
    /// When a request is for another cluster.
    pub(super) fn check_cluster(&self, context: Option<&Context>) -> Result<(), WrongCluster> {
        check_cluster(context, self.cluster_id)
    }

    /// A place among the requests that the store works on.
    ///
    /// # Errors
    /// `ServerIsBusy` when there is none.
    pub(super) fn admit(&self) -> Result<Ticket, RequestError> {
        self.admission.admit(0)
    }

    pub(super) fn store(&self) -> &StoreHandle {
        &self.store
    }

    fn prepare<C: RawRequest>(&self, request: C) -> Result<(RequestHeader, Plan<C::Response>, Ticket), RequestError> {
        let header = request_header(request.context(), self.store_id)?;
        let ticket = self.admission.admit(request.write_bytes())?;
        let plan = request.plan(&Target { header: &header, store: &self.store })?;
        Ok((header, plan, ticket))
    }

    /// A store that stops or has failed is not busy, which some clients take for final: others lead its regions soon.
    fn send_away(&self, region: RegionId, error: RequestError) -> RequestError {
        let takes_requests = matches!(self.store.state(), StoreState::Starting | StoreState::Serving);
        match error {
            RequestError::ServerIsBusy { .. } if !takes_requests => not_here(region),
            other => other,
        }
    }

    /// Does what is left of a long read on a thread of its own, when one of those set apart for such reads is free.
    pub(super) fn run_long<T: Send + 'static>(&self, rest: Rest<T>) -> impl Future<Output = T> + Send + 'static {
        let long_reads = Arc::clone(&self.long_reads);
        async move {
            let permit = long_reads.acquire_owned().await.expect("nobody closes the semaphore");
            let done = tokio::task::spawn_blocking(move || {
                // The permit goes with the thread: the request may be cancelled, its read goes on.
                let _permit = permit;
                rest()
            });
            match done.await {
                Ok(answer) => answer,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }

    /// How well the store does, from 1 for well to 100, as `HealthFeedback` tells it.
    pub(super) fn slow_score(&self) -> i32 {
        if self.store.state() == StoreState::Serving { 1 } else { 100 }
    }

    pub(super) fn store_id(&self) -> StoreId {
        self.store_id
    }
}

/// Sends a client elsewhere, without a hint: nobody knows where to.
fn not_here(region: RegionId) -> RequestError {
    RequestError::NotLeader { region, leader: None }
}

/// A request that is not answered yet: its place in the store's bound, and what the metrics count. It ends before the
/// answer leaves, so that a client who looks at the metrics behind its answer finds the request there.
struct Asked {
    evaluator: Arc<Evaluator>,
    kind: RequestType,
    since: Instant,
    ticket: Option<Ticket>,
}

impl Asked {
    fn new(evaluator: &Arc<Evaluator>, kind: RequestType) -> Self {
        evaluator.metrics.in_flight[kind].inc();
        Self { evaluator: Arc::clone(evaluator), kind, since: Instant::now(), ticket: None }
    }

    /// The answer of a request that was served.
    fn served<R>(self, response: R) -> R {
        response
    }

    /// The answer of a request that was not.
    fn refuse<R: RawResponse>(self, error: &RequestError) -> R {
        let metrics = &self.evaluator.metrics;
        let refusal = Refusal::from(error);
        match refusal {
            Refusal::Region(_) => metrics.region_errors[error.into()].inc(),
            Refusal::Text(_) => metrics.failures[self.kind].inc(),
        }
        R::refused(refusal)
    }

    fn read_failed<R: RawResponse>(self, error: ReadError) -> R {
        match error {
            ReadError::Refused(error) => self.refuse(&error),
            ReadError::Engine(error) => {
                error!(self.evaluator.logger, "the state engine cannot be read";
                    "store_id" => self.evaluator.store_id.0, "code" => error.code().0, "error" => %error);
                self.refuse(&RequestError::Undetermined { reason: "the data cannot be read, see the store's log" })
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let metrics = &self.evaluator.metrics;
        metrics.in_flight[self.kind].dec();
        metrics.request_duration[self.kind].observe(self.since.elapsed().as_secs_f64());
    }
}
