use bytes::Bytes;
use engine::{Change, Entry, StateRead as _, meta};
use parking_lot::Mutex;
use proto::log::{ComputeHash, VerifyHash, admin};
use types::ColumnFamily::Default as Plain;
use types::{
    CommandOutput, KeyRange, MemberChange, NewRegion, Peer, PeerId, PeerRole, RegionEpoch, RegionId, Round, StoreId,
};

use super::*;
use crate::arbiter::Arbiter;
use crate::build::{batch, put};
use crate::hash_region;
use crate::round::RoundOutcome;
use crate::testing::*;

/// Child, its peer, parent, the parent's peer, index of the split.
type Noted = (RegionId, PeerId, RegionId, PeerId, LogIndex);

/// Notes who is to be born, and refuses one of them.
#[derive(Default)]
struct Notes {
    births: Mutex<Vec<Noted>>,
    refused: Option<RegionId>,
}

impl Arbiter for Notes {
    fn claim(&self, birth: Birth<'_>) -> bool {
        let Birth { child, peer, parent, parent_peer, index } = birth;
        self.births.lock().push((child.id, peer.id, parent, parent_peer, index));
        self.refused != Some(child.id)
    }
}

struct Bench {
    engine: Arc<CutEngine>,
    round: ApplyRound,
    applier: RegionApplier,
    arbiter: Arc<Notes>,
}

impl Bench {
    fn new() -> Self {
        Self::refusing(None)
    }

    fn refusing(refused: Option<RegionId>) -> Self {
        let engine = Arc::new(CutEngine::default());
        let arbiter = Arc::new(Notes { refused, ..Notes::default() });
        let round = ApplyRound::new(engine.clone(), WRITER, Round(0)).with_arbiter(arbiter.clone());
        let mut applier = applier();
        let learner = Peer { role: PeerRole::Learner, ..Peer::voter(72.into(), 2.into()) };
        let mut descriptor = descriptor();
        descriptor.peers.push(learner);
        applier.descriptor = Arc::new(descriptor);
        Self { engine, round, applier, arbiter }
    }

    fn epoch(&self) -> RegionEpoch {
        self.applier.descriptor.epoch
    }

    fn apply(&mut self, entries: Vec<Entry>) -> RoundOutcome {
        self.round.apply(&mut self.applier, task(entries, vec![])).unwrap();
        self.round.finish().unwrap()
    }

    /// Applies one command of the store under the region's epoch.
    fn admin(&mut self, kind: admin::Kind) -> Change {
        let entry = admin_entry(self.applier.apply_state.applied.next().0, self.epoch(), kind);
        only_change(&self.apply(vec![entry]))
    }

    fn stored(&self, region: u64) -> Option<RegionDescriptor> {
        let bytes = self.engine.get(Family::Meta, &meta::descriptor_key(RegionId(region))).unwrap();
        bytes.map(|bytes| meta::decode_descriptor(&bytes).unwrap())
    }
}

fn only_change(outcome: &RoundOutcome) -> Change {
    let [applied] = &outcome.applied[..] else { panic!("one region was applied") };
    let [change] = &applied.changes[..] else { panic!("one change was made: {:?}", applied.changes) };
    assert!(change.index <= applied.apply_state.applied);
    change.clone()
}

fn plan(keys: &[(&'static str, u64)], right_derive: bool) -> SplitPlan {
    let new = |(key, id): &(&'static str, u64)| NewRegion {
        key: Bytes::from(*key),
        id: RegionId(*id),
        peers: vec![PeerId(id * 10 + 1), PeerId(id * 10 + 2)],
    };
    SplitPlan { regions: keys.iter().map(new).collect(), right_derive }
}

fn split(keys: &[(&'static str, u64)]) -> admin::Kind {
    admin::Kind::Split(plan(keys, true).into())
}

fn put_one(key: &'static str) -> proto::log::Command {
    batch(vec![put(Plain, key, "1")])
}

#[test]
fn a_split_writes_all_of_its_regions_with_the_parents_apply_state() {
    let mut bench = Bench::new();
    let before = bench.applier.descriptor.clone();
    let kind = bench.admin(split(&[("g", 8), ("p", 9)])).kind;
    let expected = before.split(&plan(&[("g", 8), ("p", 9)], true)).unwrap();
    let ChangeKind::Split { derived, children } = kind else { panic!("not a split: {kind:?}") };
    assert_eq!((*derived).clone(), expected.derived);
    assert!(children.iter().map(|child| &child.descriptor).eq(&expected.children));
    assert!(children.iter().all(|child| child.created && child.peer.store_id == StoreId(1)));

    let [written] = &bench.engine.batches()[..] else { panic!("one batch") };
    assert_eq!(written.ops().len(), 2 * 2 + 2 + 1, "two records for each region, and the round");
    assert_eq!(bench.stored(7), Some(expected.derived));
    assert_eq!(bench.stored(9), Some(expected.children[1].clone()));
    let regions = meta::read_regions(&*bench.engine).unwrap();
    let states: Vec<_> = regions.iter().map(|region| (region.descriptor.id.0, region.apply_state)).collect();
    assert_eq!(states, [(7, bench.applier.apply_state), (8, ApplyState::BORN), (9, ApplyState::BORN)]);
    let births =
        [(8, 81), (9, 91)].map(|(id, peer)| (RegionId(id), PeerId(peer), RegionId(7), PeerId(71), LogIndex(6)));
    assert_eq!(bench.arbiter.births.lock()[..], births);
}

#[test]
fn entries_behind_a_split_see_what_the_parent_kept() {
    let mut bench = Bench::new();
    let answers = Answers::default();
    let epoch = bench.epoch();
    let after = epoch.after(types::CommandKind::Split, 1);
    let under = |index, version| {
        let batch = proto::log::EntryBatch {
            version: types::entry::ENTRY_VERSION,
            region_version: version,
            commands: vec![put_one("c"), put_one("p")],
            admin: None,
        };
        batch_entry(index, &batch)
    };
    let entries = vec![admin_entry(6, epoch, split(&[("g", 8)])), under(7, epoch.version), under(8, after.version)];
    let waiting = vec![(7, answers.responders(0..2)), (8, answers.responders(2..4))];
    bench.round.apply(&mut bench.applier, task(entries, waiting)).unwrap();
    let outcome = bench.round.finish().unwrap();
    outcome.answers.into_iter().for_each(|(responder, answer)| responder.respond(answer));
    let current = vec![(*bench.applier.descriptor).clone()];
    let stale = Err(RequestError::EpochNotMatch { region: RegionId(7), current });
    let outside = RequestError::KeyNotInRegion { key: "c".into(), region: RegionId(7), range: KeyRange::new("g", "y") };
    let expected = [(0, stale.clone()), (1, stale), (2, Err(outside)), (3, Ok(CommandOutput::Written))];
    assert_eq!(answers.taken(), expected);
}

/// D11: whether this store has a child is its own affair; what the parent became is not.
#[test]
fn a_child_without_a_claim_leaves_no_record() {
    let mut bench = Bench::refusing(Some(RegionId(8)));
    let ChangeKind::Split { derived, children } = bench.admin(split(&[("g", 8), ("p", 9)])).kind else {
        panic!("not a split")
    };
    assert_eq!(children.iter().map(|child| child.created).collect::<Vec<_>>(), [false, true]);
    assert_eq!((bench.stored(8), bench.stored(7)), (None, Some((*derived).clone())));
    assert!(bench.stored(9).is_some());
}

#[test]
fn another_epoch_refuses_and_leaves_no_trace() {
    let learner = [MemberChange::learn(73.into(), 3.into())];
    let now = Bench::new().epoch();
    let other_version = RegionEpoch { version: now.version - 1, ..now };
    let other_conf_ver = RegionEpoch { conf_ver: now.conf_ver + 1, ..now };
    let refused = [
        admin_entry(6, other_version, split(&[("g", 8)])),
        admin_entry(6, other_conf_ver, split(&[("g", 8)])),
        members_entry(6, other_conf_ver, &learner),
    ];
    for entry in refused {
        let mut bench = Bench::new();
        let before = bench.applier.descriptor.clone();
        let change = only_change(&bench.apply(vec![entry]));
        let current = vec![(*before).clone()];
        let expected = RequestError::EpochNotMatch { region: RegionId(7), current };
        assert!(matches!(change.kind, ChangeKind::Refused(error) if error == expected));
        assert_eq!(bench.applier.descriptor, before);
        assert_eq!(bench.engine.batches()[0].ops().len(), 2, "the apply state and the round");
        assert!(bench.arbiter.births.lock().is_empty());
    }
    // The halves that do not count.
    let mut bench = Bench::new();
    let change = only_change(&bench.apply(vec![members_entry(6, other_version, &learner)]));
    assert!(matches!(change.kind, ChangeKind::Members { .. }));
}

#[test]
fn a_command_that_does_not_fit_leaves_no_trace() {
    for kind in [split(&[("a", 8)]), split(&[("g", 7)])] {
        let mut bench = Bench::new();
        let change = bench.admin(kind);
        assert!(matches!(change.kind, ChangeKind::Refused(RequestError::Invalid { .. })), "{change:?}");
        assert_eq!((bench.epoch(), bench.stored(7)), (descriptor().epoch, None));
        assert_eq!(bench.applier.apply_state.applied, LogIndex(6));
    }
}

#[test]
fn members_change_in_the_batch_of_their_entry() {
    let mut bench = Bench::new();
    let changes = vec![MemberChange::vote(72.into(), 2.into()), MemberChange::learn(73.into(), 3.into())];
    let outcome = bench.apply(vec![members_entry(6, bench.epoch(), &changes)]);
    let ChangeKind::Members { descriptor, changes: told } = only_change(&outcome).kind else { panic!("no members") };
    assert!(descriptor.is_joint() && told == changes);
    assert_eq!(bench.stored(7), Some((*descriptor).clone()));
    let outcome = bench.apply(vec![members_entry(7, bench.epoch(), &[])]);
    let ChangeKind::Members { descriptor, .. } = only_change(&outcome).kind else { panic!("no members") };
    assert_eq!((descriptor.is_joint(), descriptor.epoch.conf_ver), (false, 1 + 2 + 1));
    assert_eq!(bench.engine.batches().len(), 2);
}

/// raftstore-rules §7: the region goes on without the peer, and what follows is none of its business. Its last apply
/// state is published all the same (#16069).
#[test]
fn nothing_is_executed_behind_the_peers_own_removal() {
    let mut bench = Bench::new();
    let vote = members_entry(6, bench.epoch(), &[MemberChange::vote(72.into(), 2.into())]);
    bench.apply(vec![vote]);
    let answers = Answers::default();
    let remove = members_entry(7, bench.epoch(), &[MemberChange::remove(71.into(), 1.into())]);
    let entries = vec![remove, entry(8, vec![put_one("c")])];
    bench.round.apply(&mut bench.applier, task(entries, vec![(8, answers.responders(0..1))])).unwrap();
    assert!(bench.applier.is_removed());
    let later = task(vec![entry(9, vec![put_one("d")])], vec![(9, answers.responders(1..2))]);
    bench.round.apply(&mut bench.applier, later).unwrap();
    let outcome = bench.round.finish().unwrap();
    assert_eq!(outcome.applied[0].apply_state.applied, LogIndex(7));
    assert_eq!(bench.engine.apply_state().unwrap().applied, LogIndex(7));
    assert_eq!((bench.engine.value("c"), bench.engine.value("d")), (None, None));
    let answers = answers.taken();
    assert!(answers.len() == 2 && answers.iter().all(|(_, a)| matches!(a, Err(RequestError::Undetermined { .. }))));
}

#[test]
fn a_hash_is_of_what_lies_before_its_entry() {
    let ask = |bench: &mut Bench, entries: Vec<Entry>| {
        let outcome = bench.apply(entries);
        match only_change(&outcome).kind {
            ChangeKind::HashAsked(task) => task,
            other => panic!("no hash was asked for: {other:?}"),
        }
    };
    let compute = |index| admin_entry(index, RegionEpoch::default(), admin::Kind::ComputeHash(ComputeHash {}));
    let mut one = Bench::new();
    let task = ask(&mut one, vec![entry(6, vec![put_one("c")]), compute(7), entry(8, vec![put_one("d")])]);
    assert_eq!((task.index, task.descriptor.id), (LogIndex(7), RegionId(7)));
    assert_eq!(one.engine.batches().len(), 2, "what lies before it is written early");
    let hash = hash_region(&task).unwrap();

    // Another replica, other rounds, and other regions' keys on its store.
    let mut other = Bench::new();
    other.apply(vec![entry(6, vec![put_one("c")])]);
    let mut foreign = engine::StateBatch::default();
    foreign.put(Plain, "a", "1");
    foreign.put(Plain, "y", "1");
    engine::StateEngine::write(&*other.engine, &foreign).unwrap();
    assert_eq!(hash_region(&ask(&mut other, vec![compute(7)])).unwrap(), hash);
    // And one that differs in a single value.
    let mut damage = engine::StateBatch::default();
    damage.put(Plain, "c", "2");
    engine::StateEngine::write(&*other.engine, &damage).unwrap();
    assert_ne!(hash_region(&ask(&mut other, vec![compute(8)])).unwrap(), hash);
}

#[test]
fn where_a_key_ends_and_its_value_begins_is_hashed() {
    let hash = |key: &'static str, value: &'static str| {
        let mut bench = Bench::new();
        let put = entry(6, vec![batch(vec![put(Plain, key, value)])]);
        let compute = admin_entry(7, RegionEpoch::default(), admin::Kind::ComputeHash(ComputeHash {}));
        let outcome = bench.apply(vec![put, compute]);
        let ChangeKind::HashAsked(task) = only_change(&outcome).kind else { panic!("no hash was asked for") };
        hash_region(&task).unwrap()
    };
    assert_ne!(hash("cd", "e"), hash("c", "de"));
}

#[test]
fn a_stated_hash_is_passed_on() {
    let mut bench = Bench::new();
    let change = bench.admin(admin::Kind::VerifyHash(VerifyHash { index: 4, hash: 77 }));
    assert!(matches!(change.kind, ChangeKind::HashStated { of: LogIndex(4), hash: 77 }));
}
