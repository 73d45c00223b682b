//! Small services that TiKV's clients ask at their start.

use bytes::Bytes;
use coordinator::View;
use observe::metrics::coordinator::CoordinatorRequest;
use proto::etcdserverpb::cluster_server::Cluster;
use proto::etcdserverpb::kv_server::Kv;
use proto::etcdserverpb::{KeyValue, MemberListRequest, MemberListResponse, RangeRequest, RangeResponse};
use proto::keyspacepb::keyspace_server::Keyspace;
use proto::keyspacepb::{KeyspaceMeta, KeyspaceState, LoadKeyspaceRequest, LoadKeyspaceResponse};
use proto::meta_storagepb::meta_storage_server::MetaStorage;
use proto::pdpb::ErrorType;
use proto::{etcdserverpb, meta_storagepb};
use tonic::{Request, Response, Status};

use super::bridge::Bridge;
use super::call::check_cluster_id;
use super::refusal::{Refusal, status};

/// The one keyspace that there is, and its id.
const DEFAULT_KEYSPACE: (&str, u32) = ("DEFAULT", 0);

/// Where transactional clients look for the safe point: transactions that began before it must not read.
const SAFE_POINT_KEY: &[u8] = b"/tidb/store/gcworker/saved_safe_point";

/// There is one revision of everything: clients that compare revisions never see one go back.
const REVISION: i64 = 1;

/// Keyspaces by name.
pub(super) struct KeyspaceService(pub(super) Bridge);

#[tonic::async_trait]
impl Keyspace for KeyspaceService {
    async fn load_keyspace(
        &self,
        request: Request<LoadKeyspaceRequest>,
    ) -> Result<Response<LoadKeyspaceResponse>, Status> {
        self.0.call(CoordinatorRequest::Other, request, load_keyspace).await
    }
}

async fn load_keyspace(_: Bridge, request: LoadKeyspaceRequest) -> Result<LoadKeyspaceResponse, Refusal> {
    let (name, id) = DEFAULT_KEYSPACE;
    if request.name != name {
        let message = format!("keyspace {:?} is unknown: there is only {name:?}", request.name);
        return Err(Refusal::header(ErrorType::EntryNotFound, message));
    }
    let keyspace = KeyspaceMeta {
        id: Some(id),
        name: name.to_owned(),
        state: KeyspaceState::Enabled.into(),
        ..Default::default()
    };
    Ok(LoadKeyspaceResponse { keyspace: Some(keyspace), ..Default::default() })
}

/// The placement driver's key-value store, in which nothing is kept.
pub(super) struct MetaStorageService(pub(super) Bridge);

#[tonic::async_trait]
impl MetaStorage for MetaStorageService {
    /// client-go sends no header here, so a request need not name its cluster.
    async fn get(
        &self,
        request: Request<meta_storagepb::GetRequest>,
    ) -> Result<Response<meta_storagepb::GetResponse>, Status> {
        let measure = self.0.measure(CoordinatorRequest::MetaStorage);
        let cluster = self.0.cluster().await.inspect_err(|_| measure.failed()).map_err(|error| status(&error))?;
        if let Some(header) = request.get_ref().header.as_ref().filter(|header| header.cluster_id != 0) {
            check_cluster_id(header.cluster_id, cluster).inspect_err(|_| measure.failed())?;
        }
        let header = meta_storagepb::ResponseHeader { cluster_id: cluster.0, revision: REVISION };
        Ok(Response::new(meta_storagepb::GetResponse { header: Some(header), more: false, count: 0 }))
    }
}

/// Two calls of etcd.
pub(super) struct EtcdService(pub(super) Bridge);

impl EtcdService {
    fn header(&self, view: &View<'_>) -> etcdserverpb::ResponseHeader {
        etcdserverpb::ResponseHeader {
            cluster_id: view.cluster_id().0,
            member_id: self.0.member().id(),
            revision: REVISION,
            raft_term: view.term().0,
        }
    }
}

/// Whether a range of etcd's holds the safe point's key: no end means this key alone, a zero byte no upper bound.
fn holds_safe_point(range: &RangeRequest) -> bool {
    match &range.range_end[..] {
        [] => range.key == SAFE_POINT_KEY,
        [0] => &range.key[..] <= SAFE_POINT_KEY,
        end => &range.key[..] <= SAFE_POINT_KEY && SAFE_POINT_KEY < end,
    }
}

#[tonic::async_trait]
impl Kv for EtcdService {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let measure = self.0.measure(CoordinatorRequest::MetaStorage);
        let asked = holds_safe_point(request.get_ref());
        let service = Self(self.0.clone());
        let look = move |view: View<'_>| Ok((service.header(&view), view.safe_points().txn));
        let looked = self.0.look(look).await.inspect_err(|_| measure.failed());
        let (header, safe_point) = looked.map_err(|error| status(&error))?;
        // As in etcd, what was never set is not there.
        let kvs: Vec<KeyValue> = (asked && safe_point > 0).then(|| key_value(safe_point)).into_iter().collect();
        Ok(Response::new(RangeResponse { header: Some(header), count: kvs.len() as i64, kvs, more: false }))
    }
}

fn key_value(safe_point: u64) -> KeyValue {
    KeyValue {
        key: Bytes::from_static(SAFE_POINT_KEY),
        create_revision: REVISION,
        mod_revision: REVISION,
        version: 1,
        value: safe_point.to_string().into(),
        lease: 0,
    }
}

#[tonic::async_trait]
impl Cluster for EtcdService {
    async fn member_list(&self, _: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        let measure = self.0.measure(CoordinatorRequest::Members);
        let service = Self(self.0.clone());
        let looked = self.0.look(move |view| Ok(service.header(&view))).await.inspect_err(|_| measure.failed());
        let header = looked.map_err(|error| status(&error))?;
        Ok(Response::new(MemberListResponse { header: Some(header), members: vec![self.0.member().to_etcd()] }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_the_safe_point_or_not() {
        let holds = |key: &'static [u8], range_end: &'static [u8]| {
            holds_safe_point(&RangeRequest { key: key.into(), range_end: range_end.into(), ..Default::default() })
        };
        assert!(holds(SAFE_POINT_KEY, b"") && holds(SAFE_POINT_KEY, b"\0") && holds(b"/tidb/", b"/tidb0"));
        assert!(!holds(b"/tidb/", b"") && !holds(b"/tidb/", SAFE_POINT_KEY) && !holds(b"/z", b"\0"));
    }
}
