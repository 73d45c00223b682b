//! One question over HTTP: to a store's status port, or to the placement driver's paths for people.
//!
//! Each has a connection of its own, which ends with its answer: people ask seldom.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use types::causes::with_causes;

use crate::channel::MAX_ANSWER_BYTES;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// It is looked at.
    Get,
    /// It is given an order.
    Post,
    /// It is ended.
    Delete,
}

impl Method {
    const fn hyper(self) -> hyper::Method {
        match self {
            Self::Get => hyper::Method::GET,
            Self::Post => hyper::Method::POST,
            Self::Delete => hyper::Method::DELETE,
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's status, such as 200.
    pub status: u16,
    /// The body; at most 64 MiB.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// What was given as an address or a path is none.
    #[error("{0:?} is not an address: write it as host:port")]
    Address(String),
    /// Nobody took the question.
    #[error("nobody listens at {address}: {cause}")]
    Unreachable {
        /// Who was asked.
        address: String,
        /// What went wrong.
        cause: String,
    },
    /// The question was taken, and no whole answer came: an order may have been carried out.
    #[error("{address} took the request and gave no answer: {cause}")]
    NoAnswer {
        /// Who was asked.
        address: String,
        /// What went wrong.
        cause: String,
    },
}

/// Asks `address` (`host:port`, or a URL with nothing behind that) for `path`, which begins with a slash and is encoded as
/// in URLs. A body is JSON. Waits at most for `patience` once it is connected.
///
/// # Errors
/// [`HttpError`]; whatever the status of an answer is, it is none.
pub async fn request(
    address: &str,
    method: Method,
    path: &str,
    body: Option<Bytes>,
    patience: Duration,
) -> Result<Answer, HttpError> {
    let host = host(address)?;
    let uri: Uri = path.parse().map_err(|_| HttpError::Address(format!("{address}{path}")))?;
    let request = Request::builder().method(method.hyper()).uri(uri).header(HOST, host).header(CONNECTION, "close");
    let request = if body.is_some() { request.header(CONTENT_TYPE, "application/json") } else { request };
    let request = request.body(Full::new(body.unwrap_or_default()));
    let request = request.map_err(|_| HttpError::Address(format!("{address}{path}")))?;
    let unreachable = |cause: String| HttpError::Unreachable { address: address.to_owned(), cause };
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(host)).await;
    let socket = match connected {
        Ok(connected) => connected.map_err(|error| unreachable(error.to_string()))?,
        Err(_) => return Err(unreachable(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))),
    };
    let no_answer = |cause: String| HttpError::NoAnswer { address: address.to_owned(), cause };
    match timeout(patience, exchange(socket, request)).await {
        Ok(answer) => answer.map_err(no_answer),
        Err(_) => Err(no_answer(format!("it takes longer than {} s", patience.as_secs()))),
    }
}

/// The host and port of an address, which may come with HTTP's scheme in front.
fn host(address: &str) -> Result<&str, HttpError> {
    let host = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    let is_sound = host.rsplit_once(':').is_some_and(|(name, port)| is_name(name) && port.parse::<u16>().is_ok());
    is_sound.then_some(host).ok_or_else(|| HttpError::Address(address.to_owned()))
}

fn is_name(host: &str) -> bool {
    !host.is_empty() && !host.contains(['/', '@', ' '])
}

async fn exchange(socket: TcpStream, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let told = |error: hyper::Error| with_causes(&error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(told)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(told)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| with_causes(&*error))?.to_bytes();
        Ok(Answer { status, body })
    };
    let (mut answer, mut connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end before the answer is read out of it.
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(told(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Somebody who answers one request, which ends with `until`, with these bytes; gives what was asked.
    async fn answering(until: &'static [u8], answer: &'static [u8]) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serve = async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(until) {
                asked.push(socket.read_u8().await.unwrap());
            }
            socket.write_all(answer).await.unwrap();
            String::from_utf8(asked).unwrap()
        };
        (address, tokio::spawn(serve))
    }

    #[tokio::test]
    async fn a_question_gets_its_answer() {
        let (address, asked) = answering(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
        let answer = request(&address, Method::Get, "/a?b=c", None, PATIENCE).await.unwrap();
        assert_eq!(answer, Answer { status: 200, body: "{}".into() });
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("GET /a?b=c HTTP/1.1\r\n") && asked.contains(&format!("host: {address}")), "{asked}");
    }

    #[tokio::test]
    async fn an_order_carries_its_body_and_a_refusal_is_an_answer() {
        let chunked = b"HTTP/1.1 409 Conflict\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n";
        let (address, asked) = answering(b"}", chunked).await;
        let url = format!("http://{address}/");
        let answer = request(&url, Method::Post, "/a", Some("{\"b\":1}".into()), PATIENCE).await.unwrap();
        assert_eq!(answer, Answer { status: 409, body: "no".into() });
        let asked = asked.await.unwrap();
        assert!(asked.contains("content-type: application/json") && asked.ends_with("{\"b\":1}"), "{asked}");
    }

    #[tokio::test]
    async fn a_broken_answer_is_not_taken_for_silence_of_the_port() {
        let (address, _asked) = answering(b"\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}").await;
        let error = request(&address, Method::Delete, "/a", None, PATIENCE).await.unwrap_err();
        assert!(matches!(error, HttpError::NoAnswer { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_unreachable() {
        // Bound and not listening: nobody else gets it meanwhile.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let error = request(&address, Method::Get, "/a", None, PATIENCE).await.unwrap_err();
        assert!(matches!(error, HttpError::Unreachable { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_address_is_said_to_be_none() {
        for wrong in ["", "host", "host:", ":80", "host:port", "https://host:80", "host:80/path"] {
            let error = request(wrong, Method::Get, "/a", None, PATIENCE).await.unwrap_err();
            assert_eq!(error, HttpError::Address(wrong.to_owned()));
        }
    }
}
