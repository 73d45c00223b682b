//! Timestamps from the coordinator: each is above all that were known when it was asked for, and none is given twice.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tikv_client::TransactionClient;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A client whose coordinator is gone may wait for it without end; a fresh one finds the next.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// A pause after each answer and each failure: many answers from one moment tell no more than a few.
const PAUSE: Duration = Duration::from_millis(2);

/// Askers at work. End them by [`finish`](Self::finish).
pub struct Timestamps {
    askers: JoinSet<()>,
    shared: Arc<Shared>,
}

struct Shared {
    endpoints: Vec<String>,
    seen: Mutex<Seen>,
    is_over: AtomicBool,
}

/// Every timestamp that was given.
#[derive(Default)]
struct Seen(BTreeSet<u64>);

impl Seen {
    /// The newest that is known: whatever is asked for from now on must be above it.
    fn newest(&self) -> Option<u64> {
        self.0.last().copied()
    }

    /// Takes down a timestamp, and what was the newest when it was asked for.
    fn add(&mut self, timestamp: u64, newest: Option<u64>) -> Result<(), String> {
        if newest >= Some(timestamp) {
            return Err(format!("timestamps went back: {newest:?} was known before {timestamp} was asked for"));
        }
        if !self.0.insert(timestamp) {
            return Err(format!("timestamp {timestamp} was given twice"));
        }
        Ok(())
    }
}

impl Timestamps {
    pub fn start(endpoints: Vec<String>, askers: usize) -> Self {
        let shared = Arc::new(Shared { endpoints, seen: Mutex::default(), is_over: AtomicBool::new(false) });
        let mut set = JoinSet::new();
        for _ in 0..askers {
            set.spawn(ask(Arc::clone(&shared)));
        }
        Self { askers: set, shared }
    }

    /// Ends the askers. Returns how many timestamps were given.
    ///
    /// # Panics
    /// When timestamps went back or were given twice.
    pub async fn finish(mut self) -> usize {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.askers.join_next().await {
            ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
        self.shared.seen.lock().unwrap().0.len()
    }
}

async fn ask(shared: Arc<Shared>) {
    while !shared.is_over.load(Ordering::Relaxed) {
        if let Ok(Ok(client)) = timeout(ANSWER_TIMEOUT, TransactionClient::new(shared.endpoints.clone())).await {
            while shared.ask(&client).await && !shared.is_over.load(Ordering::Relaxed) {
                tokio::time::sleep(PAUSE).await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Shared {
    /// Asks once. False when no answer came.
    async fn ask(&self, client: &TransactionClient) -> bool {
        let newest = self.seen.lock().unwrap().newest();
        let Ok(Ok(timestamp)) = timeout(ANSWER_TIMEOUT, client.current_timestamp()).await else { return false };
        let timestamp = ((timestamp.physical as u64) << 18) | timestamp.logical as u64;
        let added = self.seen.lock().unwrap().add(timestamp, newest);
        added.unwrap_or_else(|found| panic!("{found}"));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_that_go_back_or_come_twice_are_found() {
        let mut seen = Seen::default();
        seen.add(5, None).unwrap();
        // Asked for at the same time as the one before, and answered later.
        seen.add(3, None).unwrap();
        let newest = seen.newest();
        assert!(seen.add(4, newest).unwrap_err().contains("went back"));
        assert!(seen.add(5, newest).unwrap_err().contains("went back"));
        assert!(seen.add(3, None).unwrap_err().contains("twice"));
        seen.add(6, newest).unwrap();
    }
}
