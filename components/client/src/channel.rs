//! Connections.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// Largest answer that is taken: a page of scanned pairs can be large.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 << 20;

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
const WINDOW_BYTES: u32 = 4 << 20;

/// An address as a URL: those of stores come as `host:port`, those of the placement driver with a scheme.
pub(crate) fn url(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

/// Where to connect, with the options of all of our connections; `None` when the address is none.
pub(crate) fn endpoint(address: &str, connect_timeout: Duration) -> Option<Endpoint> {
    let endpoint = Endpoint::from_shared(url(address)).ok()?;
    let endpoint = endpoint
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Some(endpoint)
}

/// A connection that is opened by its first call, and again after it broke.
pub(crate) fn lazy(address: &str, connect_timeout: Duration) -> Option<Channel> {
    Some(endpoint(address, connect_timeout)?.connect_lazy())
}
