//! Opening connections to another store.

use std::time::Duration;

use proto::transport::{Hello, Welcome};
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use types::StoreId;
use types::causes::with_causes;

use crate::collaborators::{InstanceError, ResolveError};
use crate::shared::Shared;
use crate::wire;

/// HTTP/2 windows: room for a few full frames, so that a round trip does not limit the throughput.
const WINDOW_BYTES: u32 = 8 << 20;

/// Why a stream to a store could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("address {address:?} is not of the form host:port")]
    Address { address: String },
    #[error("cannot connect to {address}: {cause}")]
    Connect { address: String, cause: String },
    #[error("no answer while {0} within the connect timeout")]
    Timeout(&'static str),
    #[error("the stream was ended: {:?}: {}", .0.code(), .0.message())]
    Ended(#[from] Status),
    #[error("the stream was closed by the other side")]
    Closed,
    #[error("store {found} answers at this address")]
    OtherStore { found: StoreId },
    #[error(transparent)]
    Instance(#[from] InstanceError),
}

/// Who opens a stream to whom.
pub(crate) struct Dial<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) store: StoreId,
}

impl Dial<'_> {
    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Result<Channel, DialError> {
        let config = &self.shared.config;
        let resolving = self.shared.collaborators.resolver.resolve(self.store);
        let address = within(config.connect_timeout, "looking up the address", resolving).await??;
        let endpoint = Endpoint::from_shared(format!("{}://{address}", config.security.scheme()))
            .map_err(|_| DialError::Address { address: address.clone() })?
            .connect_timeout(config.connect_timeout)
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_keep_alive_interval(config.keepalive_interval)
            .keep_alive_timeout(config.keepalive_timeout)
            .keep_alive_while_idle(true);
        endpoint.connect().await.map_err(|error| DialError::Connect { address, cause: with_causes(&error) })
    }

    /// What a stream begins with.
    pub(crate) fn hello(&self) -> Hello {
        let identity = &self.shared.identity;
        Hello {
            cluster_id: identity.cluster.0,
            from_store: identity.store.0,
            from_instance: identity.instance.0,
            to_store: self.store.0,
            version: wire::VERSION,
        }
    }

    /// Whether the right store answered the Hello.
    pub(crate) async fn check(&self, welcome: Welcome) -> Result<(), DialError> {
        let found = StoreId(welcome.store_id);
        if found != self.store {
            return Err(DialError::OtherStore { found });
        }
        Ok(self.shared.check_instance(found, welcome.instance.into()).await?)
    }
}

/// Waits for something that comes within the limit.
pub(crate) async fn within<F: Future>(limit: Duration, doing: &'static str, future: F) -> Result<F::Output, DialError> {
    timeout(limit, future).await.map_err(|_| DialError::Timeout(doing))
}
