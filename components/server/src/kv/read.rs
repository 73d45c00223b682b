//! Raw requests that read single keys, and the two that this store never serves.

use bytes::Bytes;
use engine::RegionSnapshot;
use observe::metrics::server::RequestType;
use proto::kvrpcpb::{
    Context, KvPair, RawBatchGetRequest, RawBatchGetResponse, RawCoprocessorRequest, RawCoprocessorResponse,
    RawGetKeyTtlRequest, RawGetKeyTtlResponse, RawGetRequest, RawGetResponse,
};
use types::limits::{MAX_BATCH_OPERATIONS, MAX_KEY_BYTES};
use types::{ColumnFamily, RequestError};

use super::plan::{Plan, RawRequest, ReadError, Target, column_family, invalid};
use super::scan::Room;

impl RawRequest for RawGetRequest {
    type Response = RawGetResponse;
    const KIND: RequestType = RequestType::RawGet;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    fn plan(self, _: &Target<'_>) -> Result<Plan<RawGetResponse>, RequestError> {
        let family = column_family(&self.cf)?;
        check_key(&self.key)?;
        Ok(Plan::read(1, move |snapshot, found| {
            let value = get(snapshot, family, &self.key)?;
            found.add(&self.key, value.as_ref().map_or(0, Bytes::len));
            let not_found = value.is_none();
            Ok(RawGetResponse { value: value.unwrap_or_default(), not_found, ..RawGetResponse::default() })
        }))
    }
}

impl RawRequest for RawBatchGetRequest {
    type Response = RawBatchGetResponse;
    const KIND: RequestType = RequestType::RawBatchGet;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    /// The pairs that were found, in the order of the keys.
    fn plan(self, _: &Target<'_>) -> Result<Plan<RawBatchGetResponse>, RequestError> {
        let family = column_family(&self.cf)?;
        if self.keys.len() > MAX_BATCH_OPERATIONS {
            let keys = self.keys.len();
            return Err(invalid(format!("{keys} keys are more than the limit of {MAX_BATCH_OPERATIONS}: split them")));
        }
        self.keys.iter().try_for_each(check_key)?;
        Ok(Plan::read(self.keys.len(), move |snapshot, found| {
            let (mut pairs, mut room) = (Vec::new(), Room::default());
            for key in self.keys {
                let value = get(snapshot, family, &key)?;
                found.add(&key, value.as_ref().map_or(0, Bytes::len));
                if let Some(value) = value {
                    room.take(&key, &value)?;
                    pairs.push(KvPair { key, value, ..KvPair::default() });
                }
            }
            Ok(RawBatchGetResponse { pairs, ..RawBatchGetResponse::default() })
        }))
    }
}

/// No such key can have been written, and an answer that repeats it would be larger than the request.
fn check_key(key: &Bytes) -> Result<(), RequestError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(invalid(format!("a key of {} bytes is longer than the limit of {MAX_KEY_BYTES}", key.len())));
    }
    Ok(())
}

/// A snapshot shows the whole store: a key outside of the region is somebody else's to answer for.
fn get(snapshot: &RegionSnapshot, family: ColumnFamily, key: &Bytes) -> Result<Option<Bytes>, ReadError> {
    let region = &snapshot.descriptor;
    if !region.range.contains(key) {
        let (key, range) = (key.clone(), region.range.clone());
        return Err(RequestError::KeyNotInRegion { key, region: region.id, range }.into());
    }
    Ok(snapshot.user_value(family, key)?)
}

impl RawRequest for RawGetKeyTtlRequest {
    type Response = RawGetKeyTtlResponse;
    const KIND: RequestType = RequestType::RawGetKeyTtl;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    fn plan(self, _: &Target<'_>) -> Result<Plan<RawGetKeyTtlResponse>, RequestError> {
        Err(invalid("ttl is not enabled, keys have no ttl to get"))
    }
}

impl RawRequest for RawCoprocessorRequest {
    type Response = RawCoprocessorResponse;
    const KIND: RequestType = RequestType::Other;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    fn plan(self, _: &Target<'_>) -> Result<Plan<RawCoprocessorResponse>, RequestError> {
        Err(invalid(format!("raw coprocessor {:?} is not known: this store has no coprocessors", self.copr_name)))
    }
}
