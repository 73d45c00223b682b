//! The side of a run that asks for things.

use types::Instant;

use crate::call::{Call, CallId, Reply};

/// A call to be sent, or a moment at which to be woken.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Send this call.
    Call(CallId, Call),
    /// Wake at this moment.
    WakeAt(Instant),
}

/// Clients of a cluster. They only wish; the simulation makes it come true, or not.
pub trait Clients {
    /// It is this moment, and somebody asked to be woken at it or before. Called once at the beginning.
    fn wake(&mut self, now: Instant, wishes: &mut Vec<Wish>);

    /// A call of theirs is answered.
    fn answered(&mut self, now: Instant, id: CallId, reply: Reply, wishes: &mut Vec<Wish>);

    /// Begin nothing new from now on.
    fn stop(&mut self);

    /// Whether nothing of theirs is under way. They give up what is lost by themselves.
    fn are_done(&self) -> bool;

    /// How many of their operations were answered.
    fn operations(&self) -> u64;

    /// The run is over.
    ///
    /// # Errors
    /// A sentence, when what they saw cannot be.
    fn finish(&mut self) -> Result<(), String>;
}
