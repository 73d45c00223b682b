use types::seed::Rng;

use super::super::testing::{every_order, script, some_history};
use super::*;

fn verdict(text: &str) -> Result<Verdict, String> {
    check(&script(text))
}

fn assert_legal(text: &str) {
    assert_eq!(verdict(text), Ok(Verdict::Legal));
}

fn assert_found(text: &str, what: &str) {
    let found = verdict(text).expect_err("there is something to find");
    assert!(found.contains(what), "{found}");
}

#[test]
fn what_one_copy_shows_is_accepted() {
    assert_legal("");
    assert_legal("w a 0 1\nd 2 3\nr - 4 5\nw b 6 7\nr b 8 9\nd 10 11\nr - 12 13");
    // A delete and a write at the same time may stand in either order.
    assert_legal("w a 0 3\nd 1 2\nr - 4 5");
    assert_legal("w a 0 3\nd 1 2\nr a 4 5");
    assert_legal("s ->a 0 1\ns a>- 2 3\ns ->b 4 5");
}

#[test]
fn what_no_order_explains_is_found() {
    assert_found("w a 0 1\nd 2 3\nr a 4 5", "no order of operations explains that client 0 read a");
    assert_found("w a 0 1\nr - 2 3\nd 4 5", "explains that client 0 read (nothing)");
    assert_found("w a 0 1\nd 2 3\nr - 4 5\nr a 6 7", "no order");
    assert_found("w a 0 1\nd 2 3\ns a>b 4 5", "no order");
    // One delete took one value away, not two.
    assert_found("w a 0 1\nd 2 ?\nr - 3 4\nw b 5 6\nr - 7 8", "no order");
    assert_found("d 0 1\nr z 2 3", "phantom");
    assert_found("d 0 1\nr a 2 3\nw a 4 5", "from the future");
    assert_found("d 0 1\nw a 2 !\nr a 4 5", "a refused write took effect");
}

#[test]
fn deletes_of_unknown_outcome_happen_once_late_or_never() {
    assert_legal("w a 0 1\nd 2 ?\nr a 3 4\nr - 5 6\nw b 7 8\nr b 9 10");
    assert_legal("w a 0 1\nd 2 ?\nr a 3 4\nw b 5 6\nr - 7 8");
    assert_legal("w a 0 1\ns a>- 2 ?\nr a 3 4\nr - 5 6\nd 7 8");
    assert_found("w a 0 1\ns a>- 2 ?\nw b 3 4\nr - 5 6\nd 7 8", "no order");
    // A write that nobody saw and a swap that took it away again: together they delete.
    assert_legal("w a 0 1\nw b 2 ?\ns b>- 3 ?\nr - 4 5\nd 6 7");
    assert_legal("w a 0 1\ns a>b 2 ?\ns b>- 3 ?\nr - 4 5\nd 6 7");
    assert_found("w a 0 1\nw c 2 3\ns a>b 4 ?\ns b>- 5 ?\nr - 6 7\nd 8 9", "no order");
}

#[test]
fn too_many_ways_are_undecided() {
    let writes = |count| (0..count).map(|number| format!("w v{number} {number} 1000\n")).collect::<String>();
    assert_eq!(verdict(&format!("{}d 900 901", writes(200))), Ok(Verdict::Undecided));
    assert_eq!(verdict(&format!("{}d 900 1001\nr - 902 903\nr v3 904 905", writes(40))), Ok(Verdict::Undecided));
    assert_eq!(verdict(&format!("{}d 900 1001\nr - 902 903\nr v3 904 905", writes(8))), Ok(Verdict::Legal));
}

/// Compares with trying every order, on small histories drawn from a seed, and with the check by sorting.
#[test]
fn agrees_with_trying_every_order() {
    let mut rng = Rng::new(9);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..40_000 {
        let operations = some_history(&mut rng, round % 4 > 0);
        let legal = every_order(&operations);
        let found = check(&operations);
        assert_eq!(found == Ok(Verdict::Legal), legal, "{operations:#?}\n{found:?}");
        if legal { accepted += 1 } else { refused += 1 }
    }
    assert!(accepted > 6000 && refused > 6000, "{accepted} accepted, {refused} refused");
}

#[test]
fn a_long_history_costs_no_more_per_operation() {
    let lines = (0..20_000).map(|number| {
        let at = 10 * number;
        format!("w v{number} {at} {}\nr v{number} {} {}\nd {} ?\n", at + 5, at + 2, at + 7, at + 3)
    });
    assert_legal(&lines.collect::<String>());
}
