//! Counters: registers that clients only ever swap from `n` to `n + 1`.
//!
//! Each number is there once at most, so a counter is decided exactly as well, although several clients may have tried the
//! same swap. Of those that tried it one took effect: the one that was told so, or else, of those that do not know, the
//! one that began first, which is the easiest to explain.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::linearizability::clusters;
use crate::history::{Action, Operation, Outcome, Shown};

/// Checks one counter.
///
/// The last number that anybody may find is between the increments that were acknowledged and these with those of
/// unknown outcome; no number is reached twice, and nobody finds less than was there before.
///
/// # Errors
/// What is wrong, a line for each finding.
pub fn check(operations: &[Operation<u64>]) -> Result<(), String> {
    check_totals(operations)?;
    clusters::check(&steps(operations)?)
}

/// The operations that count: the reads, and for each step the one that took it.
///
/// # Errors
/// When two took the same one.
pub fn steps(operations: &[Operation<u64>]) -> Result<Vec<Operation<u64>>, String> {
    let mut steps = BTreeMap::<Option<u64>, &Operation<u64>>::new();
    let mut chosen = Vec::with_capacity(operations.len());
    for operation in operations {
        match &operation.action {
            Action::Read(_) => chosen.push(operation.clone()),
            // Whoever sees its number shall be told that it was refused.
            Action::Swap { .. } if operation.outcome == Outcome::Refused => chosen.push(operation.clone()),
            Action::Swap { to, .. } => match steps.entry(*to) {
                Entry::Vacant(entry) => _ = entry.insert(operation),
                Entry::Occupied(mut entry) => {
                    let other = *entry.get();
                    if operation.end().is_some() && other.end().is_some() {
                        return Err(format!("counted twice: {other}; and {operation}"));
                    }
                    if operation.end().is_some() || (other.end().is_none() && operation.begin < other.begin) {
                        entry.insert(operation);
                    }
                }
            },
            Action::Write(_) => {}
        }
    }
    chosen.extend(steps.into_values().cloned());
    Ok(chosen)
}

/// Counts, without a thought to order.
fn check_totals(operations: &[Operation<u64>]) -> Result<(), String> {
    let swaps = operations.iter().filter(|operation| matches!(operation.action, Action::Swap { .. }));
    let (mut acknowledged, mut unknown, mut last_end) = (0, 0, None);
    for swap in swaps {
        match swap.outcome {
            Outcome::Known(end) => {
                acknowledged += 1;
                last_end = last_end.max(Some(end));
            }
            Outcome::Unknown => unknown += 1,
            Outcome::Refused => {}
        }
        check_step(swap)?;
    }
    let reads = operations.iter().filter(|operation| operation.end().is_some());
    for (read, seen) in reads.filter_map(|read| Some((read, read.action.seen()?))) {
        let number = seen.unwrap_or(0);
        let increments = format!("{acknowledged} increments were acknowledged and {unknown} are of unknown outcome");
        if number > acknowledged + unknown {
            return Err(format!("counted more than there is: {read}, and {increments}"));
        }
        if Some(read.begin) > last_end && number < acknowledged {
            return Err(format!("lost increments: {read}, and {increments}"));
        }
    }
    Ok(())
}

fn check_step(swap: &Operation<u64>) -> Result<(), String> {
    let (Some(from), Some(to)) = (swap.action.seen(), swap.action.written()) else { return Ok(()) };
    if *to == Some(from.unwrap_or(0) + 1) {
        return Ok(());
    }
    Err(format!("a counter went from {} to {}: the workload is wrong", Shown(from), Shown(to)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use types::seed::Rng;

    use super::*;
    use crate::call::ClientId;
    use crate::history::Moment;

    /// `r 3 0 1` found 3, `+ 3 2 5` counted from 3 to 4; 0 is the empty register.
    fn script(text: &str) -> Vec<Operation<u64>> {
        let parse = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [kind, number, begin, end] = words[..] else { panic!("{line:?} has four words") };
            let number: u64 = number.parse().unwrap();
            let from = (number > 0).then_some(number);
            let moment = |word: &str| Moment::numbered(word.parse::<u64>().unwrap() + 1);
            let action = if kind == "r" { Action::Read(from) } else { Action::Swap { from, to: Some(number + 1) } };
            let outcome = match end {
                "?" => Outcome::Unknown,
                "!" => Outcome::Refused,
                end => Outcome::Known(moment(end)),
            };
            Operation { client: ClientId(0), action, begin: moment(begin), outcome }
        };
        text.lines().map(parse).collect()
    }

    fn assert_found(text: &str, what: &str) {
        let found = check(&script(text)).expect_err("there is something to find");
        assert!(found.contains(what), "{found}");
    }

    #[test]
    fn counting_is_accepted() {
        check(&script("r 0 0 1\n+ 0 2 3\n+ 1 4 5\nr 2 6 7")).unwrap();
        // Two tried, one knows.
        check(&script("+ 0 0 ?\n+ 0 1 3\nr 1 4 5")).unwrap();
        check(&script("+ 0 0 1\n+ 1 2 ?\n+ 1 3 ?\nr 2 4 5\nr 2 6 7\n+ 1 8 !")).unwrap();
        check(&script("+ 0 0 1\n+ 1 2 ?\nr 1 4 5\nr 2 6 7")).unwrap();
    }

    #[test]
    fn counting_wrongly_is_found() {
        assert_found("+ 0 0 1\n+ 0 2 3", "counted twice");
        assert_found("+ 0 0 1\n+ 1 2 3\nr 1 4 5", "lost increments");
        assert_found("+ 0 0 1\n+ 1 2 ?\nr 2 3 4\nr 1 5 6", "stale read");
        assert_found("+ 0 0 1\nr 2 2 3", "more than there is");
        assert_found("+ 0 0 1\n+ 1 2 !\nr 2 3 4", "more than there is");
        assert_found("+ 0 0 1\n+ 1 2 !\n+ 2 2 ?\nr 2 3 4", "a refused write took effect");
        assert_found("r 1 0 1\n+ 0 2 3", "from the future");
    }

    /// Compares with trying every choice among those that tried the same step, on small histories drawn from a seed.
    #[test]
    fn agrees_with_trying_every_order() {
        let mut rng = Rng::new(3);
        let (mut accepted, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let count = 2 + rng.below(5) as usize;
            let mut moments: Vec<_> = (1..=2 * count as u64).collect();
            for place in (1..moments.len()).rev() {
                moments.swap(place, rng.below(place as u64 + 1) as usize);
            }
            let operations: Vec<_> = (0..count)
                .map(|number| {
                    let from = rng.below(3);
                    let seen = (from > 0).then_some(from);
                    let action = match rng.below(2) {
                        0 => Action::Read(seen),
                        _ => Action::Swap { from: seen, to: Some(from + 1) },
                    };
                    let pair = [moments[2 * number], moments[2 * number + 1]].map(Moment::numbered);
                    let outcome = match rng.below(8) {
                        0..2 => Outcome::Unknown,
                        2 => Outcome::Refused,
                        _ => Outcome::Known(pair[0].max(pair[1])),
                    };
                    Operation { client: ClientId(number as u32), action, begin: pair[0].min(pair[1]), outcome }
                })
                .collect();
            let legal = every_order(&operations, 0);
            assert_eq!(check(&operations).is_ok(), legal, "{operations:#?}\n{:?}", check(&operations));
            if legal { accepted += 1 } else { refused += 1 }
        }
        assert!(accepted > 2000 && refused > 2000, "{accepted} accepted, {refused} refused");
    }

    fn every_order(left: &[Operation<u64>], number: u64) -> bool {
        let Some(first_end) = left.iter().filter_map(Operation::end).min() else { return true };
        (0..left.len()).any(|next| {
            let operation = &left[next];
            let sees = operation.action.seen().is_some_and(|seen| seen.unwrap_or(0) == number);
            if operation.begin > first_end || !sees || operation.outcome == Outcome::Refused {
                return false;
            }
            let mut rest = left.to_vec();
            rest.remove(next);
            every_order(&rest, operation.action.written().map_or(number, |to| to.unwrap_or(0)))
        })
    }
}
