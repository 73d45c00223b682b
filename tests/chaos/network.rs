//! What a network under test must be able to do. There are two: [`Namespaces`](crate::namespaces::Namespaces) lose real
//! packets and need root, [`Proxies`](crate::proxies::Proxies) hold back what connections carry and work everywhere.

use crate::plan::{Abilities, Party};
use crate::support::process::Process;

/// A network between a cluster and its clients that obeys the test. Nothing is set to what it is already.
pub trait Network {
    /// What can be drawn for it.
    fn abilities(&self) -> Abilities;

    /// Gives a process its place in this network, before it is started.
    fn place(&mut self, party: Party, process: Process) -> Process;

    /// Whether what `from` sends to `to` is lost.
    fn set_cut(&mut self, from: Party, to: Party, is_cut: bool);

    /// Whether everything is lost that the party sends or is sent.
    fn set_isolated(&mut self, party: Party, is_isolated: bool);

    /// Whether what the party sends comes late.
    fn set_slow(&mut self, party: Party, is_slow: bool);

    /// Resets every connection of the party.
    fn reset(&mut self, party: Party);
}
