//! What a raw request comes to: one command for the log, or one read of a snapshot.

use bytes::Bytes;
use engine::{EngineError, RegionSnapshot};
use observe::metrics::server::RequestType;
use proto::convert::Refusal;
use proto::kvrpcpb::Context;
use proto::log::Command;
use store::StoreHandle;
use types::{ColumnFamily, CommandOutput, KeyRange, RequestError, RequestHeader};

/// A raw request of a client.
pub(super) trait RawRequest: Send + 'static {
    /// Its answer.
    type Response: RawResponse;
    /// What it counts as.
    const KIND: RequestType;

    /// What it says of its region.
    fn context(&self) -> Option<&Context>;

    /// How many bytes of keys and values it wants to write.
    fn write_bytes(&self) -> usize {
        0
    }

    /// What it comes to.
    ///
    /// # Errors
    /// When the request is wrong in itself.
    fn plan(self, target: &Target<'_>) -> Result<Plan<Self::Response>, RequestError>;
}

/// The answer to a raw request.
pub(super) trait RawResponse: Send + 'static {
    /// The answer of a request that was not served.
    fn refused(refusal: Refusal) -> Self;
}

/// What a request comes to.
pub(super) enum Plan<R> {
    /// A command, and how its output is answered.
    Write(Command, fn(CommandOutput) -> R),
    /// A read that is over so soon that no other thread is worth waking for it.
    Quick(Read<R>),
    /// A read that would keep the connection's thread from serving others.
    Long(Read<R>),
}

/// Reads a confirmed snapshot of the region, and tells what it found there.
pub(super) type Read<R> = Box<dyn FnOnce(&RegionSnapshot, &mut Found) -> Result<R, ReadError> + Send>;

/// The keys that a read looked at: what the region's load is known by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The smallest and the largest.
    between: Option<(Bytes, Bytes)>,
    pub(super) keys: u64,
    pub(super) bytes: u64,
}

impl Found {
    /// It looked at a key, whose value has so many bytes.
    pub(super) fn add(&mut self, key: &Bytes, value_bytes: usize) {
        self.keys += 1;
        self.bytes += (key.len() + value_bytes) as u64;
        match &mut self.between {
            None => self.between = Some((key.clone(), key.clone())),
            Some((low, _)) if key < low => *low = key.clone(),
            Some((_, high)) if key > high => *high = key.clone(),
            Some(_) => {}
        }
    }

    /// The smallest range that holds all of the keys.
    pub(super) fn range(&self) -> Option<KeyRange> {
        let (low, high) = self.between.as_ref()?;
        Some(KeyRange::new(low.clone(), [high, &[0][..]].concat()))
    }
}

impl<R> Plan<R> {
    /// A read that is long when it looks at more keys than fit into a blink.
    pub(super) fn read(
        keys: usize,
        read: impl FnOnce(&RegionSnapshot, &mut Found) -> Result<R, ReadError> + Send + 'static,
    ) -> Self {
        if keys > QUICK_READ_KEYS { Self::Long(Box::new(read)) } else { Self::Quick(Box::new(read)) }
    }
}

/// Most keys that a quick read looks at: some ten microseconds when they are cached.
const QUICK_READ_KEYS: usize = 64;

/// Why a read gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The region does not serve it.
    #[error(transparent)]
    Refused(#[from] RequestError),
    /// The state engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The region that a request is meant for.
pub(super) struct Target<'a> {
    pub(super) header: &'a RequestHeader,
    pub(super) store: &'a StoreHandle,
}

impl Target<'_> {
    /// The region's range, if the store knows the region as the request does.
    pub(super) fn range(&self) -> Option<KeyRange> {
        let view = self.store.region(self.header.region_id)?;
        let same = view.descriptor.epoch.version == self.header.epoch.version;
        same.then(|| view.descriptor.range.clone())
    }
}

/// The column family that a request names.
pub(super) fn column_family(name: &str) -> Result<ColumnFamily, RequestError> {
    name.parse().map_err(|error: types::column_family::UnknownColumnFamily| invalid(error.to_string()))
}

pub(super) fn invalid(reason: impl Into<String>) -> RequestError {
    RequestError::Invalid { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_counted_and_enclosed() {
        let mut found = Found::default();
        assert_eq!(found.range(), None);
        for key in ["f", "c", "h", "d"] {
            found.add(&Bytes::from(key), 10);
        }
        assert_eq!((found.keys, found.bytes), (4, 44));
        assert_eq!(found.range(), Some(KeyRange::new("c", "h\0")));
    }
}
