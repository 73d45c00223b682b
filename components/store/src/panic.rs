//! Turns a panic into a value, so that it stops the store with a message rather than one thread in silence.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`; a panic becomes its message. What `work` touched may be half changed: the caller must not use it again.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
    })
}
