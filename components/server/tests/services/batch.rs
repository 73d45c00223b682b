//! The `BatchCommands` stream, over a socket.

use std::collections::BTreeMap;

use crate::support::{PATIENCE, TestStore, b, kind};
use engine::memory::FaultPoint;
use futures::StreamExt;
use proto::kvrpcpb::*;
use proto::tikvpb::batch_commands_request::Request;
use proto::tikvpb::batch_commands_request::request::Cmd as Command;
use proto::tikvpb::batch_commands_response::response::Cmd as Reply;
use proto::tikvpb::{
    BatchCommandsEmptyRequest, BatchCommandsEmptyResponse, BatchCommandsRequest, BatchCommandsResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

struct Stream {
    requests: mpsc::Sender<BatchCommandsRequest>,
    responses: Streaming<BatchCommandsResponse>,
}

impl Stream {
    async fn open(store: &TestStore) -> Self {
        let (requests, receiver) = mpsc::channel(64);
        let mut request = tonic::Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert("tikv-batch-conn-index", "0".parse().unwrap());
        let responses = store.client().await.batch_commands(request).await.unwrap().into_inner();
        Self { requests, responses }
    }

    async fn send(&self, commands: Vec<(u64, Option<Command>)>) {
        let (request_ids, requests) = commands.into_iter().map(|(id, cmd)| (id, Request { cmd })).unzip();
        let message = BatchCommandsRequest { requests, request_ids, client_send_time_ns: 1 };
        self.requests.send(message).await.unwrap();
    }

    async fn next(&mut self) -> Option<Result<BatchCommandsResponse, Status>> {
        tokio::time::timeout(PATIENCE, self.responses.next()).await.expect("the stream answers")
    }

    /// The next answers, until there are so many.
    async fn answers(&mut self, count: usize) -> BTreeMap<u64, Option<Reply>> {
        let mut answers = BTreeMap::new();
        while answers.len() < count {
            let message = self.next().await.unwrap().unwrap();
            assert_eq!(message.responses.len(), message.request_ids.len());
            assert_eq!(message.transport_layer_load, 0);
            for (id, response) in message.request_ids.into_iter().zip(message.responses) {
                assert!(answers.insert(id, response.cmd).is_none(), "request {id} was answered twice");
            }
        }
        answers
    }
}

fn put(store: &TestStore, key: &str, value: &str) -> Option<Command> {
    let request = RawPutRequest { context: store.context(key), key: b(key), value: b(value), ..Default::default() };
    Some(Command::RawPut(request))
}

fn get(store: &TestStore, key: &str) -> Option<Command> {
    Some(Command::RawGet(RawGetRequest { context: store.context(key), key: b(key), ..Default::default() }))
}

#[tokio::test]
async fn every_raw_command() {
    let store = TestStore::start(&["m"]).await;
    let mut stream = Stream::open(&store).await;
    let context = store.context("a");
    let pair = |key: &str| KvPair { key: b(key), value: b(key), ..Default::default() };
    let pairs = vec![pair("a"), pair("b"), pair("c")];
    let batch_put = RawBatchPutRequest { context: context.clone(), pairs: pairs.clone(), ..Default::default() };
    stream.send(vec![(0, put(&store, "d", "d")), (7, Some(Command::RawBatchPut(batch_put)))]).await;
    let written = stream.answers(2).await;
    assert_eq!(written[&0], Some(Reply::RawPut(RawPutResponse::default())));
    assert_eq!(written[&7], Some(Reply::RawBatchPut(RawBatchPutResponse::default())));

    let batch_get = RawBatchGetRequest { context: context.clone(), keys: vec![b("a"), b("e")], ..Default::default() };
    let scan = RawScanRequest { context: context.clone(), limit: 3, ..Default::default() };
    let long_scan = RawScanRequest { limit: 1000, ..scan.clone() };
    let range = KeyRange { start_key: b("b"), end_key: b("c") };
    let batch_scan =
        RawBatchScanRequest { context: context.clone(), ranges: vec![range], each_limit: 9, ..Default::default() };
    let coprocessor = RawCoprocessorRequest { context: context.clone(), ..Default::default() };
    stream
        .send(vec![
            (1, get(&store, "a")),
            (2, get(&store, "z")),
            (3, Some(Command::RawBatchGet(batch_get))),
            (4, Some(Command::RawScan(scan))),
            (5, Some(Command::RawScan(long_scan))),
            (6, Some(Command::RawBatchScan(batch_scan))),
            (7, Some(Command::RawCoprocessor(coprocessor))),
            (8, Some(Command::GetHealthFeedback(GetHealthFeedbackRequest::default()))),
        ])
        .await;
    let read = stream.answers(8).await;
    let found = |value| RawGetResponse { value: b(value), ..Default::default() };
    assert_eq!(read[&1], Some(Reply::RawGet(found("a"))));
    assert_eq!(read[&2], Some(Reply::RawGet(RawGetResponse { not_found: true, ..Default::default() })));
    assert_eq!(
        read[&3],
        Some(Reply::RawBatchGet(RawBatchGetResponse { pairs: vec![pair("a")], ..Default::default() }))
    );
    assert_eq!(read[&4], Some(Reply::RawScan(RawScanResponse { kvs: pairs.clone(), ..Default::default() })));
    let all = pairs.iter().cloned().chain([pair("d")]).collect();
    assert_eq!(read[&5], Some(Reply::RawScan(RawScanResponse { kvs: all, ..Default::default() })));
    assert_eq!(
        read[&6],
        Some(Reply::RawBatchScan(RawBatchScanResponse { kvs: vec![pair("b")], ..Default::default() }))
    );
    assert!(matches!(&read[&7], Some(Reply::RawCoprocessor(answer)) if answer.error.contains("no coprocessors")));
    assert!(matches!(&read[&8], Some(Reply::GetHealthFeedback(answer)) if answer.health_feedback.is_some()));

    let delete = RawDeleteRequest { context: context.clone(), key: b("a"), ..Default::default() };
    let batch_delete = RawBatchDeleteRequest { context: context.clone(), keys: vec![b("b")], ..Default::default() };
    let (start_key, end_key) = (b("c"), b("d"));
    let delete_range = RawDeleteRangeRequest { context: context.clone(), start_key, end_key, ..Default::default() };
    stream
        .send(vec![
            (1, Some(Command::RawDelete(delete))),
            (2, Some(Command::RawBatchDelete(batch_delete))),
            (3, Some(Command::RawDeleteRange(delete_range))),
        ])
        .await;
    let deleted = stream.answers(3).await;
    assert_eq!(deleted[&1], Some(Reply::RawDelete(RawDeleteResponse::default())));
    assert_eq!(deleted[&2], Some(Reply::RawBatchDelete(RawBatchDeleteResponse::default())));
    assert_eq!(deleted[&3], Some(Reply::RawDeleteRange(RawDeleteRangeResponse::default())));
    let scan = RawScanRequest { context, limit: 9, key_only: true, ..Default::default() };
    stream.send(vec![(9, Some(Command::RawScan(scan)))]).await;
    let left = stream.answers(1).await.remove(&9).unwrap();
    let expected = KvPair { value: bytes::Bytes::new(), ..pair("d") };
    assert_eq!(left, Some(Reply::RawScan(RawScanResponse { kvs: vec![expected], ..Default::default() })));
}

#[tokio::test]
async fn many_requests_are_each_answered_once() {
    const REQUESTS: u64 = 20_000;
    let store = TestStore::start(&["3", "6"]).await;
    let mut stream = Stream::open(&store).await;
    let requests = stream.requests.clone();
    let commands: Vec<_> = (0..REQUESTS)
        .map(|id| {
            let key = format!("{}-{id}", id % 10);
            (id, if id % 3 == 0 { get(&store, &key) } else { put(&store, &key, &id.to_string()) })
        })
        .collect();
    tokio::spawn(async move {
        for some in commands.chunks(128) {
            let (request_ids, requests_of) = some.iter().map(|(id, cmd)| (*id, Request { cmd: cmd.clone() })).unzip();
            let message = BatchCommandsRequest { requests: requests_of, request_ids, client_send_time_ns: 0 };
            requests.send(message).await.unwrap();
        }
    });
    let answers = stream.answers(REQUESTS as usize).await;
    for (id, reply) in answers {
        let expected = if id % 3 == 0 {
            Reply::RawGet(RawGetResponse { not_found: true, ..Default::default() })
        } else {
            Reply::RawPut(RawPutResponse::default())
        };
        assert_eq!(reply, Some(expected), "request {id}");
    }
}

#[tokio::test]
async fn a_slow_read_holds_nobody_up() {
    let store = TestStore::start(&[]).await;
    let mut stream = Stream::open(&store).await;
    stream.send(vec![(0, put(&store, "k", "v"))]).await;
    stream.answers(1).await;
    let (stall, release) = store.stall_nth(FaultPoint::StateRead, 2);
    let scan = RawScanRequest { context: store.context("k"), limit: 1000, ..Default::default() };
    stream.send(vec![(1, Some(Command::RawScan(scan)))]).await;
    // The stream works only while its answers are asked for.
    tokio::select! {
        () = stall => {}
        answer = stream.next() => panic!("the scan stands still: {answer:?}"),
    }
    stream.send(vec![(2, get(&store, "k"))]).await;
    assert!(stream.answers(1).await.contains_key(&2));
    drop(release);
    assert!(matches!(&stream.answers(1).await[&1], Some(Reply::RawScan(page)) if page.kvs.len() == 1));
}

#[tokio::test]
async fn empty_requests_wait_as_long_as_they_say() {
    let store = TestStore::start(&[]).await;
    let mut stream = Stream::open(&store).await;
    let empty = |test_id, delay_time| Some(Command::Empty(BatchCommandsEmptyRequest { test_id, delay_time }));
    stream.send(vec![(1, empty(11, 200)), (2, empty(12, 0)), (3, get(&store, "k")), (4, empty(14, u64::MAX))]).await;
    let first = stream.answers(2).await;
    assert_eq!(first.keys().collect::<Vec<_>>(), [&2, &3], "the delayed ones come later");
    let last = stream.answers(1).await;
    assert_eq!(last[&1], Some(Reply::Empty(BatchCommandsEmptyResponse { test_id: 11 })));
}

#[tokio::test]
async fn what_is_not_served_is_said_without_harm_to_the_stream() {
    let store = TestStore::start(&[]).await;
    let mut stream = Stream::open(&store).await;
    let epoch = Some(Context { region_epoch: None, ..store.context("k").unwrap() });
    let stale = RawGetRequest { context: epoch, key: b("k"), ..Default::default() };
    stream
        .send(vec![
            (1, None),
            (2, Some(Command::Get(GetRequest::default()))),
            (3, Some(Command::Prewrite(PrewriteRequest::default()))),
            (4, Some(Command::DeleteRange(DeleteRangeRequest::default()))),
            (5, Some(Command::RawGet(stale))),
            (6, put(&store, "k", "v")),
        ])
        .await;
    let answers = stream.answers(6).await;
    assert_eq!(answers[&1], None, "clients take an answer without a command for an error");
    let text = "raw requests only";
    let Some(Reply::Get(get)) = &answers[&2] else { panic!("{answers:?}") };
    assert!(get.error.as_ref().unwrap().abort.contains(text) && get.region_error.is_none());
    let Some(Reply::Prewrite(prewrite)) = &answers[&3] else { panic!("{answers:?}") };
    assert!(prewrite.errors[0].abort.contains(text));
    let Some(Reply::DeleteRange(delete_range)) = &answers[&4] else { panic!("{answers:?}") };
    assert!(delete_range.error.contains(text));
    let Some(Reply::RawGet(get)) = &answers[&5] else { panic!("{answers:?}") };
    assert_eq!(kind(&get.region_error), "epoch_not_match");
    assert_eq!(answers[&6], Some(Reply::RawPut(RawPutResponse::default())));
}

#[tokio::test]
async fn a_half_closed_stream_is_answered_to_its_end() {
    let store = TestStore::start(&[]).await;
    let mut stream = Stream::open(&store).await;
    stream.send((0..100).map(|id| (id, put(&store, &id.to_string(), "v"))).collect()).await;
    let (closed, _) = mpsc::channel(1);
    drop(std::mem::replace(&mut stream.requests, closed));
    assert_eq!(stream.answers(100).await.len(), 100);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_malformed_message_ends_its_own_stream_only() {
    let store = TestStore::start(&[]).await;
    let mut other = Stream::open(&store).await;
    let mut stream = Stream::open(&store).await;
    let lonely = BatchCommandsRequest { request_ids: vec![1, 2], ..Default::default() };
    stream.requests.send(lonely).await.unwrap();
    let status = stream.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(stream.next().await.is_none());
    other.send(vec![(1, put(&store, "k", "v"))]).await;
    other.answers(1).await;
}

#[tokio::test]
async fn another_cluster_s_client_is_sent_away() {
    let store = TestStore::start(&[]).await;
    let mut stream = Stream::open(&store).await;
    let context = Some(Context { cluster_id: 8, ..store.context("k").unwrap() });
    stream.send(vec![(1, Some(Command::RawPut(RawPutRequest { context, ..Default::default() })))]).await;
    assert_eq!(stream.next().await.unwrap().unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn large_answers_come_in_several_messages() {
    let store = TestStore::start(&[]).await;
    let mut stream = Stream::open(&store).await;
    stream.send(vec![(0, put(&store, "k", &"v".repeat(900 << 10)))]).await;
    stream.answers(1).await;
    stream.send((1..=20).map(|id| (id, get(&store, "k"))).collect()).await;
    let mut answered = 0;
    while answered < 20 {
        let message = stream.next().await.unwrap().unwrap();
        assert!(message.responses.len() <= 2, "{} answers of 900 KiB in one message", message.responses.len());
        answered += message.responses.len();
    }
}
