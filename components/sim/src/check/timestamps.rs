//! What the coordinator hands out: timestamps, and ids.
//!
//! Neither is ever handed out twice, and whoever asks after somebody was answered gets larger ones.

use std::collections::BTreeMap;

use super::Violation;
use crate::call::{CallId, ClientId};
use crate::history::Moment;

/// Takes down what was asked for and what was handed out, and says at once when it is wrong.
///
/// It remembers as many batches as were answered since the oldest call that is still open was made: a call that is
/// answered later must get larger numbers than were known when it was made, so older batches need no memory.
#[derive(Debug)]
pub struct HandedOut {
    /// What findings call it.
    what: &'static str,
    /// The largest number that was handed out, and to whom.
    largest: Option<Batch>,
    /// For each open call the largest number when it was made. It only grows, so the first one's is the smallest.
    open: BTreeMap<CallId, Option<Batch>>,
    /// By their largest number.
    batches: BTreeMap<u64, Batch>,
}

/// Numbers from `lowest` to `largest`, and who got them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    lowest: u64,
    largest: u64,
    client: ClientId,
    begin: Moment,
    end: Moment,
}

impl Batch {
    fn told(&self) -> String {
        let Self { lowest, largest, client, begin, end } = self;
        format!("{lowest} to {largest} for client {} from {begin} to {end}", client.0)
    }
}

impl HandedOut {
    /// For timestamps or ids: `what` is their name.
    pub fn new(what: &'static str) -> Self {
        Self { what, largest: None, open: BTreeMap::new(), batches: BTreeMap::new() }
    }

    /// A call was made.
    pub fn asked(&mut self, call: CallId) {
        self.open.insert(call, self.largest);
    }

    /// Nobody waits for a call any more, whatever becomes of it.
    pub fn forgotten(&mut self, call: CallId) {
        self.open.remove(&call);
        self.forget_batches();
    }

    /// A call was answered with the `count` numbers up to `largest`.
    ///
    /// # Errors
    /// When they are not larger than all that were handed out before the call was made, or were handed out before.
    pub fn answered(
        &mut self,
        call: CallId,
        client: ClientId,
        (count, largest): (u32, u64),
        (begin, end): (Moment, Moment),
    ) -> Result<(), Violation> {
        // A call that was forgotten can no longer be compared with what was known then.
        let Some(floor) = self.open.remove(&call) else { return Ok(()) };
        let Some(lowest) = largest.checked_sub(u64::from(count).saturating_sub(1)) else {
            return Err(self.violation(format!("{count} {} up to {largest} begin below zero", self.what)));
        };
        let batch = Batch { lowest, largest, client, begin, end };
        if let Some(floor) = floor.filter(|floor| floor.largest >= lowest) {
            let (new, old) = (batch.told(), floor.told());
            return Err(self.violation(format!("{} went back: {new}, after {old}", self.what)));
        }
        let next = self.batches.range(lowest..).next().map(|(_, batch)| batch);
        if let Some(other) = next.filter(|other| other.lowest <= largest) {
            let (new, old) = (batch.told(), other.told());
            return Err(self.violation(format!("{} were handed out twice: {new}, and {old}", self.what)));
        }
        self.batches.insert(largest, batch);
        if self.largest.is_none_or(|other| other.largest < largest) {
            self.largest = Some(batch);
        }
        self.forget_batches();
        Ok(())
    }

    fn forget_batches(&mut self) {
        let smallest = self.open.values().next().unwrap_or(&self.largest);
        let Some(floor) = smallest.map(|floor| floor.largest) else { return };
        while self.batches.first_key_value().is_some_and(|(largest, _)| *largest <= floor) {
            self.batches.pop_first();
        }
    }

    fn violation(&self, what: String) -> Violation {
        Violation { checker: "timestamps", what }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    struct Script(HandedOut, u64);

    impl Script {
        fn new() -> Self {
            Self(HandedOut::new("timestamps"), 0)
        }

        fn ask(&mut self, call: u64) -> &mut Self {
            self.0.asked(CallId(call));
            self
        }

        fn answer(&mut self, call: u64, lowest: u64, largest: u64) -> Result<&mut Self, Violation> {
            self.1 += 1;
            let moments = (Moment::numbered(call), Moment::numbered(self.1));
            let count = (largest - lowest + 1) as u32;
            self.0.answered(CallId(call), ClientId(0), (count, largest), moments)?;
            Ok(self)
        }
    }

    fn assert_found(result: Result<&mut Script, Violation>, what: &str) {
        let found = result.map(|_| ()).expect_err("there is something to find").to_string();
        assert!(found.contains(what), "{found}");
    }

    #[test]
    fn calls_at_the_same_time_may_be_answered_in_any_order() {
        let mut script = Script::new();
        script.ask(0).ask(1).answer(0, 6, 9).unwrap().answer(1, 1, 5).unwrap();
        script.ask(2).answer(2, 10, 10).unwrap();
        assert!(script.0.batches.is_empty(), "nobody waits for an answer");
    }

    #[test]
    fn numbers_that_go_back_are_found() {
        assert_found(Script::new().ask(0).answer(0, 6, 9).unwrap().ask(1).answer(1, 1, 5), "went back");
        assert_found(Script::new().ask(0).answer(0, 6, 9).unwrap().ask(1).answer(1, 9, 12), "went back");
    }

    #[test]
    fn numbers_that_are_handed_out_twice_are_found() {
        for (lowest, largest) in [(6, 9), (1, 6), (9, 12), (7, 8), (1, 12)] {
            let mut script = Script::new();
            script.ask(0).ask(1).ask(2).answer(0, 6, 9).unwrap().answer(1, 13, 20).unwrap();
            assert_found(script.answer(2, lowest, largest), "handed out twice");
        }
        assert_found(Script::new().ask(0).answer(0, 6, 9).unwrap().ask(1).answer(1, 6, 9), "went back");
    }

    #[test]
    fn memory_is_kept_for_open_calls_only() {
        let mut script = Script::new();
        script.ask(0);
        for call in 1..100 {
            script.ask(call).answer(call, call, call).unwrap();
        }
        assert_eq!(script.0.batches.len(), 99);
        script.0.forgotten(CallId(0));
        assert!(script.0.batches.is_empty());
        script.answer(0, 5, 5).unwrap();
    }
}
