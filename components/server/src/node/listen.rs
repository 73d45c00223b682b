//! Listening, and knowing where.

use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

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

/// A socket's connections, for gRPC, which send small answers at once. The setting of tonic's server builder does not
/// reach sockets that it did not open, and without it a stream that answers one small request after another, as that of
/// the timestamps does, waits for the peer's delayed acknowledgement each time: 40 ms on Linux.
pub fn connections(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::StreamExt;
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn connections_send_small_answers_at_once() {
        let listening = listen("127.0.0.1:0", "127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(&listening.advertised).await.unwrap();
        let accepted = connections(listening.listener).next().await.unwrap().unwrap();
        assert!(accepted.nodelay().unwrap());
        assert!(!client.nodelay().unwrap(), "it is not how the machine's sockets are anyway");
    }
}
