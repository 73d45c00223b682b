//! The store's bound on what it works on at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use types::RequestError;

use super::KvConfig;

/// Counts the requests that are worked on, and the bytes that they want to write.
#[derive(Debug)]
pub(super) struct Admission {
    max_requests: usize,
    max_bytes: usize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// A request's place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Admission {
    pub(super) fn new(config: &KvConfig) -> Self {
        Self {
            max_requests: config.max_requests,
            max_bytes: config.max_write_bytes,
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Takes a request in, unless the store has enough to do. One that is alone is always taken, however large.
    ///
    /// # Errors
    /// `ServerIsBusy`.
    pub(super) fn admit(self: &Arc<Self>, bytes: usize) -> Result<Ticket, RequestError> {
        // The counts guard no memory of their own, so their order among threads does not matter; a thread may meet a
        // place that another is about to give back, and a bound is then met a little early.
        let requests = self.requests.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let ticket = Ticket { admission: Arc::clone(self), bytes };
        if requests >= self.max_requests {
            return Err(RequestError::ServerIsBusy { reason: "the store works on too many requests" });
        }
        if before > 0 && before.saturating_add(bytes) > self.max_bytes {
            return Err(RequestError::ServerIsBusy { reason: "too many bytes wait to be written" });
        }
        Ok(ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.admission.requests.fetch_sub(1, Ordering::Relaxed);
        self.admission.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn admission() -> Arc<Admission> {
        Arc::new(Admission::new(&KvConfig { max_requests: 2, max_write_bytes: 100, ..KvConfig::default() }))
    }

    #[test]
    fn a_place_that_is_given_back_is_taken_again() {
        let admission = admission();
        let first = admission.admit(0).unwrap();
        let _second = admission.admit(0).unwrap();
        assert!(matches!(admission.admit(0), Err(RequestError::ServerIsBusy { .. })));
        drop(first);
        assert!(admission.admit(0).is_ok());
    }

    #[test]
    fn bytes_are_bounded_but_one_request_is_always_taken() {
        let admission = admission();
        let large = admission.admit(1000).unwrap();
        assert!(matches!(admission.admit(1), Err(RequestError::ServerIsBusy { .. })));
        assert!(admission.admit(0).is_err(), "a bound that was passed lets nothing else in");
        drop(large);
        let _first = admission.admit(60).unwrap();
        assert!(admission.admit(60).is_err());
        assert!(admission.admit(40).is_ok());
    }
}
