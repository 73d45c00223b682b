//! The store's answers as futures.

use region::RegionStatus;
use store::StoreHandle;
use tokio::sync::oneshot;
use types::{RegionId, RequestError, Responder};

/// Asks something of the store, and waits for the answer.
///
/// # Errors
/// The region's; `Undetermined` when the store goes away before it answers.
pub async fn ask<T: Send + 'static>(send: impl FnOnce(Responder<Result<T, RequestError>>)) -> Result<T, RequestError> {
    let (sender, receiver) = oneshot::channel();
    send(Responder::new(move |answer| {
        // Whoever asked may have gone.
        let _ = sender.send(answer);
    }));
    receiver.await.expect("a responder answers, when it is dropped at the latest")
}

/// What a region looks like at this moment; `None` when it is not here.
pub async fn inspect(store: &StoreHandle, region: RegionId) -> Option<RegionStatus> {
    let (sender, receiver) = oneshot::channel();
    store.inspect(
        region,
        Responder::new(move |status| {
            // Whoever asked may have gone.
            let _ = sender.send(status);
        }),
    );
    receiver.await.expect("a responder answers, when it is dropped at the latest")
}
