//! The exact check of registers whose values are deleted, by a search with a bound.
//!
//! The search walks through the history in time, and keeps every **configuration** in which the register may be: its
//! value, and which of the operations that are under way took effect already. When an operation ends it must have taken
//! effect, so each configuration that lacks it is carried on by others that are under way, in every order, until it has
//! it; those that never get there are dropped. If none is left, no order explains what was seen. This is the search of
//! Wing and Gong ("Testing and verifying concurrent objects", 1993) with Lowe's memory of what was tried ("Testing for
//! linearizability", 2017), along the time line instead of depth first. Its cost grows with how many operations are under way at
//! once, not with how many there are.
//!
//! What keeps configurations few, and why nothing is lost by it:
//! - A read that is under way takes effect as soon as the register has what it saw: it changes nothing, so sooner is
//!   never worse.
//! - A write of unknown outcome whose value was seen must have taken effect by the first end of those who saw it, so it
//!   is under way no longer than that. If nobody saw it, it is left out.
//! - Deletes of unknown outcome are all alike once they have begun: a configuration counts how many it has used, and of two
//!   that differ in nothing else the one that used fewer can do whatever the other can.
//! - A swap of unknown outcome that deletes needs no account: what it expects is there once at most. If what it expects
//!   is itself of unknown outcome and nobody saw it, the two together are a delete of unknown outcome.

use std::collections::{BTreeMap, BTreeSet};

use super::{Datum, Verdict, unexplained};
use crate::history::{Action, Moment, Operation, Outcome, Shown};

/// The most configurations that the end of one operation may lead through.
const MAX_CONFIGURATIONS: usize = 1 << 15;

/// The most operations that may be under way at once: a bit for each.
const MAX_UNDER_WAY: usize = u128::BITS as usize;

/// How many operations that began before one that cannot be explained are told.
const TOLD_OPERATIONS: usize = 12;

/// Checks one register.
///
/// # Errors
/// The first operation that no order explains, and what happened around it.
pub fn check<V: Datum>(operations: &[Operation<V>]) -> Result<Verdict, String> {
    let mut writes = BTreeMap::<&Option<V>, &Operation<V>>::new();
    for operation in operations.iter().filter(|operation| operation.outcome != Outcome::Refused) {
        if let Some(value @ Some(_)) = operation.action.written()
            && writes.insert(value, operation).is_some()
        {
            return Err(format!("{} was written by two operations: the workload is wrong", Shown(value)));
        }
    }
    let readers =
        operations.iter().filter_map(|operation| Some((operation, operation.action.seen()?, operation.end()?)));
    for (reader, seen, end) in readers.filter(|(_, seen, _)| seen.is_some()) {
        let Some(write) = writes.get(seen) else { return Err(unexplained(operations, reader)) };
        if end < write.begin {
            return Err(format!("value from the future: {reader}; but {write}"));
        }
    }
    let seen_by = first_seen(operations);
    let early = |(value, seen)| writes.get(value).filter(|write| write.begin > seen);
    if let Some(write) = seen_by.iter().find_map(|(value, seen)| early((*value, *seen))) {
        return Err(format!("value from the future: what was swapped for it was seen before {write}"));
    }
    let timeline = Timeline::new(operations, &writes, &seen_by);
    Search::new(operations).run(&timeline)
}

/// What happens in a history, as the search walks through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// An operation that must take effect is under way.
    Begin(usize),
    /// From here on one more delete may take effect.
    MayDelete,
    /// From here on this value may be swapped for none.
    MayDeleteValue(usize),
    /// An operation must have taken effect.
    End(usize),
}

/// What an operation does, with values by their numbers; number zero is the register without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Read(usize),
    Write(usize),
    Swap(usize, usize),
}

/// A history as events in order.
struct Timeline {
    events: Vec<(Moment, Event)>,
    /// By operation.
    effects: Vec<Effect>,
}

impl Timeline {
    fn new<V: Datum>(
        operations: &[Operation<V>],
        writes: &BTreeMap<&Option<V>, &Operation<V>>,
        seen_by: &BTreeMap<&Option<V>, Moment>,
    ) -> Self {
        let numbers: BTreeMap<_, _> = std::iter::once(&None).chain(writes.keys().copied()).zip(0..).collect();
        // What was expected in vain, and written by nobody, is a number that is never there.
        let number = |value: &Option<V>| numbers.get(value).copied().unwrap_or(usize::MAX);
        let effect = |operation: &Operation<V>| match &operation.action {
            Action::Read(seen) => Effect::Read(number(seen)),
            Action::Write(to) => Effect::Write(number(to)),
            Action::Swap { from, to } => Effect::Swap(number(from), number(to)),
        };
        let mut events = Vec::with_capacity(2 * operations.len());
        for (place, operation) in operations.iter().enumerate() {
            let end = match operation.outcome {
                Outcome::Known(end) => Some(end),
                Outcome::Unknown => operation.action.written().and_then(|to| seen_by.get(to).copied()),
                Outcome::Refused => None,
            };
            if let Some(end) = end {
                events.extend([(operation.begin, Event::Begin(place)), (end, Event::End(place))]);
            } else if operation.outcome == Outcome::Unknown && operation.action.written() == Some(&None) {
                events.extend(may_delete(operation, writes, seen_by, &number));
            }
        }
        events.sort_unstable_by_key(|(moment, event)| (moment.number, *event));
        Self { events, effects: operations.iter().map(effect).collect() }
    }
}

/// What a delete of unknown outcome makes possible, and from when.
fn may_delete<V: Datum>(
    delete: &Operation<V>,
    writes: &BTreeMap<&Option<V>, &Operation<V>>,
    seen_by: &BTreeMap<&Option<V>, Moment>,
    number: &impl Fn(&Option<V>) -> usize,
) -> Option<(Moment, Event)> {
    let (mut operation, mut from) = (delete, delete.begin);
    // Each step goes to the write of what was expected; a circle of them ends, as none of it can have happened.
    for _ in 0..=writes.len() {
        let Action::Swap { from: expected, .. } = &operation.action else { return Some((from, Event::MayDelete)) };
        let write = writes.get(expected)?;
        if write.outcome != Outcome::Unknown || seen_by.contains_key(expected) {
            return Some((from, Event::MayDeleteValue(number(expected))));
        }
        (operation, from) = (write, from.max(write.begin));
    }
    None
}

/// For each value that was seen, the first moment by which that was certain.
fn first_seen<V: Datum>(operations: &[Operation<V>]) -> BTreeMap<&Option<V>, Moment> {
    let mut seen_by = BTreeMap::<&Option<V>, Moment>::new();
    let mut swaps = BTreeMap::new();
    let mut left = Vec::new();
    for operation in operations {
        match (operation.action.seen(), operation.outcome, operation.action.written()) {
            (Some(seen), Outcome::Known(end), _) => left.push((seen, end)),
            (Some(from), Outcome::Unknown, Some(to)) => _ = swaps.insert(to, from),
            _ => {}
        }
    }
    while let Some((value, end)) = left.pop() {
        let first = seen_by.get(value).copied();
        if value.is_none() || first.is_some_and(|first| first <= end) {
            continue;
        }
        seen_by.insert(value, end);
        // A swap of unknown outcome whose value was seen saw what it replaced, by the same moment.
        left.extend(swaps.get(value).map(|from| (*from, end)));
    }
    seen_by
}

/// How the register may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration {
    /// The number of its value.
    value: usize,
    /// Which of the operations that are under way took effect: a bit for each place.
    done: u128,
}

/// Configurations, each with the fewest deletes of unknown outcome that lead to it.
type Configurations = BTreeMap<Configuration, usize>;

struct Search<'a, V> {
    operations: &'a [Operation<V>],
    /// The operation at each place that is taken.
    under_way: [Option<usize>; MAX_UNDER_WAY],
    /// How many deletes of unknown outcome have begun.
    deletes: usize,
    /// The values that a swap of unknown outcome may delete.
    deletable: BTreeSet<usize>,
    configurations: Configurations,
}

impl<'a, V: Datum> Search<'a, V> {
    fn new(operations: &'a [Operation<V>]) -> Self {
        Self {
            operations,
            under_way: [None; MAX_UNDER_WAY],
            deletes: 0,
            deletable: BTreeSet::new(),
            configurations: BTreeMap::from([(Configuration { value: 0, done: 0 }, 0)]),
        }
    }

    fn run(mut self, timeline: &Timeline) -> Result<Verdict, String> {
        for (_, event) in &timeline.events {
            match *event {
                Event::MayDelete => self.deletes += 1,
                Event::MayDeleteValue(value) => _ = self.deletable.insert(value),
                Event::Begin(operation) => {
                    let free = self.under_way.iter().position(Option::is_none);
                    let Some(place) = free else { return Ok(Verdict::Undecided) };
                    self.under_way[place] = Some(operation);
                    let settled = std::mem::take(&mut self.configurations).into_iter();
                    self.configurations =
                        settled.map(|(now, used)| (self.read(now, &timeline.effects), used)).collect();
                }
                Event::End(operation) => {
                    if !self.end(operation, &timeline.effects)? {
                        return Ok(Verdict::Undecided);
                    }
                }
            }
        }
        Ok(Verdict::Legal)
    }

    /// Carries every configuration on until the operation took effect. `false` when there are too many ways.
    fn end(&mut self, operation: usize, effects: &[Effect]) -> Result<bool, String> {
        let place = self.under_way.iter().position(|other| *other == Some(operation));
        let bit = 1 << place.expect("what ends has begun");
        let mut left: Vec<_> = self.configurations.iter().map(|(now, used)| (*now, *used)).collect();
        let (mut tried, mut kept) = (Configurations::new(), Configurations::new());
        while let Some((now, used)) = left.pop() {
            if tried.get(&now).is_some_and(|fewest| *fewest <= used) {
                continue;
            }
            if tried.len() == MAX_CONFIGURATIONS {
                return Ok(false);
            }
            tried.insert(now, used);
            if now.done & bit == 0 {
                self.carry_on(now, used, effects, &mut left);
            } else {
                let fewest = kept.entry(Configuration { done: now.done & !bit, ..now }).or_insert(used);
                *fewest = used.min(*fewest);
            }
        }
        if kept.is_empty() {
            return Err(self.told(operation));
        }
        self.configurations = kept;
        self.under_way[place.expect("found above")] = None;
        Ok(true)
    }

    /// Everything that may take effect next.
    fn carry_on(&self, now: Configuration, used: usize, effects: &[Effect], left: &mut Vec<(Configuration, usize)>) {
        for (place, operation) in self.places(now) {
            let to = match effects[operation] {
                Effect::Write(to) => to,
                Effect::Swap(from, to) if from == now.value => to,
                // A read that may take effect did so already.
                Effect::Swap(..) | Effect::Read(_) => continue,
            };
            left.push((self.read(Configuration { value: to, done: now.done | 1 << place }, effects), used));
        }
        let deleted = || self.read(Configuration { value: 0, ..now }, effects);
        if self.deletable.contains(&now.value) {
            left.push((deleted(), used));
        } else if now.value != 0 && used < self.deletes {
            left.push((deleted(), used + 1));
        }
    }

    /// Lets all reads take effect that see the value.
    fn read(&self, mut now: Configuration, effects: &[Effect]) -> Configuration {
        for (place, operation) in self.places(now) {
            if effects[operation] == Effect::Read(now.value) {
                now.done |= 1 << place;
            }
        }
        now
    }

    /// The places of operations that are under way and did not take effect.
    fn places(&self, now: Configuration) -> impl Iterator<Item = (usize, usize)> {
        let places = self.under_way.iter().enumerate().filter(move |(place, _)| now.done & (1 << place) == 0);
        places.filter_map(|(place, operation)| Some((place, (*operation)?)))
    }

    /// Says what cannot be explained, and what happened around it.
    fn told(&self, operation: usize) -> String {
        let wrong = &self.operations[operation];
        let end = wrong.end().unwrap_or(Moment::NEVER);
        let mut around: Vec<_> = self.operations.iter().filter(|operation| operation.begin < end).collect();
        around.sort_by_key(|operation| operation.begin);
        let first = around.len().saturating_sub(TOLD_OPERATIONS);
        let lines: String = around[first..].iter().map(|operation| format!("\n  {operation}")).collect();
        format!("no order of operations explains that {wrong}; what began before it ended:{lines}")
    }
}

#[cfg(test)]
mod tests;
