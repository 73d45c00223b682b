//! The exact check of registers whose values are never taken away, in `O(n log n)`.
//!
//! It is the test for uniquely valued registers of Gibbons and Korach ("Testing shared memories", SIAM Journal on
//! Computing, 1997), put as follows, with compare-and-swap added.
//!
//! **Clusters.** A write and the reads that saw it are a cluster; the empty register is a cluster with a write before
//! everything else. In any legal order of all operations a cluster stands together: its write, then its reads, before
//! the next write.
//!
//! **Chains.** A swap of `p` for `n` is the last that saw `p` and the write of `n`: the two clusters stand side by side.
//! So clusters form chains, of one cluster where nothing was swapped, and a legal order is an order of the chains. Two
//! swaps of the same `p` can never both have taken effect.
//!
//! **What binds them.** Let `f` be the first end of an operation in a chain and `s` the last begin of one. Chain A must
//! stand before B as soon as some operation of A ended before some operation of B began, which is `f(A) < s(B)`. Call
//! that `A → B`. Inside of a chain the order is given, so for no earlier cluster `c` and later cluster `d` may
//! `f(d) < s(c)`. If that holds, and no read ended before its own write began, then any order of the chains that obeys
//! all arrows is legal: within a cluster take the write first, then the reads by their begins, the swap last.
//!
//! **Cycles are pairs.** Suppose the arrows have a cycle of at least three, and let `I` be its chain with the smallest `f`,
//! `P` the one before it and `Q` the one before `P`. Then `f(I) ≤ f(Q) < s(P)`, so `I → P`, and `P → I` already. Hence an
//! order exists unless two chains bind each other: `f(A) < s(B)` and `f(B) < s(A)`.
//!
//! **Which pairs.** If `s ≤ f` in both chains, `f(A) < s(B) ≤ f(B) < s(A) ≤ f(A)` cannot be. So one of the two, say A,
//! spans a time from `f` to a later `s`. If B does too, the two spans overlap; if not, B lies wholly inside of A's. Both are
//! seen in one pass over the chains in the order of their first moments, by the span that reaches furthest so far.

use std::collections::BTreeMap;

use super::{Datum, counts, unexplained};
use crate::history::{Moment, Operation, Shown};

/// Checks one register.
///
/// # Errors
/// What is wrong, a line for each finding.
///
/// # Panics
/// When an operation deletes: `search` is for those.
pub fn check<V: Datum>(operations: &[Operation<V>]) -> Result<(), String> {
    let mut register = Clusters::gather(operations);
    let chains = register.chains();
    let conflicts = conflicts(&chains);
    register.found.extend(conflicts);
    if register.found.is_empty() { Ok(()) } else { Err(told(&register.found)) }
}

/// How many findings are told: one mistake often leads to many.
const TOLD_FINDINGS: usize = 5;

fn told(found: &[String]) -> String {
    let told = found[..found.len().min(TOLD_FINDINGS)].join("\n");
    match found.len().saturating_sub(TOLD_FINDINGS) {
        0 => told,
        more => format!("{told}\nand {more} findings more"),
    }
}

/// A write and those who saw it.
#[derive(Debug)]
struct Cluster<'a, V> {
    /// `None` for the empty register.
    value: &'a Option<V>,
    /// What was swapped for it; `None` when it was simply put.
    swapped: Option<&'a Option<V>>,
    write_begin: Moment,
    /// The first end of its operations.
    first_end: Moment,
    /// The last begin of its operations.
    last_begin: Moment,
    was_seen: bool,
    is_acknowledged: bool,
    /// Whether its write must have taken effect.
    stands: bool,
    /// The cluster that was swapped for it.
    next: Option<usize>,
}

impl<V: Datum> Cluster<'_, V> {
    fn told(&self) -> String {
        let (first, last) = (self.first_end, self.last_begin);
        format!("{} (there at {first}, last asked for or written at {last})", Shown(self.value))
    }
}

/// Clusters that stand side by side.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The clusters' places, in order.
    members: Vec<usize>,
    first_end: Moment,
    last_begin: Moment,
    was_seen: bool,
    /// What findings say of it.
    told: String,
}

impl Chain {
    /// Whether it spans a time in which the register must have had one of its values.
    fn spans(&self) -> bool {
        self.first_end < self.last_begin
    }
}

/// A register's clusters, and what was found wrong while they were gathered.
pub(crate) struct Clusters<'a, V> {
    clusters: Vec<Cluster<'a, V>>,
    found: Vec<String>,
}

impl<'a, V: Datum> Clusters<'a, V> {
    pub(crate) fn gather(operations: &'a [Operation<V>]) -> Self {
        let empty = Cluster {
            value: &None,
            swapped: None,
            write_begin: Moment::ORIGIN,
            first_end: Moment::ORIGIN,
            last_begin: Moment::ORIGIN,
            was_seen: false,
            is_acknowledged: true,
            stands: false,
            next: None,
        };
        let mut gathered = Self { clusters: vec![empty], found: Vec::new() };
        let mut by_value = BTreeMap::from([(&None, 0)]);
        for operation in operations.iter().filter(|operation| counts(operation)) {
            gathered.add_write(operation, &mut by_value);
        }
        for operation in operations {
            gathered.add_read(operation, &by_value, operations);
        }
        gathered.link(&by_value);
        gathered
    }

    fn add_write(&mut self, operation: &'a Operation<V>, by_value: &mut BTreeMap<&'a Option<V>, usize>) {
        let Some(value) = operation.action.written() else { return };
        assert!(value.is_some(), "registers with deletes are searched");
        if by_value.insert(value, self.clusters.len()).is_some() {
            self.found.push(format!("{} was written by two operations: the workload is wrong", Shown(value)));
        }
        self.clusters.push(Cluster {
            value,
            swapped: operation.action.seen(),
            write_begin: operation.begin,
            first_end: operation.end().unwrap_or(Moment::NEVER),
            last_begin: operation.begin,
            was_seen: false,
            is_acknowledged: operation.end().is_some(),
            stands: false,
            next: None,
        });
    }

    fn add_read(&mut self, operation: &Operation<V>, by_value: &BTreeMap<&Option<V>, usize>, all: &[Operation<V>]) {
        let (Some(seen), Some(end)) = (operation.action.seen(), operation.end()) else { return };
        let Some(&place) = by_value.get(seen) else {
            self.found.push(unexplained(all, operation));
            return;
        };
        let cluster = &mut self.clusters[place];
        if end < cluster.write_begin {
            let begun = cluster.write_begin;
            self.found.push(format!("value from the future: {operation}; its write began at {begun}"));
        }
        cluster.was_seen = true;
        cluster.first_end = cluster.first_end.min(end);
        cluster.last_begin = cluster.last_begin.max(operation.begin);
    }

    /// Finds out which writes took effect, and puts those that were swapped behind what they were swapped for.
    fn link(&mut self, by_value: &BTreeMap<&Option<V>, usize>) {
        let certain = |cluster: &Cluster<'_, V>| cluster.was_seen || cluster.is_acknowledged;
        let mut left: Vec<_> = (0..self.clusters.len()).filter(|place| certain(&self.clusters[*place])).collect();
        while let Some(place) = left.pop() {
            if std::mem::replace(&mut self.clusters[place].stands, true) {
                continue;
            }
            let Some(from) = self.clusters[place].swapped else { continue };
            // A known swap saw what it replaced, and what it saw was looked up before. One of unknown outcome may have
            // expected a value that the client made up.
            let Some(&before) = by_value.get(from) else {
                let to = self.clusters[place].told();
                self.found.push(format!("{to} was swapped for {}, which nobody wrote", Shown(from)));
                continue;
            };
            left.push(before);
            let begin = self.clusters[place].write_begin;
            let (value, other) = (self.clusters[place].told(), self.clusters[before].next.replace(place));
            if let Some(other) = other {
                let (from, other) = (Shown(from), self.clusters[other].told());
                self.found.push(format!("lost update: {from} was swapped twice, for {other} and for {value}"));
            }
            let before = &mut self.clusters[before];
            before.was_seen = true;
            before.last_begin = before.last_begin.max(begin);
        }
    }

    /// The chains of all writes that took effect.
    pub(crate) fn chains(&mut self) -> Vec<Chain> {
        let mut is_linked = vec![false; self.clusters.len()];
        let standing = |cluster: &&Cluster<'_, V>| cluster.stands;
        self.clusters
            .iter()
            .filter(standing)
            .filter_map(|cluster| cluster.next)
            .for_each(|next| is_linked[next] = true);
        let heads = (0..self.clusters.len()).filter(|place| self.clusters[*place].stands && !is_linked[*place]);
        let mut chains: Vec<_> = heads.map(|head| self.chain(head)).collect();
        let linked: usize = chains.iter().map(|chain| chain.members.len()).sum();
        if linked != self.clusters.iter().filter(standing).count() {
            self.found.push("values were swapped in a circle: each was there before the other".to_owned());
        }
        for chain in &mut chains {
            self.check_inside(chain);
        }
        chains
    }

    fn chain(&self, head: usize) -> Chain {
        let links = std::iter::successors(Some(head), |place| self.clusters[*place].next);
        let members: Vec<_> = links.take(self.clusters.len()).collect();
        let of = |pick: fn(&Cluster<'a, V>) -> Moment| members.iter().map(move |place| pick(&self.clusters[*place]));
        let first_end = of(|cluster| cluster.first_end).min().unwrap_or(Moment::NEVER);
        let last_begin = of(|cluster| cluster.last_begin).max().unwrap_or(Moment::ORIGIN);
        // The two members that give the chain its span.
        let member = |found: &dyn Fn(&Cluster<'a, V>) -> bool| {
            members.iter().map(|place| &self.clusters[*place]).find(|cluster| found(cluster)).map(Cluster::told)
        };
        let first = member(&|cluster| cluster.first_end == first_end).unwrap_or_default();
        let last = member(&|cluster| cluster.last_begin == last_begin).unwrap_or_default();
        let told = if first == last { first } else { format!("{first}, by swaps beside {last},") };
        let was_seen = members.iter().any(|place| self.clusters[*place].was_seen);
        Chain { members, first_end, last_begin, was_seen, told }
    }

    /// What was swapped must not be seen any more.
    fn check_inside(&mut self, chain: &Chain) {
        let mut later: Option<usize> = None;
        for &place in chain.members.iter().rev() {
            let cluster = &self.clusters[place];
            if let Some(later) = later.map(|later| &self.clusters[later])
                && later.first_end < cluster.last_begin
            {
                let (earlier, later) = (cluster.told(), later.told());
                self.found.push(format!("stale read: {later} had been swapped for {earlier}"));
            }
            if later.is_none_or(|later| cluster.first_end < self.clusters[later].first_end) {
                later = Some(place);
            }
        }
    }

    /// For each value that took effect, the moments between which alone the register can have held it.
    pub(crate) fn windows(&mut self) -> BTreeMap<Option<V>, Window> {
        let chains = self.chains();
        let bounds = bounds(&chains);
        let mut windows = BTreeMap::new();
        for (chain, outer) in chains.iter().zip(bounds) {
            let mut until = outer.until;
            for &place in chain.members.iter().rev() {
                let cluster = &self.clusters[place];
                let from = outer.from.max(cluster.write_begin);
                windows.insert(cluster.value.clone(), Window { from, until });
                until = until.min(cluster.first_end);
            }
            let mut from = outer.from;
            for &place in &chain.members {
                let cluster = &self.clusters[place];
                if let Some(window) = windows.get_mut(cluster.value) {
                    window.from = window.from.max(from);
                }
                from = from.max(cluster.last_begin);
            }
        }
        windows
    }
}

/// When a register can have held a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Not before this.
    pub(crate) from: Moment,
    /// Not after this.
    pub(crate) until: Moment,
}

/// For each chain: behind the last begin of those before it, and not beyond the first end of those behind it.
fn bounds(chains: &[Chain]) -> Vec<Window> {
    let mut by_begin: Vec<_> = (0..chains.len()).collect();
    by_begin.sort_by_key(|place| chains[*place].last_begin);
    let mut by_end: Vec<_> = (0..chains.len()).collect();
    by_end.sort_by_key(|place| chains[*place].first_end);
    // The two smallest ends from each place on, and the two largest begins up to it: two, since one may be its own.
    let mut ends = vec![[None; 2]; chains.len() + 1];
    for (at, &place) in by_begin.iter().enumerate().rev() {
        ends[at] = two_best(ends[at + 1], place, |new, old| chains[new].first_end < chains[old].first_end);
    }
    let mut begins = vec![[None; 2]; chains.len() + 1];
    for (at, &place) in by_end.iter().enumerate() {
        begins[at + 1] = two_best(begins[at], place, |new, old| chains[new].last_begin > chains[old].last_begin);
    }
    let other = |best: [Option<usize>; 2], own| best.into_iter().flatten().find(|place| *place != own);
    let window = |own: usize| {
        let chain = &chains[own];
        let behind = by_begin.partition_point(|place| chains[*place].last_begin <= chain.first_end);
        let before = by_end.partition_point(|place| chains[*place].first_end < chain.last_begin);
        Window {
            from: other(begins[before], own).map_or(Moment::ORIGIN, |place| chains[place].last_begin),
            until: other(ends[behind], own).map_or(Moment::NEVER, |place| chains[place].first_end),
        }
    };
    (0..chains.len()).map(window).collect()
}

fn two_best(best: [Option<usize>; 2], new: usize, better: impl Fn(usize, usize) -> bool) -> [Option<usize>; 2] {
    match best {
        [Some(first), _] if better(new, first) => [Some(new), Some(first)],
        [Some(first), Some(second)] if !better(new, second) => [Some(first), Some(second)],
        [Some(first), _] => [Some(first), Some(new)],
        [None, _] => [Some(new), None],
    }
}

/// Pairs of chains of which each had to be before the other.
fn conflicts(chains: &[Chain]) -> Vec<String> {
    // Each chain at the moment from which it can be inside of another: a span where it begins.
    let place = |chain: &Chain| chain.first_end.min(chain.last_begin);
    let mut in_order: Vec<_> = chains.iter().collect();
    in_order.sort_by_key(|chain| place(chain));
    let mut found = Vec::new();
    // The span that reaches furthest of those that have begun.
    let mut open: Option<&Chain> = None;
    for chain in in_order {
        if let Some(open) = open.filter(|open| chain.first_end < open.last_begin) {
            found.push(conflict(open, chain));
        }
        if chain.spans() && open.is_none_or(|open| open.last_begin < chain.last_begin) {
            open = Some(chain);
        }
    }
    found
}

fn conflict(span: &Chain, other: &Chain) -> String {
    let (span_told, other_told) = (&span.told, &other.told);
    if other.spans() {
        return format!("reads went back in time: {span_told} and {other_told} must each be before the other");
    }
    let fate = if other.was_seen { "was seen and then undone" } else { "was acknowledged and never seen" };
    format!("lost write or stale read: {other_told} {fate}, while the register had {span_told} all the time")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests;
