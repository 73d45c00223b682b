use types::{LogIndex, Peer, RegionDescriptor, RegionEpoch, StoreId};

use super::*;

const PARENT: RegionId = RegionId(1);
const CHILD: RegionId = RegionId(2);

fn range(start: &'static str, end: &'static str) -> KeyRange {
    KeyRange::new(start, end)
}

/// One region that has all keys.
fn claims() -> Claims {
    Claims::new([(PARENT, Claim::new(Standing::Live, Some(PeerId(10)), PeerId(11), Some(KeyRange::all())))])
}

fn is_claimed(claims: &Claims, peer: u64) -> bool {
    let peer = Peer::voter(PeerId(peer), StoreId(1));
    let (epoch, peers) = (RegionEpoch::INITIAL, vec![peer]);
    let child = RegionDescriptor { id: CHILD, range: range("", "m"), epoch, peers };
    claims.claim(Birth { child: &child, peer, parent: PARENT, parent_peer: PeerId(10), index: LogIndex(9) })
}

#[test]
fn a_split_makes_its_child_once_and_says_so_again() {
    let claims = claims();
    assert!(is_claimed(&claims, 20) && is_claimed(&claims, 20));
    assert_eq!(claims.making(CHILD), Some(How::Anew));
    assert!(claims.is_giving_birth(PARENT) && !claims.is_giving_birth(CHILD));
    assert!(!is_claimed(&claims, 21), "another peer of it is on its way");
    claims.lives(CHILD, PeerId(20), range("", "m"));
    assert!(!claims.is_giving_birth(PARENT));
    assert!(!is_claimed(&claims, 20) && claims.making(CHILD).is_none(), "it is there");
}

#[test]
fn a_message_waits_for_the_range() {
    let claims = claims();
    assert!(claims.invite(CHILD, PeerId(20), &range("a", "m")).is_some(), "the parent has not split yet");
    claims.shrinks(PARENT, range("m", ""));
    assert_eq!(claims.invite(CHILD, PeerId(20), &range("a", "m")), None);
    assert!(claims.invite(CHILD, PeerId(21), &range("a", "m")).is_some(), "one incarnation at a time");
}

#[test]
fn a_split_takes_over_what_a_message_made() {
    let claims = claims();
    claims.shrinks(PARENT, range("m", ""));
    assert_eq!(claims.invite(CHILD, PeerId(20), &range("a", "m")), None);
    assert!(!is_claimed(&claims, 19) && !is_claimed(&claims, 21));
    assert!(is_claimed(&claims, 20));
    assert_eq!(claims.making(CHILD), Some(How::TakingOver));
    assert!(!claims.leaves(CHILD), "a peer that a split needs does not go");
    let generation = claims.next_generation(CHILD);
    assert!(!claims.reserve(CHILD, PeerId(20), generation, &[range("a", "m")]), "nor does a snapshot replace it");
}

#[test]
fn who_is_gone_does_not_come_back() {
    let claims = claims();
    claims.shrinks(PARENT, range("m", ""));
    assert_eq!(claims.invite(CHILD, PeerId(20), &range("a", "m")), None);
    assert!(claims.leaves(CHILD) && !claims.leaves(CHILD));
    assert!(!is_claimed(&claims, 20), "not while it goes");
    assert!(claims.invite(CHILD, PeerId(30), &range("a", "m")).is_some(), "no later one either");
    claims.left(CHILD, PeerId(21));
    assert!(!is_claimed(&claims, 20));
    assert!(claims.invite(CHILD, PeerId(20), &range("a", "m")).is_some());
    assert_eq!(claims.invite(CHILD, PeerId(21), &range("a", "m")), None);
}

#[test]
fn a_snapshot_keeps_its_ranges_to_itself() {
    let claims = claims();
    claims.shrinks(PARENT, range("m", ""));
    assert_eq!(claims.invite(CHILD, PeerId(20), &range("a", "m")), None);
    let generation = claims.next_generation(CHILD);
    let reserve = |generation, ranges: &[KeyRange]| claims.reserve(CHILD, PeerId(20), generation, ranges);
    assert!(!reserve(generation, &[range("a", "z")]), "another region has a part of it");
    assert!(!reserve(Generation(generation.0 - 1), &[range("a", "m")]), "the peer has begun anew since");
    assert!(!claims.reserve(CHILD, PeerId(19), generation, &[range("a", "m")]), "it is another peer's");
    assert!(claims.has_room(CHILD, PeerId(20), &range("a", "m")) && !claims.is_owned(&range("a", "m")));
    assert!(reserve(generation, &[range("a", "m"), range("", "a")]));
    assert!(claims.is_owned(&range("", "a")) && !reserve(generation, &[range("a", "m")]));
    assert!(!claims.has_room(CHILD, PeerId(20), &range("a", "m")), "one at a time");
    assert!(claims.invite(RegionId(3), PeerId(30), &range("b", "c")).is_some());
    claims.lives(CHILD, PeerId(20), range("a", "m"));
    assert!(!claims.is_owned(&range("", "a")), "what it does not have is free again");
}

#[test]
fn a_dormant_child_wakes_with_its_parents_replay_alone() {
    let dormant = Claim::new(Standing::Dormant, Some(PeerId(20)), PeerId(21), None);
    let claims = Claims::new([(CHILD, dormant)]);
    assert!(claims.invite(CHILD, PeerId(20), &range("", "m")).is_some());
    assert!(claims.invite(CHILD, PeerId(30), &range("", "m")).is_some());
    assert!(!claims.leaves(CHILD), "it has a log that its parent's replay will need");
    assert!(!is_claimed(&claims, 30) && is_claimed(&claims, 20));
    assert_eq!(claims.making(CHILD), Some(How::Awaking));
}
