//! Waiting for the operating system to ask a process to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Done when the process gets SIGTERM or SIGINT; gives its name.
///
/// # Errors
/// When the signals cannot be listened to.
pub async fn termination() -> io::Result<&'static str> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
