//! `grpc.health.v1.Health`. client-go asks it after any failed call, and does not come back to a store without it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{self, BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use proto::grpc::health::v1::health_check_response::ServingStatus;
use proto::grpc::health::v1::health_server::{Health, HealthServer};
use proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};
use store::{StoreHandle, StoreState};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// How often a watched state is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Whether the process serves at this moment.
type Probe = dyn Fn() -> BoxFuture<'static, bool> + Send + Sync;

/// Tells whether the services of a process serve.
#[derive(Clone)]
pub struct HealthService {
    services: &'static [&'static str],
    serves: Arc<Probe>,
}

/// The health of a store: it serves when its state is [`StoreState::Serving`].
pub fn service(store: StoreHandle) -> HealthServer<HealthService> {
    HealthService::new(&["tikvpb.Tikv"], move || store.state() == StoreState::Serving).into_server()
}

impl HealthService {
    /// The health of these services, and of the process as a whole (the empty name), as `serves` finds it.
    pub fn new(services: &'static [&'static str], serves: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self::asking(services, move || future::ready(serves()).boxed())
    }

    /// The same for what has to be asked before it is known.
    pub fn asking(
        services: &'static [&'static str],
        serves: impl Fn() -> BoxFuture<'static, bool> + Send + Sync + 'static,
    ) -> Self {
        Self { services, serves: Arc::new(serves) }
    }

    /// The service as a gRPC server takes it.
    pub fn into_server(self) -> HealthServer<Self> {
        HealthServer::new(self)
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }

    async fn status(&self, service: &str) -> ServingStatus {
        if !self.knows(service) {
            ServingStatus::ServiceUnknown
        } else if (self.serves)().await {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !self.knows(service) {
            let known = self.services;
            return Err(Status::not_found(format!("service {service:?} is not known: ask for one of {known:?}")));
        }
        Ok(Response::new(response(self.status(service).await)))
    }

    /// The state now, and each time that it changes.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<BoxStream<HealthCheckResponse>>, Status> {
        let service = request.into_inner().service;
        let changes = stream::unfold((self.clone(), None), move |(health, last)| {
            let service = service.clone();
            async move {
                let mut status = health.status(&service).await;
                while Some(status) == last {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                    status = health.status(&service).await;
                }
                Some((Ok(response(status)), (health, Some(status))))
            }
        });
        Ok(Response::new(changes.boxed()))
    }
}
