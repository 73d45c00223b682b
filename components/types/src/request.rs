//! Requests to a region, and the promise that each is answered exactly once.

use bytes::Bytes;

use crate::error::RequestError;
use crate::{PeerId, RegionEpoch, RegionId, Term};

/// What a request says about the region that it is meant for; checked before it is proposed or read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// The region.
    pub region_id: RegionId,
    /// The peer that the client believes it talks to; `None` when it does not say.
    pub peer_id: Option<PeerId>,
    /// The term that the client believes in; `None` when it does not say.
    pub term: Option<Term>,
    /// The epoch that the client routed by; its version must equal the region's.
    pub epoch: RegionEpoch,
}

/// What one applied command gave back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandOutput {
    /// Puts, deletes and delete-ranges were applied.
    Written,
    /// A compare-and-swap was evaluated.
    Compared {
        /// Whether the comparison held and the value was swapped.
        swapped: bool,
        /// The value before the command; `None` when there was none.
        previous: Option<Bytes>,
    },
}

/// An applied command's output.
pub type WriteOutput = CommandOutput;
/// How a write ended.
pub type WriteResult = Result<WriteOutput, RequestError>;
/// Whom to tell how a write ended.
pub type WriteResponder = Responder<WriteResult>;

/// An answer that can stand for "nobody will ever know".
pub trait Unanswered {
    /// The answer given when a [`Responder`] is dropped.
    fn unanswered() -> Self;
}

impl<T> Unanswered for Result<T, RequestError> {
    fn unanswered() -> Self {
        Err(RequestError::Undetermined { reason: "the store stopped before the request was answered" })
    }
}

impl<T> Unanswered for Option<T> {
    fn unanswered() -> Self {
        None
    }
}

/// Answers one request, exactly once: by [`Responder::respond`], or as *unknown* when it is dropped.
///
/// The answer is delivered on the thread that gives it; whoever makes a responder keeps its function short and
/// never blocks in it.
pub struct Responder<T: Unanswered>(Option<Box<dyn FnOnce(T) + Send>>);

impl<T: Unanswered> Responder<T> {
    /// A responder that hands the answer to `deliver`.
    pub fn new(deliver: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Some(Box::new(deliver)))
    }

    /// Gives the answer.
    pub fn respond(mut self, answer: T) {
        if let Some(deliver) = self.0.take() {
            deliver(answer);
        }
    }
}

impl<T: Unanswered> Drop for Responder<T> {
    fn drop(&mut self) {
        if let Some(deliver) = self.0.take() {
            deliver(T::unanswered());
        }
    }
}

impl<T: Unanswered> std::fmt::Debug for Responder<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Responder")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn responder(seen: &Arc<Mutex<Vec<WriteResult>>>) -> WriteResponder {
        let seen = Arc::clone(seen);
        Responder::new(move |answer| seen.lock().expect("no panic while held").push(answer))
    }

    #[test]
    fn answers_once_given_or_dropped() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        responder(&seen).respond(Ok(CommandOutput::Written));
        drop(responder(&seen));
        let seen = seen.lock().expect("no panic while held");
        assert!(matches!(seen[..], [Ok(CommandOutput::Written), Err(RequestError::Undetermined { .. })]));
    }
}
