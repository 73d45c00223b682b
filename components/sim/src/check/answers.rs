//! Every call is answered once at most.
//!
//! A call need not be answered at all: its answer may be lost. But an answer that comes belongs to a call that waits for
//! one, and each call gets one answer only.

use std::collections::BTreeMap;

use super::Violation;
use crate::call::CallId;

/// How many calls may wait for an answer before the oldest is forgotten.
const MAX_OPEN_CALLS: usize = 1 << 16;

/// The calls that clients made, each with what they remember of it.
#[derive(Debug)]
pub struct Answers<T> {
    next: CallId,
    open: BTreeMap<CallId, T>,
    /// Of calls below this one nothing is known any more, unless they are open.
    horizon: CallId,
}

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self { next: CallId(0), open: BTreeMap::new(), horizon: CallId(0) }
    }
}

impl<T> Answers<T> {
    /// A call is made. Returns its id, and a call that is forgotten for it.
    pub fn asked(&mut self, about: T) -> (CallId, Option<CallId>) {
        let id = self.next;
        self.next = CallId(id.0 + 1);
        self.open.insert(id, about);
        if self.open.len() <= MAX_OPEN_CALLS {
            return (id, None);
        }
        let forgotten = self.open.pop_first().map(|(forgotten, _)| forgotten);
        self.horizon = forgotten.map_or(self.horizon, |forgotten| CallId(forgotten.0 + 1));
        (id, forgotten)
    }

    /// An answer came. Returns what was remembered of its call, unless that was forgotten.
    ///
    /// # Errors
    /// When nobody made that call, or it was answered before.
    pub fn answered(&mut self, id: CallId) -> Result<Option<T>, Violation> {
        match self.open.remove(&id) {
            Some(about) => Ok(Some(about)),
            None if id < self.horizon => Ok(None),
            None if id < self.next => Err(violation(format!("call {} was answered twice", id.0))),
            None => Err(violation(format!("call {} was answered, and nobody made it", id.0))),
        }
    }

    /// How many calls were made.
    pub fn made(&self) -> u64 {
        self.next.0
    }
}

fn violation(what: String) -> Violation {
    Violation { checker: "answers", what }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn an_answer_belongs_to_one_call_and_a_call_has_one_answer() {
        let mut answers = Answers::default();
        let (first, _) = answers.asked("first");
        let (second, _) = answers.asked("second");
        assert_eq!(answers.answered(second).unwrap(), Some("second"));
        assert_eq!(answers.answered(first).unwrap(), Some("first"));
        assert!(answers.answered(first).unwrap_err().what.contains("twice"));
        assert!(answers.answered(CallId(2)).unwrap_err().what.contains("nobody made it"));
    }

    #[test]
    fn what_is_never_answered_is_forgotten_in_the_end() {
        let mut answers = Answers::default();
        let (first, _) = answers.asked(());
        let (second, _) = answers.asked(());
        let forgotten: Vec<_> = (1..MAX_OPEN_CALLS).filter_map(|_| answers.asked(()).1).collect();
        assert_eq!(forgotten, [first]);
        assert_eq!(answers.answered(first).unwrap(), None);
        assert_eq!(answers.answered(second).unwrap(), Some(()));
    }
}
