//! Raw requests that write: one command each, atomic within its region.

use bytes::Bytes;
use observe::metrics::server::RequestType;
use proto::kvrpcpb::{
    Context, RawBatchDeleteRequest, RawBatchDeleteResponse, RawBatchPutRequest, RawBatchPutResponse, RawCasRequest,
    RawCasResponse, RawDeleteRangeRequest, RawDeleteRangeResponse, RawDeleteRequest, RawDeleteResponse, RawPutRequest,
    RawPutResponse,
};
use types::{CommandOutput, KeyRange, RequestError};

use super::plan::{Plan, RawRequest, Target, column_family, invalid};

/// What the ecosystem's stores answer; clients show it as it is.
const NO_TTL: &str = "ttl is not enabled, but get put request with ttl";

fn refuse_ttl(ttl: u64) -> Result<(), RequestError> {
    if ttl == 0 { Ok(()) } else { Err(invalid(NO_TTL)) }
}

fn total(parts: impl Iterator<Item = usize>) -> usize {
    parts.fold(0, usize::saturating_add)
}

// `for_cas` asks for a write that is ordered with compare-and-swaps: every write is, by the region's log.

impl RawRequest for RawPutRequest {
    type Response = RawPutResponse;
    const KIND: RequestType = RequestType::RawPut;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    fn write_bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }

    fn plan(self, _: &Target<'_>) -> Result<Plan<RawPutResponse>, RequestError> {
        refuse_ttl(self.ttl)?;
        let put = apply::build::put(column_family(&self.cf)?, self.key, self.value);
        Ok(Plan::Write(apply::build::batch(vec![put]), |_| RawPutResponse::default()))
    }
}

impl RawRequest for RawBatchPutRequest {
    type Response = RawBatchPutResponse;
    const KIND: RequestType = RequestType::RawBatchPut;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    fn write_bytes(&self) -> usize {
        total(self.pairs.iter().map(|pair| pair.key.len() + pair.value.len()))
    }

    fn plan(self, _: &Target<'_>) -> Result<Plan<RawBatchPutResponse>, RequestError> {
        // `ttl` is what old clients send, for all pairs.
        self.ttls.iter().copied().chain([self.ttl]).try_for_each(refuse_ttl)?;
        let family = column_family(&self.cf)?;
        let puts = self.pairs.into_iter().map(|pair| apply::build::put(family, pair.key, pair.value));
        Ok(Plan::Write(apply::build::batch(puts.collect()), |_| RawBatchPutResponse::default()))
    }
}

impl RawRequest for RawDeleteRequest {
    type Response = RawDeleteResponse;
    const KIND: RequestType = RequestType::RawDelete;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    fn write_bytes(&self) -> usize {
        self.key.len()
    }

    fn plan(self, _: &Target<'_>) -> Result<Plan<RawDeleteResponse>, RequestError> {
        let delete = apply::build::delete(column_family(&self.cf)?, self.key);
        Ok(Plan::Write(apply::build::batch(vec![delete]), |_| RawDeleteResponse::default()))
    }
}

impl RawRequest for RawBatchDeleteRequest {
    type Response = RawBatchDeleteResponse;
    const KIND: RequestType = RequestType::RawBatchDelete;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    fn write_bytes(&self) -> usize {
        total(self.keys.iter().map(Bytes::len))
    }

    fn plan(self, _: &Target<'_>) -> Result<Plan<RawBatchDeleteResponse>, RequestError> {
        let family = column_family(&self.cf)?;
        let deletes = self.keys.into_iter().map(|key| apply::build::delete(family, key));
        Ok(Plan::Write(apply::build::batch(deletes.collect()), |_| RawBatchDeleteResponse::default()))
    }
}

impl RawRequest for RawDeleteRangeRequest {
    type Response = RawDeleteRangeResponse;
    const KIND: RequestType = RequestType::RawDeleteRange;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    fn write_bytes(&self) -> usize {
        self.start_key.len() + self.end_key.len()
    }

    /// An open end means the end of the region. Where the store does not know the region as the client does, the end
    /// stays open, and the region refuses by its epoch.
    fn plan(self, target: &Target<'_>) -> Result<Plan<RawDeleteRangeResponse>, RequestError> {
        let family = column_family(&self.cf)?;
        let mut range = KeyRange::new(self.start_key, self.end_key);
        if range.end.is_empty()
            && let Some(region) = target.range()
        {
            range.end = region.end;
        }
        let delete = apply::build::delete_range(family, range);
        Ok(Plan::Write(apply::build::batch(vec![delete]), |_| RawDeleteRangeResponse::default()))
    }
}

impl RawRequest for RawCasRequest {
    type Response = RawCasResponse;
    const KIND: RequestType = RequestType::RawCompareAndSwap;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    fn write_bytes(&self) -> usize {
        self.key.len() + self.value.len() + self.previous_value.len()
    }

    fn plan(self, _: &Target<'_>) -> Result<Plan<RawCasResponse>, RequestError> {
        refuse_ttl(self.ttl)?;
        let expected = (!self.previous_not_exist).then_some(self.previous_value);
        let value = (!self.delete).then_some(self.value);
        let command = apply::build::compare_and_swap(column_family(&self.cf)?, self.key, expected, value);
        Ok(Plan::Write(command, compared))
    }
}

/// # Panics
/// When a compare-and-swap was answered as something else, after which no answer can be trusted.
fn compared(output: CommandOutput) -> RawCasResponse {
    let CommandOutput::Compared { swapped, previous } = output else {
        panic!("a compare-and-swap was answered as {output:?}");
    };
    RawCasResponse {
        succeed: swapped,
        previous_not_exist: previous.is_none(),
        previous_value: previous.unwrap_or_default(),
        ..RawCasResponse::default()
    }
}
