//! Whether what clients saw is what one copy of the data, changed by one write at a time, could have shown them.
//!
//! Each key is an atomic register that begins empty. Every write of a key has a value that no other write of that key
//! has, so a read tells which write it saw. [`check`] decides linearizability exactly, in one pass over the history once
//! each key's clusters are sorted. It is the test for uniquely valued registers of Gibbons and Korach ("Testing shared
//! memories", SIAM Journal on Computing, 1997), put as follows.
//!
//! **Clusters.** A write and the reads that saw it are a cluster; the empty register is a cluster with a write before
//! everything else. In any legal order of all operations a cluster stands together: its write, then its reads, before
//! the next write. So a legal order is an order of the clusters.
//!
//! **What binds them.** Let `f` be the first end of an operation in a cluster and `s` the last begin of one. Cluster A must
//! stand before B as soon as some operation of A ended before some operation of B began, which is `f(A) < s(B)`. Call
//! that `A → B`. If no read ended before its own write began, then any order of the clusters that obeys all arrows is
//! legal: within a cluster take the write first and the reads by their begins.
//!
//! **Cycles are pairs.** Suppose the arrows have a cycle of at least three, and let `I` be its cluster with the smallest `f`,
//! `P` the one before it and `Q` the one before `P`. Then `f(I) ≤ f(Q) < s(P)`, so `I → P`, and `P → I` already. Hence an
//! order exists unless two clusters bind each other: `f(A) < s(B)` and `f(B) < s(A)`.
//!
//! **Which pairs.** If `s ≤ f` in both clusters, `f(A) < s(B) ≤ f(B) < s(A) ≤ f(A)` cannot be. So one of the two, say A,
//! spans a time from `f` to a later `s`. If B does too, the two spans overlap; if not, B lies wholly inside of A's. Both are
//! seen in one pass over the clusters in the order of their first moments, by the span that reaches furthest so far.
//!
//! An operation whose outcome is unknown: a read is left out; a write ends at the end of time, and a write that nobody
//! saw is left out, since it can stand behind everything.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A moment: moments count up by one with each begin and each end of an operation.
pub type Moment = usize;

/// What an operation did to its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Write(String),
    /// What was seen; `None` when the key was not there.
    Read(Option<String>),
}

/// An operation on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub key: String,
    pub action: Action,
    pub begin: Moment,
    /// `None` while its outcome is unknown.
    pub end: Option<Moment>,
}

/// Takes down operations of many clients at once.
#[derive(Default)]
pub struct History {
    clock: AtomicUsize,
    operations: Mutex<Vec<Operation>>,
}

impl History {
    /// The moment at which an operation begins: read it before anything is sent.
    pub fn begin(&self) -> Moment {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Takes down writes that began together and were all acknowledged, or all not.
    pub fn wrote(&self, begin: Moment, pairs: impl IntoIterator<Item = (String, String)>, acknowledged: bool) {
        self.add(begin, acknowledged, pairs.into_iter().map(|(key, value)| (key, Action::Write(value))));
    }

    /// Takes down what one request read.
    pub fn read(&self, begin: Moment, pairs: impl IntoIterator<Item = (String, Option<String>)>) {
        self.add(begin, true, pairs.into_iter().map(|(key, value)| (key, Action::Read(value))));
    }

    fn add(&self, begin: Moment, ended: bool, actions: impl Iterator<Item = (String, Action)>) {
        // After the answer came: the clock of the end must not run ahead of it.
        let end = ended.then(|| self.clock.fetch_add(1, Ordering::SeqCst));
        let made = actions.map(|(key, action)| Operation { key, action, begin, end });
        self.operations.lock().unwrap().extend(made);
    }

    /// Everything that was taken down.
    pub fn into_operations(self) -> Vec<Operation> {
        self.operations.into_inner().unwrap()
    }
}

/// Checks every key's register.
///
/// # Errors
/// What is wrong with each key that is not linearizable, a line for each finding.
pub fn check(operations: &[Operation]) -> Result<(), String> {
    let mut keys = BTreeMap::<&str, Vec<&Operation>>::new();
    for operation in operations {
        keys.entry(&operation.key).or_default().push(operation);
    }
    let found = keys.iter().flat_map(|(key, operations)| check_register(key, operations));
    let found: Vec<_> = found.collect();
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

/// A write and those who saw it.
#[derive(Debug)]
struct Cluster<'a> {
    /// `None` for the empty register.
    value: Option<&'a str>,
    write_begin: Moment,
    /// The first end of its operations.
    first_end: Moment,
    /// The last begin of its operations.
    last_begin: Moment,
    was_seen: bool,
    is_acknowledged: bool,
}

impl Cluster<'_> {
    fn name(&self) -> &str {
        self.value.unwrap_or("(nothing)")
    }

    /// Whether it spans a time in which the register must have had its value.
    fn spans(&self) -> bool {
        self.first_end < self.last_begin
    }

    fn told(&self) -> String {
        let (name, first, last) = (self.name(), self.first_end, self.last_begin);
        format!("{name} (there at {first}, last asked for or written at {last})")
    }
}

/// The end of time: later than any moment.
const NEVER: Moment = Moment::MAX;

fn check_register(key: &str, operations: &[&Operation]) -> Vec<String> {
    let mut found = Vec::new();
    // Moments are shifted by one, so that the empty register's write is before all of them.
    let empty =
        Cluster { value: None, write_begin: 0, first_end: 0, last_begin: 0, was_seen: false, is_acknowledged: true };
    let mut clusters = vec![empty];
    let mut by_value = BTreeMap::<Option<&str>, usize>::from([(None, 0)]);
    for operation in operations {
        let Action::Write(value) = &operation.action else { continue };
        let begin = operation.begin + 1;
        let cluster = Cluster {
            value: Some(value),
            write_begin: begin,
            first_end: operation.end.map_or(NEVER, |end| end + 1),
            last_begin: begin,
            was_seen: false,
            is_acknowledged: operation.end.is_some(),
        };
        if by_value.insert(Some(value), clusters.len()).is_some() {
            found.push(format!("key {key}: {value} was written twice: the test is wrong"));
        }
        clusters.push(cluster);
    }
    for operation in operations {
        let (Action::Read(value), Some(end)) = (&operation.action, operation.end) else { continue };
        let (begin, end) = (operation.begin + 1, end + 1);
        let Some(&place) = by_value.get(&value.as_deref()) else {
            found.push(format!("key {key}: phantom value: {value:?} was read by {end}, and nobody wrote it"));
            continue;
        };
        let cluster = &mut clusters[place];
        if end < cluster.write_begin {
            let (name, written) = (cluster.name(), cluster.write_begin);
            found.push(format!(
                "key {key}: value from the future: {name} was read by {end}, and written from {written}"
            ));
        }
        cluster.was_seen = true;
        cluster.first_end = cluster.first_end.min(end);
        cluster.last_begin = cluster.last_begin.max(begin);
    }
    clusters.retain(|cluster| cluster.was_seen || cluster.is_acknowledged);
    found.extend(conflicts(key, &clusters));
    found
}

/// Pairs of clusters of which each had to be before the other.
fn conflicts(key: &str, clusters: &[Cluster<'_>]) -> Vec<String> {
    // Each cluster at the moment from which it can be inside of another: a span where it begins.
    let place = |cluster: &Cluster<'_>| cluster.first_end.min(cluster.last_begin);
    let mut in_order: Vec<_> = clusters.iter().collect();
    in_order.sort_by_key(|cluster| place(cluster));
    let mut found = Vec::new();
    // The span that reaches furthest of those that have begun.
    let mut open: Option<&Cluster<'_>> = None;
    for cluster in in_order {
        if let Some(open) = open.filter(|open| cluster.first_end < open.last_begin) {
            found.push(conflict(key, open, cluster));
        }
        if cluster.spans() && open.is_none_or(|open| open.last_begin < cluster.last_begin) {
            open = Some(cluster);
        }
    }
    found
}

fn conflict(key: &str, span: &Cluster<'_>, other: &Cluster<'_>) -> String {
    let (span_told, other_told) = (span.told(), other.told());
    if other.spans() {
        return format!(
            "key {key}: reads went back in time: {span_told} and {other_told} must each be before the other"
        );
    }
    let fate = if other.was_seen { "was seen and then undone" } else { "was acknowledged and never seen" };
    format!("key {key}: lost write or stale read: {other_told} {fate}, while the register had {span_told} all the time")
}
#[cfg(test)]
mod tests {
    use super::*;

    /// Operations of one key, in a line for each: `w a 0 3` wrote a from 0 to 3, `r - 4 5` saw nothing, `w b 6 ?` ended
    /// unknown.
    fn script(text: &str) -> Result<(), String> {
        let parse = |line: &str| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [kind, value, begin, end] = words[..] else { panic!("{line:?} has four words") };
            let value = (value != "-").then(|| value.to_owned());
            let action = if kind == "w" { Action::Write(value.unwrap()) } else { Action::Read(value) };
            let end = (end != "?").then(|| end.parse().unwrap());
            Operation { key: "k".to_owned(), action, begin: begin.parse().unwrap(), end }
        };
        let operations: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(parse).collect();
        check(&operations)
    }

    fn assert_found(text: &str, what: &str) {
        let found = script(text).expect_err("there is something to find");
        assert!(found.contains(what), "{found}");
    }

    #[test]
    fn what_one_copy_shows_is_accepted() {
        script("").unwrap();
        script("r - 0 1\nw a 2 3\nr a 4 5\nw b 6 7\nr b 8 9").unwrap();
        // Reads during a write may see either value, as long as they agree on an order.
        script("w a 0 1\nw b 2 9\nr a 3 4\nr b 5 6\nr b 7 8").unwrap();
        // Writes at the same time may stand in either order.
        script("w a 0 2\nw b 1 3\nr a 4 5").unwrap();
        script("w a 0 2\nw b 1 3\nr b 4 5").unwrap();
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
    }

    #[test]
    fn values_that_swap_twice_are_found() {
        // Both writes at the same time, and two readers that disagree on who was first.
        assert_found("w a 0 1\nw b 2 20\nw c 3 21\nr b 4 5\nr c 6 7\nr b 8 9", "seen and then undone");
        assert_found("w a 0 1\nw b 2 20\nw c 3 21\nr b 4 5\nr c 6 7\nr b 8 9\nr c 10 11", "back in time");
    }

    #[test]
    fn unknown_outcomes_are_free_to_happen_late_or_never() {
        script("w a 0 1\nw b 2 ?\nr a 3 4\nr a 5 6").unwrap();
        script("w a 0 1\nw b 2 ?\nr a 3 4\nr b 5 6\nr b 7 8").unwrap();
        script("w b 0 ?\nw a 1 2\nr a 3 4\nr b 5 6").unwrap();
        assert_found("w a 0 1\nw b 2 ?\nr b 3 4\nr a 5 6", "stale read");
    }

    #[test]
    fn keys_do_not_mix() {
        let write = |key: &str, begin| Operation {
            key: key.to_owned(),
            action: Action::Write("a".to_owned()),
            begin,
            end: Some(begin + 1),
        };
        check(&[write("x", 0), write("y", 2)]).unwrap();
        assert!(check(&[write("x", 0), write("x", 2)]).is_err(), "values must be unique within a key");
    }

    /// Compares with trying every order, on all small histories of a seed.
    #[test]
    fn agrees_with_trying_every_order() {
        let mut seed = 7_u64;
        let mut below = move |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % bound
        };
        let (mut accepted, mut refused) = (0, 0);
        for _ in 0..4000 {
            let count = 2 + below(5) as usize;
            let mut moments: Vec<_> = (0..2 * count).collect();
            for place in (1..moments.len()).rev() {
                moments.swap(place, below(place as u64 + 1) as usize);
            }
            let writes = 1 + below(3).min(count as u64 - 1) as usize;
            let operations: Vec<_> = (0..count)
                .map(|number| {
                    let value = |number: u64| (number < writes as u64).then(|| format!("v{number}"));
                    let action = match value(number as u64) {
                        Some(value) => Action::Write(value),
                        None => Action::Read(value(below(writes as u64 + 1))),
                    };
                    let pair = [moments[2 * number], moments[2 * number + 1]];
                    let end = (below(5) > 0).then_some(pair[0].max(pair[1]));
                    Operation { key: "k".to_owned(), action, begin: pair[0].min(pair[1]), end }
                })
                .collect();
            let legal = every_order(&operations);
            assert_eq!(check(&operations).is_ok(), legal, "{operations:#?}\n{:?}", check(&operations));
            if legal { accepted += 1 } else { refused += 1 }
        }
        assert!(accepted > 500 && refused > 500, "{accepted} accepted, {refused} refused");
    }

    /// Whether some order of the operations, unknown writes left out or put in, obeys time and the register.
    fn every_order(operations: &[Operation]) -> bool {
        fn extend(left: &[&Operation], value: Option<&str>) -> bool {
            let must: Vec<_> = left.iter().filter(|operation| operation.end.is_some()).collect();
            if must.is_empty() {
                return true;
            }
            let first_end = must.iter().filter_map(|operation| operation.end).min().unwrap();
            (0..left.len()).any(|next| {
                let operation = left[next];
                if operation.begin > first_end {
                    return false;
                }
                let mut rest = left.to_vec();
                rest.remove(next);
                match &operation.action {
                    Action::Write(written) => extend(&rest, Some(written)),
                    Action::Read(seen) => seen.as_deref() == value && extend(&rest, value),
                }
            })
        }
        let known = |operation: &&Operation| operation.end.is_some() || matches!(operation.action, Action::Write(_));
        extend(&operations.iter().filter(known).collect::<Vec<_>>(), None)
    }
}
