//! What one request read together was there together.
//!
//! A scan of a region is one moment of it. Each register that it read had the value that it saw at that moment, so the
//! times in which the registers can have had these values (by all that is known of each) have a moment in common, and
//! it lies within the request. A scan that saw the new value of one register and a value of another that was replaced
//! before is found by this, though each register by itself looks well.

use std::collections::BTreeMap;

use super::linearizability::Datum;
use super::linearizability::clusters::{Clusters, Window};
use crate::history::{Moment, Operation, Shown};

/// When each value of a register can have been there.
#[derive(Debug)]
pub struct Windows<V>(BTreeMap<Option<V>, Window>);

impl<V: Datum> Windows<V> {
    /// Of a register without deletes that was found legal.
    pub fn new(operations: &[Operation<V>]) -> Self {
        Self(Clusters::gather(operations).windows())
    }
}

/// A register as a scan saw it: its name, when its values can have been there, and the value.
pub struct Seen<'a, N, V> {
    /// What findings call it.
    pub name: N,
    /// When its values can have been there.
    pub windows: &'a Windows<V>,
    /// What was seen.
    pub value: &'a Option<V>,
}

/// Checks that everything that was seen between two moments can have been there at once.
///
/// # Errors
/// Two registers that cannot have had their values at the same time.
pub fn check_together<'a, N: std::fmt::Display, V: Datum + 'a>(
    (begin, end): (Moment, Moment),
    seen: impl IntoIterator<Item = Seen<'a, N, V>>,
) -> Result<(), String> {
    let (mut last_from, mut first_until) = ((begin, None), (end, None));
    for seen in seen {
        // What nobody wrote is a finding about that register alone.
        let Some(window) = seen.windows.0.get(seen.value) else { continue };
        let told = || Some(format!("{} = {}", seen.name, Shown(seen.value)));
        if window.from > last_from.0 {
            last_from = (window.from, told());
        }
        if window.until < first_until.0 {
            first_until = (window.until, told());
        }
    }
    let ((from, new), (until, old)) = (last_from, first_until);
    if from <= until {
        return Ok(());
    }
    let what = |told: Option<String>| told.unwrap_or_else(|| "the request itself".to_owned());
    Err(format!(
        "torn scan from {begin} to {end}: {} was there from {from} on, and {} until {until}",
        what(new),
        what(old)
    ))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::super::linearizability::testing::script;
    use super::*;

    fn together(first: (&str, &str), second: (&str, &str), between: (u64, u64)) -> Result<(), String> {
        let registers = [first, second].map(|(text, seen)| (Windows::new(&script(text)), Some(seen.to_owned())));
        let moment = |number| Moment::numbered(number + 1);
        let seen = registers.iter().enumerate().map(|(name, (windows, value))| Seen { name, windows, value });
        check_together((moment(between.0), moment(between.1)), seen)
    }

    #[test]
    fn values_of_one_moment_are_accepted() {
        together(("w a 0 1\nw b 4 5", "b"), ("w c 0 1\nw d 4 5", "d"), (6, 7)).unwrap();
        together(("w a 0 1\nw b 4 5", "b"), ("w c 0 1\nw d 4 8", "c"), (6, 7)).unwrap();
        together(("w a 0 1\nw b 4 ?", "b"), ("w c 0 1\nw d 4 5", "d"), (6, 7)).unwrap();
    }

    #[test]
    fn values_of_two_moments_are_found() {
        // d was there before b was written; each register by itself may be seen like this from 2 to 9.
        let found = together(("w a 0 1\nw b 6 7", "b"), ("w c 0 1\nw d 4 5", "c"), (2, 9)).unwrap_err();
        assert!(found.contains("0 = b was there from #7 on, and 1 = c until #6"), "{found}");
        // As before, where only a read tells that d was there.
        together(("w a 0 1\nw b 6 7", "b"), ("w c 0 1\nw d 2 ?\nr d 3 5", "c"), (2, 9)).unwrap_err();
    }
}
