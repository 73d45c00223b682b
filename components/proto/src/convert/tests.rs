use bytes::Bytes;

use super::*;

fn region() -> RegionDescriptor {
    RegionDescriptor {
        id: 7.into(),
        range: KeyRange::new("a", "m"),
        epoch: RegionEpoch { conf_ver: 2, version: 5 },
        peers: vec![
            Peer::voter(8.into(), 1.into()),
            Peer { role: PeerRole::Learner, ..Peer::voter(9.into(), 2.into()) },
            Peer { role: PeerRole::IncomingVoter, ..Peer::voter(10.into(), 3.into()) },
            Peer { role: PeerRole::DemotingVoter, ..Peer::voter(11.into(), 4.into()) },
        ],
    }
}

fn refused(error: RequestError) -> errorpb::Error {
    match Refusal::from(&error) {
        Refusal::Region(region_error) => region_error,
        Refusal::Text(text) => panic!("{error:?} became the text {text:?}"),
    }
}

#[test]
fn a_region_survives_the_way_there_and_back() {
    let message = metapb::Region::from(&region());
    assert_eq!(RegionDescriptor::try_from(message), Ok(region()));
}

#[test]
fn plans_survive_the_way_there_and_back() {
    let new =
        |id: u64| NewRegion { key: Bytes::from("k"), id: id.into(), peers: vec![(id + 1).into(), (id + 2).into()] };
    let plan = SplitPlan { regions: vec![new(1), new(4)], right_derive: true };
    assert_eq!(SplitPlan::from(log::Split::from(plan.clone())), plan);
    for kind in [MemberChangeKind::Vote, MemberChangeKind::Learn, MemberChangeKind::Remove] {
        let change = MemberChange { kind, peer: 3.into(), store: 4.into() };
        assert_eq!(MemberChange::try_from(log::MemberChange::from(change)), Ok(change));
    }
    let unknown = log::MemberChange { kind: 3, ..Default::default() };
    assert_eq!(
        MemberChange::try_from(unknown),
        Err(ConvertError::Unknown { message: "MemberChange", field: "kind", value: 3 })
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let without_epoch = metapb::Region { region_epoch: None, ..metapb::Region::from(&region()) };
    assert_eq!(
        RegionDescriptor::try_from(without_epoch),
        Err(ConvertError::Missing { message: "Region", field: "region_epoch" })
    );
    for value in [-1, 4, i32::MAX] {
        let peer = metapb::Peer { role: value, ..Default::default() };
        let refused = ConvertError::Unknown { message: "Peer", field: "role", value: value.into() };
        assert_eq!(Peer::try_from(peer), Err(refused));
    }
}

#[test]
fn a_hint_is_given_only_for_a_known_leader() {
    let leader = Peer::voter(8.into(), 1.into());
    let with = refused(RequestError::NotLeader { region: 7.into(), leader: Some(leader) });
    let expected = errorpb::NotLeader { region_id: 7, leader: Some(leader.into()) };
    assert_eq!(with.not_leader, Some(expected));
    let without = refused(RequestError::NotLeader { region: 7.into(), leader: None });
    assert_eq!(without.not_leader, Some(errorpb::NotLeader { region_id: 7, leader: None }));
}

#[test]
fn each_error_sets_its_own_field_and_no_other() {
    let errors = [
        RequestError::StoreNotMatch { requested: 1.into(), actual: 2.into() },
        RequestError::RegionNotFound { region: 7.into() },
        RequestError::NotLeader { region: 7.into(), leader: None },
        RequestError::MismatchPeerId { requested: 8.into(), actual: 9.into() },
        RequestError::StaleCommand { region: 7.into() },
        RequestError::EpochNotMatch { region: 7.into(), current: vec![region()] },
        RequestError::KeyNotInRegion { key: Bytes::from_static(b"z"), region: 7.into(), range: region().range },
        RequestError::EntryTooLarge { region: 7.into(), size: 9, limit: 8 },
        RequestError::ServerIsBusy { reason: "queue" },
        RequestError::ChangeRefused { region: 7.into(), reason: "no quorum".to_owned() },
    ];
    let fields: Vec<String> = errors.into_iter().map(|error| set_fields(&refused(error))).collect();
    assert_eq!(
        fields,
        [
            "store 1 2",
            "region_not_found 7",
            "not_leader 7",
            "mismatch 8 9",
            "stale",
            "epoch [7]",
            "key z 7 a m",
            "large 7 9",
            "busy queue",
            "",
        ]
    );
}

fn set_fields(error: &errorpb::Error) -> String {
    assert!(!error.message.is_empty(), "every error says what to do");
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let set = [
        error.store_not_match.map(|e| format!("store {} {}", e.request_store_id, e.actual_store_id)),
        error.region_not_found.map(|e| format!("region_not_found {}", e.region_id)),
        error.not_leader.map(|e| format!("not_leader {}", e.region_id)),
        error.mismatch_peer_id.map(|e| format!("mismatch {} {}", e.request_peer_id, e.store_peer_id)),
        error.stale_command.map(|_| "stale".to_owned()),
        error
            .epoch_not_match
            .as_ref()
            .map(|e| format!("epoch {:?}", e.current_regions.iter().map(|region| region.id).collect::<Vec<_>>())),
        error
            .key_not_in_region
            .as_ref()
            .map(|e| format!("key {} {} {} {}", text(&e.key), e.region_id, text(&e.start_key), text(&e.end_key))),
        error.raft_entry_too_large.map(|e| format!("large {} {}", e.region_id, e.entry_size)),
        error.server_is_busy.as_ref().map(|e| format!("busy {}", e.reason)),
    ];
    set.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[test]
fn what_must_not_be_repeated_is_no_region_error() {
    let unknown = RequestError::Undetermined { reason: "the store stops" };
    assert_eq!(Refusal::from(&unknown), Refusal::Text("outcome unknown: the store stops".to_owned()));
    assert!(unknown.to_string().starts_with(UNKNOWN_OUTCOME));
    let invalid = RequestError::Invalid { reason: "no key".to_owned() };
    assert_eq!(Refusal::from(&invalid), Refusal::Text("invalid request: no key".to_owned()));
}
