//! gRPC's health check: healthy is a coordinator that leads. `Watch` is left out, which watchers must expect.

use proto::grpc::health::v1::health_check_response::ServingStatus;
use proto::grpc::health::v1::health_server::Health;
use proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};
use tonic::{Request, Response, Status};

use super::bridge::Bridge;

/// The services whose health can be asked for; the empty name stands for all of them.
const SERVICES: [&str; 2] = ["", "pdpb.PD"];

/// The health of the placement driver's port.
pub(super) struct HealthService(pub(super) Bridge);

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found(format!("service {service:?} is not served here")));
        }
        let serves = self.0.cluster().await.is_ok();
        let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }
}
