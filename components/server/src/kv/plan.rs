//! What a raw request comes to: one command for the log, or one read of a snapshot.

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

/// Reads a confirmed snapshot of the region.
pub(super) type Read<R> = Box<dyn FnOnce(&RegionSnapshot) -> Result<R, ReadError> + Send>;

impl<R> Plan<R> {
    /// A read that is long when it looks at more keys than fit into a blink.
    pub(super) fn read(
        keys: usize,
        read: impl FnOnce(&RegionSnapshot) -> Result<R, ReadError> + Send + 'static,
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
