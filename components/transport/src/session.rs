//! Which streams of other stores are listened to.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use types::StoreId;

/// Most stores that are listened to at a time.
const MAX_SESSIONS: usize = 4096;

/// The one stream of each store that is listened to. A store that opens a new one gave the old one up, even if the old
/// connection has not noticed yet.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Open>);

#[derive(Default)]
struct Open {
    last_number: u64,
    by_store: BTreeMap<StoreId, Running>,
}

struct Running {
    number: u64,
    /// Dropping it ends the session.
    _replace: oneshot::Sender<()>,
}

impl Sessions {
    /// Begins a store's session and ends the one before it; `None` when there are too many of other stores.
    pub(crate) fn begin(self: &Arc<Self>, store: StoreId) -> Option<Session> {
        let mut open = self.0.lock();
        if open.by_store.len() >= MAX_SESSIONS && !open.by_store.contains_key(&store) {
            return None;
        }
        let (replace, replaced) = oneshot::channel();
        open.last_number += 1;
        let number = open.last_number;
        open.by_store.insert(store, Running { number, _replace: replace });
        Some(Session { store, number, replaced, sessions: Arc::clone(self) })
    }
}

/// A stream that is listened to, until it is dropped or replaced.
pub(crate) struct Session {
    store: StoreId,
    number: u64,
    replaced: oneshot::Receiver<()>,
    sessions: Arc<Sessions>,
}

impl Session {
    /// Waits until the store opened another stream.
    pub(crate) async fn replaced(&mut self) {
        // Nothing is ever sent: the sender's end is the message.
        let _ = (&mut self.replaced).await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut open = self.sessions.0.lock();
        if open.by_store.get(&self.store).is_some_and(|running| running.number == self.number) {
            open.by_store.remove(&self.store);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(sessions: &Sessions) -> usize {
        sessions.0.lock().by_store.len()
    }

    #[tokio::test]
    async fn a_newer_session_ends_the_older_and_outlives_it() {
        let sessions = Arc::new(Sessions::default());
        let mut older = sessions.begin(1.into()).expect("there is room");
        assert!(futures::poll!(std::pin::pin!(older.replaced())).is_pending());
        let newer = sessions.begin(1.into()).expect("there is room");
        older.replaced().await;
        drop(older);
        assert_eq!(open(&sessions), 1, "the end of the older one is not the newer one's");
        drop(newer);
        assert_eq!(open(&sessions), 0);
    }

    #[test]
    fn the_bound_holds_for_new_stores_alone() {
        let sessions = Arc::new(Sessions::default());
        let held: Vec<_> = (0..MAX_SESSIONS as u64).map(|store| sessions.begin(store.into())).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(sessions.begin(u64::MAX.into()).is_none());
        assert!(sessions.begin(0.into()).is_some());
    }
}
