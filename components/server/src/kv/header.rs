//! What a request says about the region that it is meant for, in the order of wire.md A0.

use proto::kvrpcpb::{ApiVersion, Context};
use types::{ClusterId, PeerId, RegionEpoch, RegionId, RequestError, RequestHeader, StoreId, Term};

/// The request was sent to another cluster. Not a region's error: nobody may repeat it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request for cluster {requested} reached cluster {actual}: check the addresses of the placement driver")]
pub(super) struct WrongCluster {
    requested: ClusterId,
    actual: ClusterId,
}

/// Checks the cluster, where the request names one.
pub(super) fn check_cluster(context: Option<&Context>, actual: ClusterId) -> Result<(), WrongCluster> {
    let requested = ClusterId(context.map_or(0, |context| context.cluster_id));
    if requested == ClusterId(0) || requested == actual { Ok(()) } else { Err(WrongCluster { requested, actual }) }
}

/// Checks the store, and gives what the region checks in its turn. A request without a context names region 0,
/// which nobody has.
///
/// # Errors
/// `StoreNotMatch`; `Invalid` for another layout of keys than API V1.
pub(super) fn request_header(context: Option<&Context>, store: StoreId) -> Result<RequestHeader, RequestError> {
    let Some(context) = context else {
        return Ok(RequestHeader::default());
    };
    if let Some(peer) = &context.peer
        && peer.store_id != store.0
    {
        return Err(RequestError::StoreNotMatch { requested: StoreId(peer.store_id), actual: store });
    }
    check_api_version(context.api_version)?;
    let epoch = context.region_epoch.unwrap_or_default();
    Ok(RequestHeader {
        region_id: RegionId(context.region_id),
        peer_id: context.peer.map(|peer| PeerId(peer.id)),
        term: (context.term != 0).then_some(Term(context.term)),
        epoch: RegionEpoch { conf_ver: epoch.conf_ver, version: epoch.version },
    })
}

fn check_api_version(version: i32) -> Result<(), RequestError> {
    match ApiVersion::try_from(version) {
        Ok(ApiVersion::V1) => Ok(()),
        Ok(other) => {
            let reason = format!("API version {other:?} is not served: this store holds keys of API V1");
            Err(RequestError::Invalid { reason })
        }
        Err(_) => Err(RequestError::Invalid { reason: format!("API version number {version} is unknown: use V1 (0)") }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proto::metapb;

    use super::*;

    fn context() -> Context {
        Context {
            region_id: 7,
            region_epoch: Some(metapb::RegionEpoch { conf_ver: 2, version: 3 }),
            peer: Some(metapb::Peer { id: 8, store_id: 1, ..Default::default() }),
            term: 5,
            ..Default::default()
        }
    }

    #[test]
    fn everything_that_is_said_is_passed_on() {
        let header = request_header(Some(&context()), StoreId(1)).unwrap();
        let epoch = RegionEpoch { conf_ver: 2, version: 3 };
        let expected = RequestHeader { region_id: RegionId(7), peer_id: Some(PeerId(8)), term: Some(Term(5)), epoch };
        assert_eq!(header, expected);
    }

    #[test]
    fn what_is_not_said_is_not_invented() {
        assert_eq!(request_header(None, StoreId(1)), Ok(RequestHeader::default()));
        let silent = Context { peer: None, term: 0, ..context() };
        let header = request_header(Some(&silent), StoreId(1)).unwrap();
        assert_eq!((header.peer_id, header.term), (None, None));
    }

    #[test]
    fn another_store_comes_before_another_layout() {
        let context = Context { api_version: ApiVersion::V2 as i32, ..context() };
        assert!(matches!(request_header(Some(&context), StoreId(2)), Err(RequestError::StoreNotMatch { .. })));
        assert!(matches!(request_header(Some(&context), StoreId(1)), Err(RequestError::Invalid { .. })));
        let unknown = Context { api_version: 77, ..context };
        assert!(matches!(request_header(Some(&unknown), StoreId(1)), Err(RequestError::Invalid { .. })));
    }

    #[test]
    fn a_cluster_that_is_not_named_is_not_checked() {
        let named = |cluster_id| Context { cluster_id, ..context() };
        assert_eq!(check_cluster(None, ClusterId(9)), Ok(()));
        assert_eq!(check_cluster(Some(&named(0)), ClusterId(9)), Ok(()));
        assert_eq!(check_cluster(Some(&named(9)), ClusterId(9)), Ok(()));
        assert!(check_cluster(Some(&named(8)), ClusterId(9)).is_err());
    }
}
