//! A set of actors and the queue of those that have work.

// Sketch of the public shape; see the crate's documentation.
//
// pub trait Actor: Send + 'static { type Message: Send + 'static; }
//
// pub enum SendError<M> { Unknown(M), Closed(M), Full(M) }            // gives the message back
//
// pub enum Verdict { Idle, Again, Close }                              // what to do with the actor after the round
//
// pub trait Handler<A: Actor> {
//     fn begin(&mut self);
//     fn handle(&mut self, actor: &mut A, inbox: &mut Vec<A::Message>);   // drains what it took; bounded by messages_per_round
//     fn end(&mut self, actors: &mut [Box<A>]) -> ();                      // the IO of the round; may step the actors again
//     fn verdict(&self, actor: &A) -> Verdict;
// }
//
// impl<A: Actor> System<A> {
//     pub fn new(name, SystemConfig { mailbox_capacity, actors_per_round, messages_per_round }, metrics) -> Arc<Self>
//     pub fn register(&self, id: u64, actor: A)                            // replaces and closes an older mailbox
//     pub fn send(&self, id: u64, message) -> Result<(), SendError<_>>     // bounded
//     pub fn force_send(&self, id: u64, message) -> Result<(), SendError<_>> // for completions: ignores the bound
//     pub fn broadcast(&self, make: impl FnMut(u64) -> A::Message)         // in id order, in chunks
//     pub fn close(&self, id: u64)
//     pub fn ids(&self) -> Vec<u64>
//     pub fn poll_once(&self, handler: &mut impl Handler<A>) -> bool       // one round without waiting; false when the queue is empty
//     pub fn run(&self, handler: &mut impl Handler<A>)                     // rounds until stop()
//     pub fn stop(&self)                                                   // pollers leave after their round; queued actors are dropped with their messages
// }
