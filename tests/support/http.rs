//! Asking a status port.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for an answer. A paused process accepts connections and says nothing.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The status and the body of the answer to a GET.
pub async fn get(address: &str, path: &str) -> io::Result<(u16, String)> {
    send(address, "GET", path, "").await
}

/// The status and the body of the answer to a request whose body, if it has one, is JSON.
pub async fn send(address: &str, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
    let exchange = async {
        let mut socket = TcpStream::connect(address).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        status.zip(body).ok_or_else(|| io::Error::other(format!("{address}{path} answered {answer:?}")))
    };
    timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The JSON at a path that exists.
pub async fn json(address: &str, path: &str) -> Result<Value, String> {
    let (status, body) = get(address, path).await.map_err(|error| format!("{address}{path}: {error}"))?;
    if status != 200 {
        return Err(format!("{address}{path} answered {status}: {body}"));
    }
    serde_json::from_str(&body).map_err(|error| format!("{address}{path} is no JSON ({error}): {body}"))
}

/// The sum of a metric over all of its labels, or over those that follow the beginning of a label set: `name{label="x"`.
pub async fn metric(address: &str, name: &str) -> Result<f64, String> {
    let (_, body) = get(address, "/metrics").await.map_err(|error| format!("{address}/metrics: {error}"))?;
    let values = body.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let whole_name = name.contains('{') || rest.starts_with(['{', ' ']);
        whole_name.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
    });
    let values: Vec<f64> = values.collect();
    if values.is_empty() { Err(format!("{address} has no metric {name}")) } else { Ok(values.iter().sum()) }
}
