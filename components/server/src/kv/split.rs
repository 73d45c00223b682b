//! `SplitRegion`: clients cut regions where they know that load will come.

use bytes::{BufMut, Bytes, BytesMut};
use proto::convert::Refusal;
use proto::kvrpcpb::{KeyError, SplitRegionRequest, SplitRegionResponse};
use proto::metapb;
use region::Role;
use store::{RegionView, StoreHandle};
use types::{RegionDescriptor, RequestError, RequestHeader};

use super::evaluate::Evaluator;
use super::header::request_header;
use crate::moves::Splits;

/// Keys of transactions are written in groups of so many bytes.
const GROUP: usize = 8;

/// What a full group is followed by; each byte that is missing from the last one takes one away.
const MARKER: u8 = 0xFF;

/// Splits a region as a client asks.
pub(super) async fn split(evaluator: &Evaluator, splits: &Splits, request: SplitRegionRequest) -> SplitRegionResponse {
    match try_split(evaluator, splits, request).await {
        Ok(regions) => {
            let regions: Vec<metapb::Region> = regions.iter().map(metapb::Region::from).collect();
            // Older clients know of two regions.
            let ends = (regions.len() > 1).then(|| (regions[0].clone(), regions[regions.len() - 1].clone()));
            let (left, right) = ends.unzip();
            #[allow(deprecated)]
            SplitRegionResponse { left, right, regions, ..SplitRegionResponse::default() }
        }
        Err(error) => refused(&error),
    }
}

async fn try_split(
    evaluator: &Evaluator,
    splits: &Splits,
    request: SplitRegionRequest,
) -> Result<Vec<RegionDescriptor>, RequestError> {
    let _place = evaluator.admit()?;
    let store = evaluator.store();
    let header = request_header(request.context.as_ref(), store.ident().store)?;
    let view = led(store, &header)?;
    // Older clients name one key.
    let mut keys = request.split_keys;
    if keys.is_empty() && !request.split_key.is_empty() {
        keys.push(request.split_key);
    }
    if !request.is_raw_kv {
        keys = keys.iter().map(|key| encode(key)).collect();
    }
    splits.split(&view.descriptor, keys).await
}

/// The region that the request means, if this store leads it as the client knows it.
fn led(store: &StoreHandle, header: &RequestHeader) -> Result<RegionView, RequestError> {
    let region = header.region_id;
    let view = store.region(region).ok_or(RequestError::RegionNotFound { region })?;
    if view.role != Role::Leader {
        return Err(RequestError::NotLeader { region, leader: view.leader });
    }
    if let Some(requested) = header.peer_id.filter(|peer| *peer != view.peer.id) {
        return Err(RequestError::MismatchPeerId { requested, actual: view.peer.id });
    }
    if view.descriptor.epoch.version != header.epoch.version {
        return Err(RequestError::EpochNotMatch { region, current: vec![(*view.descriptor).clone()] });
    }
    Ok(view)
}

fn refused(error: &RequestError) -> SplitRegionResponse {
    match Refusal::from(error) {
        Refusal::Region(error) => SplitRegionResponse { region_error: Some(error), ..Default::default() },
        Refusal::Text(abort) => {
            SplitRegionResponse { errors: vec![KeyError { abort, ..KeyError::default() }], ..Default::default() }
        }
    }
}

/// A key of a transaction as region boundaries have it (wire.md A0): groups of eight bytes, the last one filled up with
/// zeros, each with a marker behind it that says how much of it is the key's. So keys sort as before, whatever is appended.
fn encode(key: &[u8]) -> Bytes {
    let mut encoded = BytesMut::with_capacity((key.len() / GROUP + 1) * (GROUP + 1));
    let (groups, rest) = key.as_chunks::<GROUP>();
    for group in groups {
        encoded.put_slice(group);
        encoded.put_u8(MARKER);
    }
    let missing = GROUP - rest.len();
    encoded.put_slice(rest);
    encoded.put_bytes(0, missing);
    encoded.put_u8(MARKER - missing as u8);
    encoded.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_transactions_are_written_in_groups() {
        assert_eq!(&encode(b"")[..], [0, 0, 0, 0, 0, 0, 0, 0, 247]);
        assert_eq!(&encode(&[1, 2, 3])[..], [1, 2, 3, 0, 0, 0, 0, 0, 250]);
        assert_eq!(&encode(&[1, 2, 3, 0])[..], [1, 2, 3, 0, 0, 0, 0, 0, 251]);
        let full = [1, 2, 3, 4, 5, 6, 7, 8, 255, 0, 0, 0, 0, 0, 0, 0, 0, 247];
        assert_eq!(&encode(&[1, 2, 3, 4, 5, 6, 7, 8])[..], full);
        let keys: [&[u8]; 7] = [b"", b"\0", b"a", b"a\0", b"abcdefgh", b"abcdefgh\0", b"abcdefgi"];
        assert!(keys.map(encode).is_sorted());
    }
}
