//! Health checks, over a socket.

use crate::support::{PATIENCE, TestStore};
use engine::memory::{Fault, FaultPoint};
use futures::StreamExt;
use proto::grpc::health::v1::HealthCheckRequest;
use proto::grpc::health::v1::health_check_response::ServingStatus;
use proto::kvrpcpb::RawPutRequest;
use tonic::Code;

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn a_store_is_healthy_while_it_serves() {
    let mut store = TestStore::start(&[]).await;
    let mut health = store.health().await;
    for service in ["", "tikvpb.Tikv"] {
        assert_eq!(health.check(request(service)).await.unwrap().into_inner().status(), ServingStatus::Serving);
    }
    store.stop();
    for service in ["", "tikvpb.Tikv"] {
        assert_eq!(health.check(request(service)).await.unwrap().into_inner().status(), ServingStatus::NotServing);
    }
    assert_eq!(health.check(request("pdpb.PD")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn who_watches_is_told_of_a_failure() {
    let store = TestStore::start(&[]).await;
    let mut health = store.health().await;
    let mut statuses = health.watch(request("")).await.unwrap().into_inner();
    assert_eq!(statuses.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    store.disk.inject(FaultPoint::LogSync, 1, Fault::Io);
    let put = RawPutRequest { context: store.context("k"), ..Default::default() };
    store.client().await.raw_put(put).await.unwrap();
    let next = tokio::time::timeout(PATIENCE, statuses.next()).await.unwrap();
    assert_eq!(next.unwrap().unwrap().status(), ServingStatus::NotServing);
    let mut unknown = health.watch(request("nobody")).await.unwrap().into_inner();
    assert_eq!(unknown.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
}
