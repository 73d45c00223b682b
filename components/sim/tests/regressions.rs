//! Seeds that found a bug of the product once. What each of them does changes with every change of the order of events, so
//! the bug has a test of its own beside the code that had it; a seed costs little and is kept all the same.

#![allow(clippy::unwrap_used)]

use sim::{Profile, Settings, run};

fn passes(settings: Settings) {
    if let Err(failure) = run(&settings) {
        panic!("{settings:?}: {}\n{}", failure.what, failure.trace);
    }
}

/// A log engine that failed while its store met another left the store running (D15); `store/tests/faults.rs`.
#[test]
fn a_store_whose_log_engine_fails_while_it_meets_another() {
    passes(Settings::new(36, Profile::Everything));
}

/// A coordinator tried a write again at once that its stopped store refused at once, for ever;
/// `coordinator/tests/machine.rs`.
#[test]
fn a_coordinator_on_a_store_that_stops() {
    passes(Settings { regions: 2, ..Settings::new(33, Profile::Everything) });
}

/// A peer was told to go, and heard in the same round what its last `RawNode` waited for; nobody took note of it.
/// `store/tests/lifecycle.rs`.
#[test]
fn a_peer_that_is_told_to_go_in_the_round_of_its_last_completion() {
    let small = |seed, profile| Settings { regions: 6, stores: 4, steps: 20_000, ..Settings::new(seed, profile) };
    passes(small(1136, Profile::Crash));
    passes(small(1152, Profile::Everything));
    passes(small(1047, Profile::Clock));
}

/// A machine that had ended before it heard of its region's last split was removed with the range from before; a crash, and the
/// restart cleared what was its child's by then. `store/tests/lifecycle.rs`.
#[test]
fn a_peer_that_is_removed_behind_a_split_of_which_it_never_heard() {
    passes(Settings::new(20_261_939, Profile::Disk));
}

/// A log was deleted up to a compaction of which its region had not heard yet, and the region read from it.
/// `store/tests/stepped.rs`.
#[test]
fn a_region_that_reads_its_log_before_it_hears_of_a_compaction() {
    passes(Settings::new(20_262_744, Profile::Disk));
}

/// A child that woke with its parent's replay, had heard of a leader in its first life and not voted, took part in an
/// election at once (D8).
#[test]
fn a_child_that_wakes_has_known_a_leader() {
    passes(Settings::new(777_323, Profile::Crash));
}

/// A snapshot that brought less than its peer had hid what was kept for it from another region's snapshot (D10).
/// `store/src/lifecycle/claims/tests.rs`.
#[test]
fn a_snapshot_beside_one_that_brings_less_than_its_peer_had() {
    passes(Settings::new(71_090, Profile::Crash));
    passes(Settings { stores: 5, regions: 6, ..Settings::new(72_117, Profile::Disk) });
}

/// The machine of a leader ended, and the snapshots that it had ordered kept their permits. `region/tests/snapshots.rs`.
#[test]
fn a_leader_whose_machine_ends_with_a_snapshot_on_order() {
    passes(Settings::new(3_001_127, Profile::Calm));
}

/// A coordinator whose records could not be read once answered nothing any more. `coordinator/tests/machine.rs`.
#[test]
fn a_coordinator_whose_disk_fails_while_it_loads() {
    passes(Settings::new(3_000_821, Profile::Disk));
}
