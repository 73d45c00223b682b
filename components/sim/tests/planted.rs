//! Every planted bug is found, by the checkers that are for it, within a bounded number of seeds; and the same seeds pass
//! without it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use sim::planted::{HUNTS, Hunt, table};
use types::PlantedBug;

fn hunt(bug: PlantedBug) {
    match Hunt::of(bug).unwrap().run() {
        Ok(found) => println!("{bug} was found by seed {}: {}", found.seed, found.what),
        Err(missed) => panic!("{missed}"),
    }
}

/// One test for each bug, so that they run beside each other.
macro_rules! hunts {
    ($($test:ident: $bug:ident,)*) => {
        $(#[test]
        fn $test() {
            hunt(PlantedBug::$bug);
        })*

        const HUNTED: &[PlantedBug] = &[$(PlantedBug::$bug),*];
    };
}

hunts! {
    answers_before_the_sync: AnswerBeforeFsync,
    a_vote_that_is_not_persisted: VoteNotPersisted,
    a_lone_voter_that_sends_early: LoneVoterSendsEarly,
    acknowledgements_out_of_order: AckOutOfOrder,
    entries_applied_before_they_are_durable: AppliedBeforeDurable,
    one_column_family_flushed: OneFamilyFlushed,
    entries_applied_twice: AppliedTwice,
    one_round_key_for_two_pollers: RoundKeyShared,
    a_log_deleted_early: LogDeletedEarly,
    a_commit_index_that_is_not_raised: CommitNotRaised,
    a_restarted_voter_that_votes: RestartedVoterVotes,
    completions_of_an_older_generation: OlderGenerationAccepted,
    a_takeover_that_forgets_a_vote: TakeoverForgetsVote,
    records_with_the_readys_hard_state: ReadyHardState,
    a_childs_record_that_comes_late: ChildRecordLate,
    a_commit_floor_that_is_not_raised: FloorNotRaised,
    a_dormant_child_that_answers: DormantAnswers,
    a_snapshot_for_a_peer_that_replays: SnapshotWhileReplaying,
    a_removal_without_a_fence: RemovalUnfenced,
    removed_peers_that_are_never_told: RemovedNeverTold,
    a_removed_peer_that_destroys_itself: DestroyedAtApply,
    a_leader_that_tells_removed_peers_early: GcTooEarly,
    a_peer_that_goes_while_it_replays: GcWhileReplaying,
    peers_that_may_come_back: NextPeerForgotten,
    a_snapshot_without_its_first_fence: SnapshotUnfenced,
    a_snapshot_that_clears_the_new_range_alone: SnapshotClearsNewRange,
    a_marker_that_is_dropped_early: MarkerDroppedEarly,
    swaps_that_read_the_engine: SwapReadsEngine,
    a_bootstrap_without_a_fence: BootstrapUnfenced,
    a_wiped_store_that_votes: WipedStoreVotes,
    a_coordinator_that_loads_early: CoordinatorLoadsEarly,
    ids_that_are_given_again: IdsGivenAgain,
    timestamps_from_the_clock: TimestampsFromClock,
    a_child_whose_epoch_is_not_raised: ChildEpochNotRaised,
    a_word_to_go_for_another_peer: StaleGcObeyed,
    a_joint_configuration_that_is_never_left: JointForever,
    learners_promoted_too_early: PromotedTooEarly,
    reads_that_are_not_confirmed: ReadUnconfirmed,
    reads_before_what_they_must_see_is_applied: ReadBeforeApplied,
}

#[test]
fn every_bug_is_hunted_once() {
    let all: BTreeSet<PlantedBug> = PlantedBug::ALL.iter().copied().collect();
    for hunted in [HUNTED.to_vec(), HUNTS.iter().map(|hunt| hunt.bug).collect()] {
        assert_eq!(hunted.len(), all.len());
        assert_eq!(hunted.into_iter().collect::<BTreeSet<_>>(), all);
    }
}

#[test]
fn the_documentation_has_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/testing.md");
    let documentation = std::fs::read_to_string(path).unwrap();
    assert!(documentation.contains(&table()), "put this table into docs/testing.md:\n\n{}", table());
}
