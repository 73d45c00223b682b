//! Histories written by hand, drawn at random, and decided by trying every order.

use types::seed::Rng;

use crate::call::ClientId;
use crate::history::{Action, Moment, Operation, Outcome};

/// Operations in a line for each: `w a 0 3` wrote a from 0 to 3, `r - 4 5` saw nothing, `d 6 7` deleted, `s a>b 8 9`
/// swapped a for b. An end of `?` is unknown, `!` is refused.
pub(crate) fn script(text: &str) -> Vec<Operation<String>> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(parse).collect()
}

fn parse(line: &str) -> Operation<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    let value = |word: &str| (word != "-").then(|| word.to_owned());
    let (action, begin, end) = match words[..] {
        ["r", seen, begin, end] => (Action::Read(value(seen)), begin, end),
        ["w", to, begin, end] => (Action::Write(value(to)), begin, end),
        ["d", begin, end] => (Action::Write(None), begin, end),
        ["s", swap, begin, end] => {
            let (from, to) = swap.split_once('>').expect("a swap has two values");
            (Action::Swap { from: value(from), to: value(to) }, begin, end)
        }
        _ => panic!("{line:?} is not an operation"),
    };
    let moment = |word: &str| Moment::numbered(word.parse::<u64>().expect("a moment is a number") + 1);
    let outcome = match end {
        "?" => Outcome::Unknown,
        "!" => Outcome::Refused,
        end => Outcome::Known(moment(end)),
    };
    Operation { client: ClientId(0), action, begin: moment(begin), outcome }
}

/// Whether some order of the operations, unknown writes left out or put in, obeys time and the register.
pub(crate) fn every_order(operations: &[Operation<String>]) -> bool {
    fn extend(left: &[&Operation<String>], value: &Option<String>) -> bool {
        let Some(first_end) = left.iter().filter_map(|operation| operation.end()).min() else { return true };
        (0..left.len()).any(|next| {
            let operation = left[next];
            if operation.begin > first_end || operation.action.seen().is_some_and(|seen| seen != value) {
                return false;
            }
            let mut rest = left.to_vec();
            rest.remove(next);
            extend(&rest, operation.action.written().unwrap_or(value))
        })
    }
    extend(&operations.iter().filter(|operation| super::counts(operation)).collect::<Vec<_>>(), &None)
}

/// A small history in which few things are impossible; with deletes if asked for.
pub(crate) fn some_history(rng: &mut Rng, deletes: bool) -> Vec<Operation<String>> {
    let count = 2 + rng.below(6) as usize;
    let mut moments: Vec<_> = (1..=2 * count as u64).collect();
    for place in (1..moments.len()).rev() {
        moments.swap(place, rng.below(place as u64 + 1) as usize);
    }
    let values = 1 + rng.below(3).min(count as u64 - 1);
    let some = |rng: &mut Rng| {
        let number = rng.below(values + 1);
        (number < values).then(|| format!("v{number}"))
    };
    let operation = |number: usize| {
        let value = (number < values as usize).then(|| format!("v{number}"));
        let swaps = rng.one_in(3);
        let action = match value {
            Some(_) if swaps => Action::Swap { from: some(rng), to: value },
            Some(_) => Action::Write(value),
            None if deletes && rng.one_in(3) && swaps => Action::Swap { from: some(rng), to: None },
            None if deletes && rng.one_in(3) => Action::Write(None),
            None => Action::Read(some(rng)),
        };
        let pair = [moments[2 * number], moments[2 * number + 1]].map(Moment::numbered);
        let outcome = match rng.below(10) {
            0..2 => Outcome::Unknown,
            2 => Outcome::Refused,
            _ => Outcome::Known(pair[0].max(pair[1])),
        };
        Operation { client: ClientId(number as u32), action, begin: pair[0].min(pair[1]), outcome }
    };
    (0..count).map(operation).collect()
}
