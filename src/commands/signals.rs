//! The wish that the process ends.

use std::io;
use std::process;

use runtime::spawn::{Spawner, ThreadSpawner};
use slog::{Logger, info};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The status of a process that ended at once because it was asked to twice.
const STATUS_AT_ONCE: i32 = 130;

/// Told when the process gets SIGTERM or SIGINT; at a second one the process ends at once, which loses nothing that was
/// acknowledged. Clones are told the same.
#[derive(Clone)]
pub struct Signals {
    first: watch::Receiver<Option<&'static str>>,
}

impl Signals {
    /// Listens from now on, by a thread of its own: whoever is told may be blocked.
    ///
    /// # Errors
    /// When the thread or the listening cannot be had.
    pub fn listen(logger: &Logger) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut incoming = {
            // What comes from here on waits to be received.
            let _inside = runtime.enter();
            Incoming { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? }
        };
        let (told, first) = watch::channel(None);
        let logger = logger.clone();
        let listen = move || {
            let name = runtime.block_on(incoming.next());
            info!(logger, "asked to end"; "signal" => name);
            told.send_replace(Some(name));
            runtime.block_on(incoming.next());
            process::exit(STATUS_AT_ONCE);
        };
        ThreadSpawner.spawn("signals", Box::new(listen))?;
        Ok(Self { first })
    }

    /// The signal that came, if one has.
    pub fn received(&self) -> Option<&'static str> {
        *self.first.borrow()
    }

    /// Waits until the process shall end; gives the signal's name.
    pub async fn wait(&self) -> &'static str {
        let mut first = self.first.clone();
        let name = first.wait_for(Option::is_some).await.ok().and_then(|name| *name);
        name.expect("the thread that listens does not end before the process")
    }
}

struct Incoming {
    terminate: Signal,
    interrupt: Signal,
}

impl Incoming {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
