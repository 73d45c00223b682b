//! The way out for snapshots that nobody wants any more.

use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, unbounded};

/// What is dropped elsewhere. Its files go with it, and large ones take their time: no poller waits for that, with
/// all of its regions behind it. Clones are the same. Bounded by the permits that snapshots hold.
#[derive(Clone, Default)]
pub(crate) struct Discards {
    elsewhere: Arc<OnceLock<Sender<Box<dyn Send>>>>,
}

impl Discards {
    /// From now on what is discarded waits to be dropped by the caller. Until somebody asks for it, and when nobody takes it
    /// any more, it is dropped where it is discarded.
    ///
    /// # Panics
    /// When somebody has asked before.
    pub(crate) fn take_over(&self) -> Receiver<Box<dyn Send>> {
        let (sender, discarded) = unbounded();
        assert!(self.elsewhere.set(sender).is_ok(), "one thread drops what is discarded");
        discarded
    }

    /// Drops something, elsewhere if there is such a place.
    pub(crate) fn discard(&self, what: impl Send + 'static) {
        if let Some(elsewhere) = self.elsewhere.get() {
            drop(elsewhere.send(Box::new(what)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(Sender<&'static str>);

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = self.0.send("removed");
        }
    }

    #[test]
    fn what_is_discarded_goes_where_somebody_takes_it() {
        let (sender, removed) = unbounded();
        let discards = Discards::default();
        let discard = || discards.clone().discard(Files(sender.clone()));
        discard();
        assert_eq!(removed.len(), 1, "nobody takes it");
        let discarded = discards.take_over();
        discard();
        assert_eq!((removed.len(), discarded.len()), (1, 1), "not where it was discarded");
        drop(discarded.try_recv());
        assert_eq!(removed.len(), 2);
        drop(discarded);
        discard();
        assert_eq!(removed.len(), 3, "nobody takes it any more");
    }
}
