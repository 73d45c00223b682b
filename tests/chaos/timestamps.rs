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
    seen: Mutex<BTreeSet<u64>>,
    is_over: AtomicBool,
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
        self.shared.seen.lock().unwrap().len()
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
        let known = self.seen.lock().unwrap().last().copied();
        let Ok(Ok(timestamp)) = timeout(ANSWER_TIMEOUT, client.current_timestamp()).await else { return false };
        let timestamp = ((timestamp.physical as u64) << 18) | timestamp.logical as u64;
        assert!(known < Some(timestamp), "timestamps went back: {known:?} was known before {timestamp} was asked for");
        assert!(self.seen.lock().unwrap().insert(timestamp), "timestamp {timestamp} was given twice");
        true
    }
}
