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

/// A peer that missed splits has far more than its snapshot brings, and all of it is cleared.
#[test]
fn keys_on_both_sides_of_a_snapshots_range_are_kept_for_it() {
    let claims = Claims::default();
    claims.lives(CHILD, PeerId(20), range("a", "z"));
    let generation = claims.next_generation(CHILD);
    assert!(claims.reserve(CHILD, PeerId(20), generation, &[range("c", "d"), range("a", "z")]));
    for other in [range("b", "c"), range("c", "d"), range("m", "n")] {
        assert!(claims.is_owned(&other), "{other}");
    }
    claims.lives(CHILD, PeerId(20), range("c", "d"));
    assert!(!claims.is_owned(&range("b", "c")) && !claims.is_owned(&range("m", "n")));
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

/// A key space of a few keys, cut again and again; each region ends and comes back now and then.
#[test]
fn whose_keys_they_are_is_found_as_by_looking_at_everyone() {
    let key = |at: u64| if at == 0 || at >= 40 { Bytes::new() } else { Bytes::from(format!("{at:02}")) };
    let by_all = |claims: &Claims, region: RegionId, range: &KeyRange| {
        let inner = claims.inner.lock();
        let mut others = inner.regions.iter().filter(|(id, _)| **id != region);
        others.any(|(_, claim)| claim.ranges.iter().any(|other| other.overlaps(range)))
    };
    let mut found = 0;
    for seed in 0..50 {
        let mut rng = types::seed::Rng::new(seed);
        let claims = claims();
        let mut spans = vec![(PARENT, 0, 40)];
        for id in 2..30 {
            let at = rng.below(spans.len() as u64) as usize;
            let (parent, start, end) = spans[at];
            let mut look = |claims: &Claims| {
                let (from, to) = (rng.below(40), rng.below(41));
                let (region, range) = (RegionId(rng.below(30)), KeyRange { start: key(from), end: key(to) });
                let is_found = by_all(claims, region, &range);
                assert_eq!(claims.inner.lock().overlaps(region, &range), is_found, "seed {seed}: {region} {range}");
                found += usize::from(is_found);
            };
            if end - start < 3 || id % 7 == 0 {
                let was_there = claims.leaves(parent);
                claims.left(parent, PeerId(id));
                (0..8).for_each(|_| look(&claims));
                if was_there && id % 2 == 0 {
                    claims.lives(parent, PeerId(id), KeyRange { start: key(start), end: key(end) });
                }
                continue;
            }
            let (peer, middle) = (Peer::voter(PeerId(100 + id), StoreId(1)), (start + end) / 2);
            let range = KeyRange { start: key(start), end: key(middle) };
            let (epoch, peers) = (RegionEpoch::INITIAL, vec![peer]);
            let child = RegionDescriptor { id: RegionId(id), range: range.clone(), epoch, peers };
            claims.claim(Birth { child: &child, peer, parent, parent_peer: PeerId(10), index: LogIndex(9) });
            (0..8).for_each(|_| look(&claims));
            claims.shrinks(parent, KeyRange { start: key(middle), end: key(end) });
            (0..8).for_each(|_| look(&claims));
            claims.lives(child.id, peer.id, range);
            (0..8).for_each(|_| look(&claims));
            spans[at] = (parent, middle, end);
            spans.push((child.id, start, middle));
        }
    }
    assert!(found > 1000, "{found} found");
}
