//! The bytes of the messages that matter most, put together by hand: a wrong field number or type in a `.proto` file
//! shows here, not at a client.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use prost::Message;
use proto::{errorpb, kvrpcpb, metapb, pdpb, tikvpb};

/// A varint field; `value` below 128, or two bytes of base 128 above.
fn number(field: u32, value: u64) -> Vec<u8> {
    [varint(u64::from(field) << 3), varint(value)].concat()
}

/// A length-delimited field.
fn bytes(field: u32, content: &[u8]) -> Vec<u8> {
    [varint(u64::from(field) << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// Both ways: the message encodes to exactly these bytes, and they decode to the message.
fn assert_wire<M: Message + Default + PartialEq + std::fmt::Debug>(message: M, expected: &[Vec<u8>]) {
    let expected = expected.concat();
    assert_eq!(message.encode_to_vec(), expected);
    assert_eq!(M::decode(&expected[..]).unwrap(), message);
}

fn peer() -> (metapb::Peer, Vec<u8>) {
    let message = metapb::Peer { id: 11, store_id: 3, role: metapb::PeerRole::DemotingVoter.into(), is_witness: false };
    (message, [number(1, 11), number(2, 3), number(3, 3)].concat())
}

fn region() -> (metapb::Region, Vec<u8>) {
    let message = metapb::Region {
        id: 300,
        start_key: Bytes::from_static(b"a"),
        end_key: Bytes::from_static(b"b"),
        region_epoch: Some(metapb::RegionEpoch { conf_ver: 4, version: 5 }),
        peers: vec![peer().0],
        ..Default::default()
    };
    let encoded = [
        number(1, 300),
        bytes(2, b"a"),
        bytes(3, b"b"),
        bytes(4, &[number(1, 4), number(2, 5)].concat()),
        bytes(5, &peer().1),
    ];
    (message, encoded.concat())
}

fn raw_put() -> (kvrpcpb::RawPutRequest, Vec<u8>) {
    let context = kvrpcpb::Context {
        region_id: 7,
        region_epoch: Some(metapb::RegionEpoch { conf_ver: 1, version: 2 }),
        peer: Some(peer().0),
        term: 6,
        api_version: kvrpcpb::ApiVersion::V2.into(),
        keyspace_id: Some(0),
        cluster_id: 9,
        ..Default::default()
    };
    let encoded_context = [
        number(1, 7),
        bytes(2, &[number(1, 1), number(2, 2)].concat()),
        bytes(3, &peer().1),
        number(5, 6),
        number(21, 2),
        number(32, 0),
        number(35, 9),
    ];
    let message = kvrpcpb::RawPutRequest {
        context: Some(context),
        key: Bytes::from_static(b"k"),
        value: Bytes::from_static(b"v"),
        cf: "default".to_owned(),
        ttl: 8,
        for_cas: true,
    };
    let encoded = [
        bytes(1, &encoded_context.concat()),
        bytes(2, b"k"),
        bytes(3, b"v"),
        bytes(4, b"default"),
        number(5, 8),
        number(6, 1),
    ];
    (message, encoded.concat())
}

#[test]
fn raw_put_request() {
    let (message, encoded) = raw_put();
    assert_wire(message, &[encoded]);
}

/// In literal bytes, so that the helpers above are not the only witness.
#[test]
fn a_small_message_in_literal_bytes() {
    let message = kvrpcpb::RawGetRequest { context: None, key: Bytes::from_static(b"key"), cf: "write".to_owned() };
    assert_wire(message, &[vec![0x12, 3, b'k', b'e', b'y', 0x1A, 5, b'w', b'r', b'i', b't', b'e']]);
}

#[test]
fn raw_answers() {
    assert_wire(
        kvrpcpb::RawCasResponse {
            region_error: None,
            error: "e".to_owned(),
            succeed: true,
            previous_not_exist: true,
            previous_value: Bytes::from_static(b"p"),
        },
        &[bytes(2, b"e"), number(3, 1), number(4, 1), bytes(5, b"p")],
    );
    assert_wire(
        kvrpcpb::RawScanResponse {
            region_error: None,
            kvs: vec![kvrpcpb::KvPair {
                key: Bytes::from_static(b"k"),
                value: Bytes::from_static(b"v"),
                ..Default::default()
            }],
        },
        &[bytes(2, &[bytes(2, b"k"), bytes(3, b"v")].concat())],
    );
    assert_wire(
        kvrpcpb::RawChecksumResponse {
            region_error: None,
            error: String::new(),
            checksum: 1,
            total_kvs: 2,
            total_bytes: 3,
        },
        &[number(3, 1), number(4, 2), number(5, 3)],
    );
}

#[test]
fn region_errors() {
    let answer = |error| kvrpcpb::RawPutResponse { region_error: Some(error), error: String::new() };
    let wire = |field, content: &[u8]| vec![bytes(1, &[bytes(1, b"m"), bytes(field, content)].concat())];
    let error = || errorpb::Error { message: "m".to_owned(), ..Default::default() };

    let not_leader = Some(errorpb::NotLeader { region_id: 7, leader: Some(peer().0) });
    assert_wire(
        answer(errorpb::Error { not_leader, ..error() }),
        &wire(2, &[number(1, 7), bytes(2, &peer().1)].concat()),
    );
    let region_not_found = Some(errorpb::RegionNotFound { region_id: 7 });
    assert_wire(answer(errorpb::Error { region_not_found, ..error() }), &wire(3, &number(1, 7)));
    let epoch_not_match = Some(errorpb::EpochNotMatch { current_regions: vec![region().0] });
    assert_wire(answer(errorpb::Error { epoch_not_match, ..error() }), &wire(5, &bytes(1, &region().1)));
    let server_is_busy = Some(errorpb::ServerIsBusy { reason: "r".to_owned(), ..Default::default() });
    assert_wire(answer(errorpb::Error { server_is_busy, ..error() }), &wire(6, &bytes(1, b"r")));
    let stale_command = Some(errorpb::StaleCommand {});
    assert_wire(answer(errorpb::Error { stale_command, ..error() }), &wire(7, b""));
    let store_not_match = Some(errorpb::StoreNotMatch { request_store_id: 1, actual_store_id: 2 });
    assert_wire(
        answer(errorpb::Error { store_not_match, ..error() }),
        &wire(8, &[number(1, 1), number(2, 2)].concat()),
    );
    let raft_entry_too_large = Some(errorpb::RaftEntryTooLarge { region_id: 7, entry_size: 9 });
    assert_wire(
        answer(errorpb::Error { raft_entry_too_large, ..error() }),
        &wire(9, &[number(1, 7), number(2, 9)].concat()),
    );
    let mismatch_peer_id = Some(errorpb::MismatchPeerId { request_peer_id: 1, store_peer_id: 2 });
    assert_wire(
        answer(errorpb::Error { mismatch_peer_id, ..error() }),
        &wire(20, &[number(1, 1), number(2, 2)].concat()),
    );
}

#[test]
fn get_region_response() {
    assert_wire(
        pdpb::GetRegionResponse {
            header: Some(pdpb::ResponseHeader { cluster_id: 9, error: None }),
            region: Some(region().0),
            leader: Some(peer().0),
            down_peers: vec![pdpb::PeerStats { peer: Some(peer().0), down_seconds: 5 }],
            pending_peers: vec![peer().0],
            buckets: None,
        },
        &[
            bytes(1, &number(1, 9)),
            bytes(2, &region().1),
            bytes(3, &peer().1),
            bytes(5, &[bytes(1, &peer().1), number(2, 5)].concat()),
            bytes(6, &peer().1),
        ],
    );
}

/// `pdpb.Region` wraps `metapb.Region`: the one place where the two meet in one message.
#[test]
fn scan_regions_response() {
    let wrapped = pdpb::Region { region: Some(region().0), leader: Some(peer().0), ..Default::default() };
    assert_wire(
        pdpb::ScanRegionsResponse {
            header: None,
            region_metas: vec![region().0],
            leaders: vec![peer().0],
            regions: vec![wrapped],
        },
        &[bytes(2, &region().1), bytes(3, &peer().1), bytes(4, &[bytes(1, &region().1), bytes(2, &peer().1)].concat())],
    );
}

#[test]
fn tso_response() {
    assert_wire(
        pdpb::TsoResponse {
            header: Some(pdpb::ResponseHeader { cluster_id: 9, error: None }),
            count: 2,
            timestamp: Some(pdpb::Timestamp { physical: 300, logical: 4, suffix_bits: 0 }),
        },
        &[bytes(1, &number(1, 9)), number(2, 2), bytes(3, &[number(1, 300), number(2, 4)].concat())],
    );
}

#[test]
fn batch_commands() {
    let (put, encoded_put) = raw_put();
    let request = |cmd| tikvpb::batch_commands_request::Request { cmd: Some(cmd) };
    use tikvpb::batch_commands_request::request::Cmd;
    assert_wire(
        tikvpb::BatchCommandsRequest {
            requests: vec![
                request(Cmd::RawPut(put)),
                request(Cmd::Empty(tikvpb::BatchCommandsEmptyRequest { test_id: 1, delay_time: 2 })),
            ],
            request_ids: vec![0, 300],
            client_send_time_ns: 5,
        },
        &[
            bytes(1, &bytes(15, &encoded_put)),
            bytes(1, &bytes(255, &[number(1, 1), number(2, 2)].concat())),
            bytes(2, &[varint(0), varint(300)].concat()),
            number(3, 5),
        ],
    );
    let unknown = bytes(1, &bytes(22, b"coprocessor"));
    let decoded = tikvpb::BatchCommandsRequest::decode(&unknown[..]).unwrap();
    assert!(decoded.requests[0].cmd.is_none(), "a command that is not known is unset, and skipped");
}

#[test]
fn bytes_fields_share_the_buffer_that_they_came_in() {
    let (_, encoded) = raw_put();
    let buffer = Bytes::from(encoded);
    let decoded = kvrpcpb::RawPutRequest::decode(buffer.clone()).unwrap();
    assert!(buffer.as_ptr_range().contains(&decoded.key.as_ptr()));
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let groups = vec![0x63; 1 << 20];
    let refused = kvrpcpb::RawPutRequest::decode(&groups[..]).unwrap_err();
    assert!(refused.to_string().contains("recursion limit"), "{refused}");

    let mut locks = Vec::new();
    for _ in 0..1000 {
        locks = bytes(12, &locks);
    }
    let refused = kvrpcpb::LockInfo::decode(&locks[..]).unwrap_err();
    assert!(refused.to_string().contains("recursion limit"), "{refused}");
}

#[test]
fn truncated_messages_are_errors_and_no_crash() {
    let (_, encoded) = raw_put();
    for length in 0..encoded.len() {
        // Some prefixes are whole messages; none may crash, and none may give the whole message.
        let decoded = kvrpcpb::RawPutRequest::decode(&encoded[..length]);
        assert_ne!(decoded.ok(), Some(raw_put().0), "cut to {length}");
    }
}
