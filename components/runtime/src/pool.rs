//! Threads that poll a system.

use std::io;
use std::sync::Arc;

use crate::spawn::{Joinable, Spawner};
use crate::system::{Actor, Handler, System};

/// Threads that poll a system, each with its own handler. Dropping a pool stops it.
pub struct Pool<A: Actor> {
    system: Arc<System<A>>,
    threads: Vec<Box<dyn Joinable>>,
}

impl<A: Actor> Pool<A> {
    /// Starts a thread per handler; their names are the system's with a number.
    ///
    /// # Errors
    /// The spawner's. The system is stopped then, and the threads that had started have ended.
    pub fn start<H>(
        system: &Arc<System<A>>,
        handlers: impl IntoIterator<Item = H>,
        spawner: &dyn Spawner,
    ) -> io::Result<Self>
    where
        H: Handler<A> + Send + 'static,
    {
        let mut pool = Self { system: Arc::clone(system), threads: Vec::new() };
        for (number, mut handler) in handlers.into_iter().enumerate() {
            let system = Arc::clone(system);
            let name = format!("{}-{number}", system.name());
            pool.threads.push(spawner.spawn(&name, Box::new(move || system.run(&mut handler)))?);
        }
        Ok(pool)
    }

    /// Stops the system and waits until every thread has ended its round. False when one of them panicked.
    ///
    /// Must not be called from one of the pool's own threads: it would wait for itself.
    pub fn stop(mut self) -> bool {
        self.join()
    }

    fn join(&mut self) -> bool {
        self.system.stop();
        let panicked = self.threads.drain(..).filter_map(|thread| (!thread.join()).then_some(())).count();
        panicked == 0
    }
}

impl<A: Actor> Drop for Pool<A> {
    fn drop(&mut self) {
        self.join();
    }
}
