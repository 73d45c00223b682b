//! Listening, and knowing where.

use tokio::net::TcpListener;

use super::error::NodeError;

/// A socket that listens, and the address that others reach it by.
pub struct Listening {
    /// The socket.
    pub listener: TcpListener,
    /// `host:port`, with the port that was given when port 0 was asked for.
    pub advertised: String,
}

/// Listens on `address`; others reach it by `advertised`, whose port 0 stands for the one that was given.
///
/// # Errors
/// When the address is in use or not this machine's.
pub async fn listen(address: &str, advertised: &str) -> Result<Listening, NodeError> {
    let failed = |source| NodeError::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let advertised = match advertised.rsplit_once(':') {
        Some((host, "0")) => format!("{host}:{port}"),
        _ => advertised.to_owned(),
    };
    Ok(Listening { listener, advertised })
}
