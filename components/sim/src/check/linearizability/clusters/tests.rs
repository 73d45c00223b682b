use types::seed::Rng;

use super::super::testing::{every_order, script, some_history};
use super::*;

fn verdict(text: &str) -> Result<(), String> {
    check(&script(text))
}

fn assert_found(text: &str, what: &str) {
    let found = verdict(text).expect_err("there is something to find");
    assert!(found.contains(what), "{found}");
}

#[test]
fn what_one_copy_shows_is_accepted() {
    verdict("").unwrap();
    verdict("r - 0 1\nw a 2 3\nr a 4 5\nw b 6 7\nr b 8 9").unwrap();
    // Reads during a write may see either value, as long as they agree on an order.
    verdict("w a 0 1\nw b 2 9\nr a 3 4\nr b 5 6\nr b 7 8").unwrap();
    // Writes at the same time may stand in either order.
    verdict("w a 0 2\nw b 1 3\nr a 4 5").unwrap();
    verdict("w a 0 2\nw b 1 3\nr b 4 5").unwrap();
}

#[test]
fn a_lost_write_is_found() {
    assert_found("w a 0 1\nw b 2 3\nr a 4 5", "lost write");
    assert_found("w a 0 1\nr - 2 3", "lost write");
    assert_found("w a 0 1\nw b 2 3\nw c 4 5\nr b 6 7", "lost write");
}

#[test]
fn a_stale_read_is_found() {
    // Two reads, one behind the other, during a write: the new value, then the old one.
    assert_found("w a 0 1\nw b 2 9\nr b 3 4\nr a 5 6", "lost write or stale read");
    assert_found("w a 0 1\nw b 2 3\nr b 4 5\nr a 6 7\nr b 8 9", "back in time");
}

#[test]
fn a_phantom_value_is_found() {
    assert_found("w a 0 1\nr z 2 3", "phantom");
    assert_found("r a 0 1\nw a 2 3", "from the future");
    assert_found("w a 0 !\nr a 2 3", "a refused write took effect");
    assert_found("w a 0 1\nw a 2 3", "two operations");
}

#[test]
fn values_that_swap_twice_are_found() {
    // Both writes at the same time, and two readers that disagree on who was first.
    assert_found("w a 0 1\nw b 2 20\nw c 3 21\nr b 4 5\nr c 6 7\nr b 8 9", "seen and then undone");
    assert_found("w a 0 1\nw b 2 20\nw c 3 21\nr b 4 5\nr c 6 7\nr b 8 9\nr c 10 11", "back in time");
}

#[test]
fn unknown_outcomes_are_free_to_happen_late_or_never() {
    verdict("w a 0 1\nw b 2 ?\nr a 3 4\nr a 5 6").unwrap();
    verdict("w a 0 1\nw b 2 ?\nr a 3 4\nr b 5 6\nr b 7 8").unwrap();
    verdict("w b 0 ?\nw a 1 2\nr a 3 4\nr b 5 6").unwrap();
    assert_found("w a 0 1\nw b 2 ?\nr b 3 4\nr a 5 6", "stale read");
    verdict("w a 0 1\ns a>b 2 ?\nr a 3 4\nr b 5 6\ns b>c 7 ?").unwrap();
}

#[test]
fn swaps_stand_beside_what_they_replace() {
    verdict("s ->a 0 1\ns a>b 2 3\nr b 4 5\nw c 6 7\ns c>d 8 9").unwrap();
    // Something in between.
    assert_found("w a 0 1\nw b 2 3\ns a>c 4 5", "lost write or stale read");
    assert_found("w a 0 9\nw b 1 8\nr a 10 11\nr b 12 13\ns a>c 14 15", "back in time");
    assert_found("s ->a 0 1\ns a>b 2 3\nr a 4 5", "stale read");
    assert_found("s ->a 0 1\ns ->b 2 3", "lost update");
    assert_found("s z>a 0 1", "phantom");
    assert_found("s z>a 0 ?\nr a 1 2", "which nobody wrote");
    assert_found("s a>b 0 1\ns b>a 0 1", "circle");
    // The swap of unknown outcome was seen, so what it replaced was there right before.
    assert_found("w a 0 1\nw b 2 3\ns a>c 2 ?\nr b 4 5\nr c 6 7", "back in time");
}

/// Compares with trying every order, on small histories drawn from a seed.
#[test]
fn agrees_with_trying_every_order() {
    let mut rng = Rng::new(7);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let operations = some_history(&mut rng, false);
        let legal = every_order(&operations);
        assert_eq!(check(&operations).is_ok(), legal, "{operations:#?}\n{:?}", check(&operations));
        if legal { accepted += 1 } else { refused += 1 }
    }
    assert!(accepted > 3000 && refused > 3000, "{accepted} accepted, {refused} refused");
}

/// In a legal history every value's window holds every read of it, in part at least.
#[test]
fn windows_hold_what_was_read() {
    let mut rng = Rng::new(8);
    let mut narrow = 0;
    for _ in 0..20_000 {
        let operations = some_history(&mut rng, false);
        if check(&operations).is_err() {
            continue;
        }
        let windows = Clusters::gather(&operations).windows();
        for operation in &operations {
            let (Some(seen), Some(end)) = (operation.action.seen(), operation.end()) else { continue };
            let window = windows[seen];
            assert!(window.from <= end && operation.begin <= window.until, "{operation}: {window:?}\n{operations:#?}");
            narrow += usize::from(window.until < Moment::NEVER);
        }
    }
    assert!(narrow > 1000, "only {narrow} windows end");
}

#[test]
fn windows_end_when_the_next_value_was_seen() {
    let operations = script("w a 0 1\nw b 2 9\nr a 3 4\nr b 5 6\ns b>c 10 11\nw d 12 13");
    let windows = Clusters::gather(&operations).windows();
    let numbers = |value: &str| {
        let window = windows[&Some(value.to_owned())];
        // As in the script.
        (window.from.number - 1, window.until.number.wrapping_sub(1))
    };
    assert_eq!(numbers("a"), (0, 6));
    assert_eq!(numbers("b"), (3, 11));
    assert_eq!(numbers("c"), (10, 13));
    assert_eq!(numbers("d").0, 12);
    assert_eq!(windows[&None].until, Moment::numbered(2));
}
