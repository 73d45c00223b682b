//! Timestamps only grow, whoever asks, on however many streams, across restarts.

use proto::pdpb::*;
use tonic::Code;

use crate::common::{Port, START_MS, Talk, eventually, header, soon, talk};

fn request(count: u32) -> TsoRequest {
    TsoRequest { header: header(), count, dc_location: "global".to_owned() }
}

/// The largest timestamp of an answer to a request for `count`.
fn newest(answer: TsoResponse, count: u32) -> u64 {
    crate::common::outcome(answer.header).unwrap();
    assert_eq!(answer.count, count, "a client that is told another count gives up its stream");
    let timestamp = answer.timestamp.unwrap();
    assert_eq!(timestamp.suffix_bits, 0);
    (timestamp.physical as u64) << 18 | timestamp.logical as u64
}

async fn take(talk: &mut Talk<TsoRequest, TsoResponse>, count: u32) -> u64 {
    newest(talk.ask(request(count)).await, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_many_streams_are_disjoint_and_grow() {
    let port = Port::start().await;
    let mut tasks = Vec::new();
    for stream in 0..8 {
        let (mut client, wall) = (port.client().await, port.wall.clone());
        tasks.push(tokio::spawn(async move {
            let mut talk = talk!(client, tso);
            let mut batches = Vec::new();
            for round in 0..200 {
                let count = 1 + (round + stream) % 5;
                // A clock that goes back and forth must not matter.
                wall.set(START_MS + u64::from(round * 7919 % 50));
                batches.push((take(&mut talk, count).await, u64::from(count)));
            }
            batches
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        let batches = soon(task).await.unwrap();
        assert!(batches.is_sorted_by(|earlier, later| earlier.0 + later.1 <= later.0));
        all.extend(batches);
    }
    all.sort_unstable();
    assert_eq!(all.len(), 1600);
    assert!(all.is_sorted_by(|earlier, later| earlier.0 + later.1 <= later.0), "no timestamp was given twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_grow_across_elections_and_restarts_though_the_clock_goes_back() {
    let mut port = Port::start().await;
    let mut before = 0;
    for step in 0..6 {
        let mut talk = talk!(port.client().await, tso);
        for count in [1, 100, 262_143] {
            let after = take(&mut talk, count).await;
            assert!(after >= before + u64::from(count), "step {step}");
            before = after;
        }
        port.wall.set(START_MS - 1000 * step);
        if step % 2 == 0 {
            port.depose();
            port.elect();
        } else {
            port = port.restart().await;
        }
    }
}

/// Java's client uses the stream like a unary call.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_has_one_answer_and_the_end_is_well() {
    let port = Port::start().await;
    let mut client = port.client().await;
    let requests: Vec<TsoRequest> = (1..=5).map(request).collect();
    let mut answers = soon(client.tso(futures::stream::iter(requests))).await.unwrap().into_inner();
    let mut counts = Vec::new();
    while let Some(answer) = soon(answers.message()).await.expect("the end is no error") {
        counts.push(answer.count);
    }
    assert_eq!(counts, [1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_bound_wait_for_its_write_and_are_answered_in_order() {
    let port = Port::start().await;
    let mut client = port.client().await;
    let (mut first, mut second) = (talk!(client, tso), talk!(client, tso));
    let before = take(&mut first, 1).await;
    port.journal.hold();
    port.wall.set(START_MS + 60_000);
    first.say(request(3)).await;
    first.say(request(2)).await;
    eventually(|| port.journal.held() == 1).await;
    second.say(request(1)).await;
    port.journal.release();
    let a = newest(first.hear().await, 3);
    let b = newest(first.hear().await, 2);
    let c = newest(second.hear().await, 1);
    assert!(before < a && a + 2 <= b && c != a && c != b);
    assert!(a >> 18 >= START_MS + 60_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_ends_the_stream() {
    let port = Port::start().await;
    let mut client = port.client().await;
    for count in [0, 262_144, u32::MAX] {
        let talk = talk!(client, tso);
        talk.say(request(count)).await;
        assert_eq!(talk.end().await.unwrap_err().code(), Code::InvalidArgument);
    }
    let mut talk = talk!(client, tso);
    take(&mut talk, 1).await;
    port.depose();
    talk.say(request(1)).await;
    let status = talk.end().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("not leader"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_minimum_is_a_timestamp_of_its_own() {
    let port = Port::start().await;
    let mut client = port.client().await;
    let mut talk = talk!(client, tso);
    let before = take(&mut talk, 1).await;
    let answer = soon(client.get_min_ts(GetMinTsRequest { header: header() })).await.unwrap().into_inner();
    let timestamp = answer.timestamp.unwrap();
    assert!((timestamp.physical as u64) << 18 | timestamp.logical as u64 > before);
}
