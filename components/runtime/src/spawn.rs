//! The seam for threads.

use std::io;
use std::thread;

/// A thread that was started and can be waited for.
pub trait Joinable: Send + Sync {
    /// Waits until the thread has ended. False when it ended by a panic.
    fn join(self: Box<Self>) -> bool;
}

/// Starts threads. Whoever wants to start one is handed a spawner, so that a test can refuse or count them.
pub trait Spawner: Send + Sync + 'static {
    /// Starts a thread that does `work`.
    ///
    /// # Errors
    /// The operating system's, when it has no room for another thread.
    fn spawn(&self, name: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Joinable>>;
}

/// Starts threads of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadSpawner;

impl Spawner for ThreadSpawner {
    fn spawn(&self, name: &str, work: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Joinable>> {
        let handle = thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Box::new(handle))
    }
}

impl Joinable for thread::JoinHandle<()> {
    fn join(self: Box<Self>) -> bool {
        thread::JoinHandle::join(*self).is_ok()
    }
}
