//! Which step comes next on the way to the members that were asked for.

use types::{MemberChange, MemberChangeKind, PeerId, PeerRole, RegionDescriptor, RequestError};

/// The next step of a change of members.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// These changes, in one entry.
    Change(Vec<MemberChange>),
    /// Wait for these learners.
    CatchUp(Vec<PeerId>),
    /// All is as it was asked for.
    Done,
}

/// The next step from a configuration that is not joint.
pub(crate) fn next_step(
    region: &RegionDescriptor,
    wanted: &[MemberChange],
    has_caught_up: impl Fn(PeerId) -> bool,
) -> Step {
    let role = |change: &MemberChange| region.peer(change.peer).map(|peer| peer.role);
    let newcomer = wanted.iter().find(|change| change.kind != MemberChangeKind::Remove && role(change).is_none());
    if let Some(change) = newcomer {
        return Step::Change(vec![MemberChange::learn(change.peer, change.store)]);
    }
    let promoted =
        |change: &&MemberChange| change.kind == MemberChangeKind::Vote && role(change) == Some(PeerRole::Learner);
    let behind: Vec<PeerId> =
        wanted.iter().filter(promoted).map(|change| change.peer).filter(|peer| !has_caught_up(*peer)).collect();
    if !behind.is_empty() {
        return Step::CatchUp(behind);
    }
    let retired =
        |change: &&MemberChange| change.kind != MemberChangeKind::Vote && role(change) == Some(PeerRole::Voter);
    let voters: Vec<&MemberChange> = wanted.iter().filter(|change| promoted(change) || retired(change)).collect();
    match voters[..] {
        [] => {}
        [only] => return Step::Change(vec![*only]),
        _ => return Step::Change(voters.into_iter().map(demote_first).collect()),
    }
    let leaves = |change: &&MemberChange| change.kind == MemberChangeKind::Remove && role(change).is_some();
    wanted.iter().find(leaves).map_or(Step::Done, |change| Step::Change(vec![*change]))
}

/// Among other changes a voter is demoted, and removed as a learner behind the joint configuration.
fn demote_first(change: &MemberChange) -> MemberChange {
    match change.kind {
        MemberChangeKind::Remove => MemberChange::learn(change.peer, change.store),
        _ => *change,
    }
}

/// Checks that all steps to the wanted members would be taken by apply, if every newcomer catches up.
pub(crate) fn check_plan(region: &RegionDescriptor, wanted: &[MemberChange]) -> Result<(), RequestError> {
    for (position, change) in wanted.iter().enumerate() {
        if wanted[..position].iter().any(|other| other.peer == change.peer) {
            return Err(RequestError::Invalid { reason: format!("peer {} is named twice", change.peer) });
        }
        if let Some(peer) = region.peer(change.peer).filter(|peer| peer.store_id != change.store) {
            let (id, actual, asked) = (peer.id, peer.store_id, change.store);
            let reason = format!("peer {id} lives on store {actual}, not on store {asked}");
            return Err(RequestError::Invalid { reason });
        }
    }
    let mut region = if region.is_joint() { region.change_members(&[])? } else { region.clone() };
    while let Step::Change(changes) = next_step(&region, wanted, |_| true) {
        region = region.change_members(&changes)?;
        if region.is_joint() {
            region = region.change_members(&[])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use types::{Peer, RegionEpoch, StoreId};

    use super::*;

    fn region(voters: &[u64], learners: &[u64]) -> RegionDescriptor {
        let peer = |id: &u64, role| Peer { id: PeerId(*id), store_id: StoreId(*id), role };
        let mut peers: Vec<Peer> = voters.iter().map(|id| peer(id, PeerRole::Voter)).collect();
        peers.extend(learners.iter().map(|id| peer(id, PeerRole::Learner)));
        RegionDescriptor { epoch: RegionEpoch::INITIAL, peers, ..RegionDescriptor::default() }
    }

    fn parse(wanted: &str) -> Vec<MemberChange> {
        let change = |word: &str| {
            let id: u64 = word[1..].parse().unwrap();
            let (peer, store) = (PeerId(id), StoreId(id));
            match &word[..1] {
                "+" => MemberChange::vote(peer, store),
                "~" => MemberChange::learn(peer, store),
                _ => MemberChange::remove(peer, store),
            }
        };
        wanted.split_whitespace().map(change).collect()
    }

    fn show(changes: &[MemberChange]) -> String {
        let sign = |kind| match kind {
            MemberChangeKind::Vote => '+',
            MemberChangeKind::Learn => '~',
            MemberChangeKind::Remove => '-',
        };
        changes.iter().map(|change| format!("{}{}", sign(change.kind), change.peer)).collect::<Vec<_>>().join(" ")
    }

    /// The steps, one after the other; `leave` is the joint configuration's end.
    fn steps(mut region: RegionDescriptor, wanted: &str) -> String {
        let mut shown = Vec::new();
        while let Step::Change(changes) = next_step(&region, &parse(wanted), |_| true) {
            shown.push(show(&changes));
            region = region.change_members(&changes).unwrap();
            if region.is_joint() {
                shown.push("leave".to_owned());
                region = region.change_members(&[]).unwrap();
            }
        }
        shown.join(", ")
    }

    #[test]
    fn the_way_to_each_kind_of_change() {
        let three = || region(&[1, 2, 3], &[9]);
        let cases = [
            ("", ""),
            ("+1 ~9 -7", ""),
            ("~4", "~4"),
            ("+4", "~4, +4"),
            ("+9", "+9"),
            ("~3", "~3"),
            ("-3", "-3"),
            ("-9", "-9"),
            ("+4 -3", "~4, +4 ~3, leave, -3"),
            ("+9 ~3", "+9 ~3, leave"),
            ("+4 +5 -2 -3 -9", "~4, ~5, +4 +5 ~2 ~3, leave, -2, -3, -9"),
            ("-2 -3", "~2 ~3, leave, -2, -3"),
        ];
        for (wanted, expected) in cases {
            assert_eq!(steps(three(), wanted), expected, "{wanted}");
        }
    }

    #[test]
    fn nothing_depends_on_learners_that_are_behind() {
        let step = |caught_up: &[u64]| {
            next_step(&region(&[1, 2, 3], &[4, 5]), &parse("+4 +5 -3"), |peer| caught_up.contains(&peer.0))
        };
        assert_eq!(step(&[4]), Step::CatchUp(vec![PeerId(5)]));
        assert_eq!(step(&[4, 5]), Step::Change(parse("+4 +5 ~3")));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_before_anything_is_done() {
        let reason = |wanted: &[MemberChange]| check_plan(&region(&[1, 2], &[]), wanted).unwrap_err().to_string();
        assert!(reason(&parse("-1 -2")).contains("without a voter"));
        assert!(reason(&parse("+3 -3")).contains("named twice"));
        assert!(reason(&[MemberChange::vote(PeerId(7), StoreId(1))]).contains("store 1 has the region's peer 1"));
        assert!(reason(&[MemberChange::remove(PeerId(2), StoreId(5))]).contains("lives on store 2"));
        check_plan(&region(&[1, 2], &[]), &parse("+3 -1 -2")).unwrap();
        let joint = region(&[1, 2, 3], &[4]).change_members(&parse("+4 ~3")).unwrap();
        check_plan(&joint, &parse("-3")).unwrap();
        check_plan(&joint, &[]).unwrap();
    }
}
