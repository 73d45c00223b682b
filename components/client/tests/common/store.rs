//! A store that serves one shared map.

use std::future::pending;

use bytes::Bytes;
use futures::StreamExt;
use proto::kvrpcpb::{self, Context, KvPair};
use proto::tikvpb::batch_commands_request::request::Cmd as Command;
use proto::tikvpb::batch_commands_response::Response as BatchResponse;
use proto::tikvpb::batch_commands_response::response::Cmd as Reply;
use proto::tikvpb::tikv_server::Tikv;
use proto::tikvpb::{BatchCommandsRequest, BatchCommandsResponse};
use proto::{errorpb, metapb};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};
use types::{KeyRange, Peer, StoreId};

use super::{Fault, Shared, State};

#[derive(Clone)]
pub struct FakeStore {
    id: StoreId,
    state: Shared,
}

impl FakeStore {
    pub fn new(id: u64, state: Shared) -> Self {
        Self { id: id.into(), state }
    }

    /// Serves a request, or fails it on order.
    async fn serve<A>(
        &self,
        command: &str,
        context: Option<Context>,
        refuse: impl FnOnce(Option<errorpb::Error>, String) -> A,
        act: impl FnOnce(&mut State) -> A,
    ) -> Result<A, Status> {
        let (answer, fault) = {
            let mut state = self.state.lock();
            state.asked.push(format!("{} {command}", self.id));
            let fault = state.faults.pop_front();
            match fault {
                Some(Fault::RegionError(error)) => return Ok(refuse(Some(error), String::new())),
                Some(Fault::Text(text)) => return Ok(refuse(None, text.to_owned())),
                _ => {}
            }
            if let Some(error) = self.check(&state, &context.unwrap_or_default()) {
                return Ok(refuse(Some(error), String::new()));
            }
            (act(&mut state), fault)
        };
        match fault {
            Some(Fault::AnswerLost) => Err(Status::unavailable("the answer is lost on order")),
            Some(Fault::Silence) => pending().await,
            _ => Ok(answer),
        }
    }

    /// The checks of a real store, in their order.
    fn check(&self, state: &State, context: &Context) -> Option<errorpb::Error> {
        let mut error = errorpb::Error { message: "checked".to_owned(), ..Default::default() };
        assert_eq!(context.cluster_id, super::CLUSTER);
        let peer = context.peer.unwrap_or_default();
        if peer.store_id != self.id.0 {
            let (request_store_id, actual_store_id) = (peer.store_id, self.id.0);
            error.store_not_match = Some(errorpb::StoreNotMatch { request_store_id, actual_store_id });
            return Some(error);
        }
        let region_id = context.region_id;
        let Some(region) = state.regions.iter().find(|region| region.descriptor.id.0 == region_id) else {
            error.region_not_found = Some(errorpb::RegionNotFound { region_id });
            return Some(error);
        };
        if region.leader.store_id != self.id {
            let leader = Some(region.leader.into());
            error.not_leader = Some(errorpb::NotLeader { region_id, leader });
            return Some(error);
        }
        assert_eq!(Peer::try_from(peer), Ok(region.leader));
        let version = context.region_epoch.unwrap_or_default().version;
        if version != region.descriptor.epoch.version {
            let current = state.regions.iter().map(|region| metapb::Region::from(&region.descriptor));
            error.epoch_not_match = Some(errorpb::EpochNotMatch { current_regions: current.collect() });
            return Some(error);
        }
        None
    }

    async fn command(&self, command: Command) -> Result<Reply, Status> {
        Ok(match command {
            Command::RawGet(request) => Reply::RawGet(self.raw_get(Request::new(request)).await?.into_inner()),
            Command::RawPut(request) => Reply::RawPut(self.raw_put(Request::new(request)).await?.into_inner()),
            Command::RawDelete(request) => Reply::RawDelete(self.raw_delete(Request::new(request)).await?.into_inner()),
            Command::RawScan(request) => Reply::RawScan(self.raw_scan(Request::new(request)).await?.into_inner()),
            Command::RawBatchGet(request) => {
                Reply::RawBatchGet(self.raw_batch_get(Request::new(request)).await?.into_inner())
            }
            Command::RawBatchPut(request) => {
                Reply::RawBatchPut(self.raw_batch_put(Request::new(request)).await?.into_inner())
            }
            other => panic!("no test sends {other:?}"),
        })
    }

    async fn frame(&self, frame: BatchCommandsRequest) -> Result<BatchCommandsResponse, Status> {
        let mut answers = Vec::new();
        for (request, id) in frame.requests.into_iter().zip(frame.request_ids) {
            answers.push((BatchResponse { cmd: Some(self.command(request.cmd.unwrap()).await?) }, id));
        }
        if self.state.lock().reverses_replies {
            answers.reverse();
        }
        let (responses, request_ids) = answers.into_iter().unzip();
        Ok(BatchCommandsResponse { responses, request_ids, ..Default::default() })
    }
}

fn inside<'a>(state: &'a State, range: &'a KeyRange) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Bytes)> {
    state.data.iter().filter(|(key, _)| range.contains(key))
}

/// The part of a range that lies in the request's region.
fn piece(state: &State, context: &Option<Context>, start: Bytes, end: Bytes) -> KeyRange {
    let id = context.as_ref().unwrap().region_id;
    let region = state.regions.iter().find(|region| region.descriptor.id.0 == id).unwrap();
    let range = KeyRange { start, end };
    assert!(region.descriptor.range.encloses(&range), "a piece lies in its region");
    range
}

fn pair(key: &Bytes, value: &Bytes) -> KvPair {
    KvPair { key: key.clone(), value: value.clone(), ..Default::default() }
}

#[tonic::async_trait]
impl Tikv for FakeStore {
    async fn raw_get(
        &self,
        request: Request<kvrpcpb::RawGetRequest>,
    ) -> Result<Response<kvrpcpb::RawGetResponse>, Status> {
        let request = request.into_inner();
        let refuse = |region_error, error| kvrpcpb::RawGetResponse {
            region_error,
            error,
            not_found: true,
            ..Default::default()
        };
        let act = |state: &mut State| {
            let value = state.data.get(&request.key).cloned();
            let not_found = value.is_none();
            kvrpcpb::RawGetResponse { value: value.unwrap_or_default(), not_found, ..Default::default() }
        };
        Ok(Response::new(self.serve("get", request.context, refuse, act).await?))
    }

    async fn raw_put(
        &self,
        request: Request<kvrpcpb::RawPutRequest>,
    ) -> Result<Response<kvrpcpb::RawPutResponse>, Status> {
        let request = request.into_inner();
        let refuse = |region_error, error| kvrpcpb::RawPutResponse { region_error, error };
        let act = |state: &mut State| {
            state.writes += 1;
            state.data.insert(request.key, request.value);
            kvrpcpb::RawPutResponse::default()
        };
        Ok(Response::new(self.serve("put", request.context, refuse, act).await?))
    }

    async fn raw_delete(
        &self,
        request: Request<kvrpcpb::RawDeleteRequest>,
    ) -> Result<Response<kvrpcpb::RawDeleteResponse>, Status> {
        let request = request.into_inner();
        let refuse = |region_error, error| kvrpcpb::RawDeleteResponse { region_error, error };
        let act = |state: &mut State| {
            state.data.remove(&request.key);
            kvrpcpb::RawDeleteResponse::default()
        };
        Ok(Response::new(self.serve("delete", request.context, refuse, act).await?))
    }

    async fn raw_batch_get(
        &self,
        request: Request<kvrpcpb::RawBatchGetRequest>,
    ) -> Result<Response<kvrpcpb::RawBatchGetResponse>, Status> {
        let request = request.into_inner();
        let refuse = |region_error, _| kvrpcpb::RawBatchGetResponse { region_error, pairs: Vec::new() };
        let act = |state: &mut State| {
            let found = request.keys.iter().filter_map(|key| Some(pair(key, state.data.get(key)?)));
            kvrpcpb::RawBatchGetResponse { pairs: found.collect(), ..Default::default() }
        };
        Ok(Response::new(self.serve("batch_get", request.context, refuse, act).await?))
    }

    async fn raw_batch_put(
        &self,
        request: Request<kvrpcpb::RawBatchPutRequest>,
    ) -> Result<Response<kvrpcpb::RawBatchPutResponse>, Status> {
        let request = request.into_inner();
        let refuse = |region_error, error| kvrpcpb::RawBatchPutResponse { region_error, error };
        let act = |state: &mut State| {
            state.writes += 1;
            state.data.extend(request.pairs.into_iter().map(|pair| (pair.key, pair.value)));
            kvrpcpb::RawBatchPutResponse::default()
        };
        Ok(Response::new(self.serve("batch_put", request.context, refuse, act).await?))
    }

    async fn raw_batch_delete(
        &self,
        request: Request<kvrpcpb::RawBatchDeleteRequest>,
    ) -> Result<Response<kvrpcpb::RawBatchDeleteResponse>, Status> {
        let request = request.into_inner();
        let refuse = |region_error, error| kvrpcpb::RawBatchDeleteResponse { region_error, error };
        let act = |state: &mut State| {
            state.data.retain(|key, _| !request.keys.contains(key));
            kvrpcpb::RawBatchDeleteResponse::default()
        };
        Ok(Response::new(self.serve("batch_delete", request.context, refuse, act).await?))
    }

    async fn raw_scan(
        &self,
        request: Request<kvrpcpb::RawScanRequest>,
    ) -> Result<Response<kvrpcpb::RawScanResponse>, Status> {
        let request = request.into_inner();
        let context = request.context.clone();
        let refuse = |region_error, _| kvrpcpb::RawScanResponse { region_error, kvs: Vec::new() };
        let act = |state: &mut State| {
            let (start, end) = match request.reverse {
                true => (request.end_key, request.start_key),
                false => (request.start_key, request.end_key),
            };
            let range = piece(state, &request.context, start, end);
            let mut kvs: Vec<_> = inside(state, &range).map(|(key, value)| pair(key, value)).collect();
            if request.reverse {
                kvs.reverse();
            }
            kvs.truncate(request.limit as usize);
            if request.key_only {
                kvs.iter_mut().for_each(|pair| pair.value = Bytes::new());
            }
            kvrpcpb::RawScanResponse { region_error: None, kvs }
        };
        Ok(Response::new(self.serve("scan", context, refuse, act).await?))
    }

    async fn raw_delete_range(
        &self,
        request: Request<kvrpcpb::RawDeleteRangeRequest>,
    ) -> Result<Response<kvrpcpb::RawDeleteRangeResponse>, Status> {
        let request = request.into_inner();
        let context = request.context.clone();
        let refuse = |region_error, error| kvrpcpb::RawDeleteRangeResponse { region_error, error };
        let act = |state: &mut State| {
            let range = piece(state, &request.context, request.start_key, request.end_key);
            state.data.retain(|key, _| !range.contains(key));
            kvrpcpb::RawDeleteRangeResponse::default()
        };
        Ok(Response::new(self.serve("delete_range", context, refuse, act).await?))
    }

    async fn raw_compare_and_swap(
        &self,
        request: Request<kvrpcpb::RawCasRequest>,
    ) -> Result<Response<kvrpcpb::RawCasResponse>, Status> {
        let request = request.into_inner();
        let refuse = |region_error, error| kvrpcpb::RawCasResponse { region_error, error, ..Default::default() };
        let act = |state: &mut State| {
            let previous = state.data.get(&request.key).cloned();
            let expected = (!request.previous_not_exist).then_some(request.previous_value);
            let succeed = previous == expected;
            if succeed {
                state.writes += 1;
                state.data.insert(request.key, request.value);
            }
            let previous_not_exist = previous.is_none();
            let previous_value = previous.unwrap_or_default();
            kvrpcpb::RawCasResponse { succeed, previous_not_exist, previous_value, ..Default::default() }
        };
        Ok(Response::new(self.serve("cas", request.context, refuse, act).await?))
    }

    /// Not the real sum: the exclusive or of the lengths, which shows whether pieces are put together rightly.
    async fn raw_checksum(
        &self,
        request: Request<kvrpcpb::RawChecksumRequest>,
    ) -> Result<Response<kvrpcpb::RawChecksumResponse>, Status> {
        let request = request.into_inner();
        let context = request.context.clone();
        let refuse = |region_error, error| kvrpcpb::RawChecksumResponse { region_error, error, ..Default::default() };
        let act = |state: &mut State| {
            let [range] = &request.ranges[..] else { panic!("one piece is one range") };
            let range = piece(state, &request.context, range.start_key.clone(), range.end_key.clone());
            let mut answer = kvrpcpb::RawChecksumResponse::default();
            for (key, value) in inside(state, &range) {
                answer.checksum ^= 1 << key[0].saturating_sub(b'a');
                answer.total_kvs += 1;
                answer.total_bytes += (key.len() + value.len()) as u64;
            }
            answer
        };
        Ok(Response::new(self.serve("checksum", context, refuse, act).await?))
    }

    async fn batch_commands(
        &self,
        request: Request<Streaming<BatchCommandsRequest>>,
    ) -> Result<Response<BoxStream<BatchCommandsResponse>>, Status> {
        let store = self.clone();
        let replies = request.into_inner().then(move |frame| {
            let store = store.clone();
            async move { store.frame(frame?).await }
        });
        Ok(Response::new(Box::pin(replies)))
    }
}
