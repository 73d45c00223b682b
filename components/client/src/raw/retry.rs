//! When a request is sent again, and when nobody may.

use std::hash::{BuildHasher, RandomState};

use tokio::time::Instant;
use types::backoff::Backoff;

use crate::raw::call::Kind;
use crate::raw::config::ClientConfig;
use crate::raw::error::ClientError;

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request had no effect, and it is known whom to ask instead.
    Redirected(String),
    /// The request had no effect.
    NotServed(String),
    /// The request may have had its effect, or may still have it.
    Unknown(String),
    /// The request had no effect, and would fail again.
    Fatal(ClientError),
}

/// One call's attempts.
pub(crate) struct Retry {
    kind: Kind,
    repeat_unknown_writes: bool,
    deadline: Instant,
    backoff: Backoff,
    /// Whether the last failure was a redirection. Two in a row wait: stores that point at each other would
    /// otherwise be asked without end.
    redirected: bool,
    /// The first failure that left a write's outcome open. It outweighs all that follow.
    unknown: Option<String>,
}

impl Retry {
    pub(crate) fn new(kind: Kind, config: &ClientConfig) -> Self {
        Self {
            kind,
            repeat_unknown_writes: config.repeat_unknown_writes,
            deadline: Instant::now() + config.request_timeout,
            backoff: Backoff::new(config.backoff_min, config.backoff_max, RandomState::new().hash_one(0)),
            redirected: false,
            unknown: None,
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits until the request may be sent again, or says how the call ends.
    pub(crate) async fn after(&mut self, failure: Failure) -> Result<(), ClientError> {
        let was_redirected = std::mem::replace(&mut self.redirected, matches!(failure, Failure::Redirected(_)));
        let cause = match failure {
            Failure::Fatal(error) => return Err(self.end(error)),
            Failure::Redirected(_) if !was_redirected && Instant::now() < self.deadline => return Ok(()),
            Failure::Redirected(cause) | Failure::NotServed(cause) => cause,
            Failure::Unknown(cause) => self.unknown(cause)?,
        };
        let next = Instant::now() + self.backoff.pause();
        if next >= self.deadline {
            return Err(self.end(ClientError::TimedOut { cause }));
        }
        tokio::time::sleep_until(next).await;
        Ok(())
    }

    /// An attempt of unknown outcome: harmless for a read, never repeated for a swap.
    fn unknown(&mut self, cause: String) -> Result<String, ClientError> {
        match self.kind {
            Kind::Read => Ok(cause),
            Kind::Write if self.repeat_unknown_writes => {
                self.unknown.get_or_insert_with(|| cause.clone());
                Ok(cause)
            }
            Kind::Write | Kind::Swap => Err(ClientError::Undetermined { cause }),
        }
    }

    /// The error that ends the call.
    fn end(&self, error: ClientError) -> ClientError {
        match &self.unknown {
            Some(cause) => ClientError::Undetermined { cause: cause.clone() },
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn retry(kind: Kind, repeat_unknown_writes: bool) -> Retry {
        let backoff_min = Duration::from_micros(1);
        Retry::new(kind, &ClientConfig { repeat_unknown_writes, backoff_min, ..Default::default() })
    }

    fn unknown() -> Failure {
        Failure::Unknown("the connection broke".to_owned())
    }

    fn refused() -> ClientError {
        ClientError::Refused { reason: "no".to_owned() }
    }

    #[tokio::test]
    async fn a_swap_of_unknown_outcome_is_never_repeated() {
        let ended = retry(Kind::Swap, true).after(unknown()).await;
        assert!(matches!(ended, Err(ClientError::Undetermined { .. })));
        assert!(retry(Kind::Swap, true).after(Failure::NotServed(String::new())).await.is_ok());
    }

    #[tokio::test]
    async fn a_write_of_unknown_outcome_is_repeated_only_when_allowed() {
        assert!(retry(Kind::Write, true).after(unknown()).await.is_ok());
        assert!(matches!(retry(Kind::Write, false).after(unknown()).await, Err(ClientError::Undetermined { .. })));
        assert!(retry(Kind::Read, false).after(unknown()).await.is_ok());
    }

    #[tokio::test]
    async fn what_was_unknown_once_stays_unknown() {
        let mut write = retry(Kind::Write, true);
        assert!(write.after(unknown()).await.is_ok());
        assert!(matches!(write.after(Failure::Fatal(refused())).await, Err(ClientError::Undetermined { .. })));
        let mut read = retry(Kind::Read, true);
        assert!(read.after(unknown()).await.is_ok());
        assert!(matches!(read.after(Failure::Fatal(refused())).await, Err(ClientError::Refused { .. })));
    }

    #[tokio::test]
    async fn the_second_redirection_in_a_row_waits() {
        let mut retry = retry(Kind::Read, true);
        retry.backoff = Backoff::new(Duration::from_secs(3600), Duration::from_secs(3600), 1);
        let redirected = || Failure::Redirected("not leader".to_owned());
        assert!(retry.after(redirected()).await.is_ok(), "the first does not wait");
        let ended = retry.after(redirected()).await;
        assert!(matches!(ended, Err(ClientError::TimedOut { .. })), "a wait of an hour is beyond the deadline");
    }
}
