//! What clients ask beside the placement driver's own calls.

use proto::etcdserverpb::cluster_client::ClusterClient;
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::{MemberListRequest, RangeRequest};
use proto::grpc::health::v1::HealthCheckRequest;
use proto::grpc::health::v1::health_check_response::ServingStatus;
use proto::grpc::health::v1::health_client::HealthClient;
use proto::keyspacepb::keyspace_client::KeyspaceClient;
use proto::keyspacepb::{KeyspaceState, LoadKeyspaceRequest};
use proto::meta_storagepb;
use proto::meta_storagepb::meta_storage_client::MetaStorageClient;
use proto::pdpb::ErrorType;
use tonic::Code;

use crate::common::{CLUSTER, Port, header, outcome, refused_as, soon};

#[tokio::test(flavor = "multi_thread")]
async fn there_is_the_default_keyspace_and_no_other() {
    let port = Port::start().await;
    let mut client = KeyspaceClient::new(port.channel().await);
    let load = |name: &str| LoadKeyspaceRequest { header: header(), name: name.to_owned() };
    let answer = soon(client.load_keyspace(load("DEFAULT"))).await.unwrap().into_inner();
    outcome(answer.header).unwrap();
    let keyspace = answer.keyspace.unwrap();
    assert_eq!((keyspace.id, keyspace.name.as_str(), keyspace.state()), (Some(0), "DEFAULT", KeyspaceState::Enabled));
    let other = soon(client.load_keyspace(load("other"))).await.unwrap().into_inner();
    assert_eq!(refused_as(other.header), ErrorType::EntryNotFound);
    let stranger = soon(client.load_keyspace(LoadKeyspaceRequest { header: None, ..load("DEFAULT") })).await;
    assert_eq!(stranger.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_meta_storage_is_empty() {
    let port = Port::start().await;
    let mut client = MetaStorageClient::new(port.channel().await);
    let named = |cluster_id| Some(meta_storagepb::RequestHeader { cluster_id, ..Default::default() });
    for header in [None, named(0), named(CLUSTER)] {
        let request = meta_storagepb::GetRequest { header, key: "resource_group".into(), ..Default::default() };
        let answer = soon(client.get(request)).await.unwrap().into_inner();
        assert_eq!((answer.header.unwrap().cluster_id, answer.count), (CLUSTER, 0));
    }
    let request = meta_storagepb::GetRequest { header: named(CLUSTER + 1), ..Default::default() };
    assert_eq!(soon(client.get(request)).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_as_etcd_does() {
    let port = Port::start().await;
    let mut client = ClusterClient::new(port.channel().await);
    let answer = soon(client.member_list(MemberListRequest::default())).await.unwrap().into_inner();
    assert_eq!(answer.header.unwrap().cluster_id, CLUSTER);
    let [member] = &answer.members[..] else { panic!("{:?}", answer.members) };
    assert_eq!((member.id, member.name.as_str(), &member.client_ur_ls[..]), (77, "pd-1", &[port.address.clone()][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_is_who_leads() {
    let port = Port::start().await;
    let mut client = HealthClient::new(port.channel().await);
    let check = async |client: &mut HealthClient<_>, service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        soon(client.check(request)).await.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
    };
    assert_eq!(check(&mut client, "").await, Ok(ServingStatus::Serving));
    assert_eq!(check(&mut client, "pdpb.PD").await, Ok(ServingStatus::Serving));
    assert_eq!(check(&mut client, "other").await, Err(Code::NotFound));
    let watch = soon(client.watch(HealthCheckRequest::default())).await.unwrap();
    let mut watch = watch.into_inner();
    let mut next = async || soon(watch.message()).await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);
    port.depose();
    assert_eq!(check(&mut client, "").await, Ok(ServingStatus::NotServing));
    assert_eq!(next().await, ServingStatus::NotServing);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_leader_they_are_unavailable() {
    let port = Port::start().await;
    port.depose();
    let channel = port.channel().await;
    let codes = [
        soon(KvClient::new(channel.clone()).range(RangeRequest::default())).await.unwrap_err().code(),
        soon(ClusterClient::new(channel.clone()).member_list(MemberListRequest::default())).await.unwrap_err().code(),
        soon(MetaStorageClient::new(channel.clone()).get(meta_storagepb::GetRequest::default()))
            .await
            .unwrap_err()
            .code(),
        soon(KeyspaceClient::new(channel).load_keyspace(LoadKeyspaceRequest::default())).await.unwrap_err().code(),
    ];
    assert_eq!(codes, [Code::Unavailable; 4]);
}
