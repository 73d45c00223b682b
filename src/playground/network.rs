//! The network between the stores, which can be cut: every store reaches each other one through a door of its own, a
//! socket of the loopback interface that passes on what comes in.
//!
//! While two stores are apart their connections are broken, and new ones end as soon as they are made. The coordinator
//! and clients reach every store all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use transport::{AddressResolver, ResolveError};
use types::StoreId;

/// An address, once it is found.
type Found = Pin<Box<dyn Future<Output = Result<String, ResolveError>> + Send>>;

/// Bytes that wait in a door, for each direction.
const BUFFER_BYTES: usize = 64 << 10;

/// Who is apart from whom: stores of different sides are; those that are on no side are together on one of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides(pub Vec<BTreeSet<StoreId>>);

impl Sides {
    fn of(&self, store: StoreId) -> Option<usize> {
        self.0.iter().position(|side| side.contains(&store))
    }

    /// Whether two stores reach each other.
    pub fn joins(&self, one: StoreId, other: StoreId) -> bool {
        self.of(one) == self.of(other)
    }
}

/// The network; clones are the same. Its doors end with the runtime.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    runtime: Handle,
    sides: watch::Sender<Sides>,
    /// How many connections there are from one store to another.
    connections: watch::Sender<BTreeMap<Pair, usize>>,
    /// Where one store reaches another; bounded by the pairs of stores.
    doors: Mutex<BTreeMap<Pair, Door>>,
}

/// From one store to another.
type Pair = (StoreId, StoreId);

/// A way from one store to another.
struct Door {
    address: String,
    /// Where it leads.
    target: watch::Sender<String>,
}

impl Network {
    /// A whole network, whose doors are kept by `runtime`.
    pub fn new(runtime: Handle) -> Self {
        let (sides, connections) = (watch::Sender::default(), watch::Sender::default());
        Self(Arc::new(Shared { runtime, sides, connections, doors: Mutex::default() }))
    }

    /// Parts the stores, and waits until their connections are broken. Whoever was apart before is not any more.
    pub async fn part(&self, sides: Sides) {
        let mut connections = self.0.connections.subscribe();
        self.0.sides.send_replace(sides.clone());
        let is_parted = |connections: &BTreeMap<Pair, usize>| {
            connections.iter().all(|((from, to), count)| *count == 0 || sides.joins(*from, *to))
        };
        // An error would mean that the sender is gone, which `self` holds.
        drop(connections.wait_for(is_parted).await);
    }

    /// Joins all stores.
    pub fn heal(&self) {
        self.0.sides.send_replace(Sides::default());
    }

    /// How `from` finds others through this network, given how it would find them without.
    pub fn seen_from(&self, from: StoreId, outside: Arc<dyn AddressResolver>) -> Arc<dyn AddressResolver> {
        Arc::new(View { from, network: self.clone(), outside })
    }

    /// The address of the door from one store to another, which leads to `target` from now on.
    fn door(&self, pair: Pair, target: String) -> io::Result<String> {
        let mut doors = self.0.doors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = doors.get(&pair) {
            door.target.send_replace(target);
            return Ok(door.address.clone());
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let (target, leads_to) = watch::channel(target);
        let connections = self.0.connections.clone();
        let keeper = Keeper { pair, target: leads_to, sides: self.0.sides.subscribe(), connections };
        self.0.runtime.spawn(keeper.keep(listener));
        doors.insert(pair, Door { address: address.clone(), target });
        Ok(address)
    }
}

/// How one store finds the others.
struct View {
    from: StoreId,
    network: Network,
    outside: Arc<dyn AddressResolver>,
}

impl AddressResolver for View {
    fn resolve(&self, to: StoreId) -> Found {
        let (network, pair, target) = (self.network.clone(), (self.from, to), self.outside.resolve(to));
        Box::pin(async move {
            let door = network.door(pair, target.await?);
            door.map_err(|error| ResolveError::Unavailable { store: to, cause: error.to_string() })
        })
    }
}

/// Passes on what comes through one door.
#[derive(Clone)]
struct Keeper {
    pair: Pair,
    target: watch::Receiver<String>,
    sides: watch::Receiver<Sides>,
    connections: watch::Sender<BTreeMap<Pair, usize>>,
}

/// A connection that counts until it ends.
struct Counted {
    pair: Pair,
    connections: watch::Sender<BTreeMap<Pair, usize>>,
}

impl Counted {
    fn new(pair: Pair, connections: watch::Sender<BTreeMap<Pair, usize>>) -> Self {
        connections.send_modify(|connections| *connections.entry(pair).or_default() += 1);
        Self { pair, connections }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.send_modify(|connections| *connections.entry(self.pair).or_default() -= 1);
    }
}

impl Keeper {
    async fn keep(self, listener: std::net::TcpListener) {
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        loop {
            // A caller may be gone before it is accepted.
            let Ok((caller, _)) = listener.accept().await else { continue };
            let keeper = self.clone();
            tokio::spawn(async move {
                // Both ends learn of it by their own sockets.
                let _ = keeper.pass(caller).await;
            });
        }
    }

    async fn pass(mut self, mut caller: TcpStream) -> io::Result<()> {
        let (from, to) = self.pair;
        // Counted before it looks, so that whoever cuts the network waits for it.
        let _counted = Counted::new(self.pair, self.connections.clone());
        if !self.sides.borrow_and_update().joins(from, to) {
            return Ok(());
        }
        let address = self.target.borrow().clone();
        let mut target = TcpStream::connect(address).await?;
        caller.set_nodelay(true)?;
        target.set_nodelay(true)?;
        let (mut sides, passed) = (
            self.sides,
            tokio::io::copy_bidirectional_with_sizes(&mut caller, &mut target, BUFFER_BYTES, BUFFER_BYTES),
        );
        tokio::select! {
            passed = passed => passed.map(drop),
            // Also when the network is gone.
            _ = sides.wait_for(|sides| !sides.joins(from, to)) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn sides(sides: &[&[u64]]) -> Sides {
        Sides(sides.iter().map(|side| side.iter().copied().map(StoreId).collect()).collect())
    }

    #[test]
    fn stores_on_no_side_are_together() {
        let joins = |sides: &Sides, one, other| sides.joins(StoreId(one), StoreId(other));
        let parted = sides(&[&[1], &[2, 3]]);
        assert!(joins(&parted, 2, 3) && joins(&parted, 4, 5));
        assert!(!joins(&parted, 1, 2) && !joins(&parted, 3, 1) && !joins(&parted, 4, 1) && !joins(&parted, 3, 4));
        assert!(joins(&Sides::default(), 1, 2));
    }

    /// Says where everybody is: at one address.
    struct At(String);

    impl AddressResolver for At {
        fn resolve(&self, _: StoreId) -> Found {
            let address = self.0.clone();
            Box::pin(async move { Ok(address) })
        }
    }

    /// Sends back what it is sent.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = socket.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    async fn round_trip(socket: &mut TcpStream) -> io::Result<u8> {
        socket.write_u8(7).await?;
        socket.read_u8().await
    }

    #[tokio::test]
    async fn a_cut_breaks_connections_until_it_is_healed() {
        let network = Network::new(Handle::current());
        let (one, two, three) = (StoreId(1), StoreId(2), StoreId(3));
        let view = network.seen_from(one, Arc::new(At(echo().await)));
        let (to_two, to_three) = (view.resolve(two).await.unwrap(), view.resolve(three).await.unwrap());
        assert_eq!(view.resolve(two).await.unwrap(), to_two, "a store keeps its door");
        let [mut cut, mut whole] =
            [TcpStream::connect(&to_two).await.unwrap(), TcpStream::connect(&to_three).await.unwrap()];
        assert_eq!((round_trip(&mut cut).await.unwrap(), round_trip(&mut whole).await.unwrap()), (7, 7));

        network.part(sides(&[&[2]])).await;
        assert!(cut.read_u8().await.is_err(), "the connection is broken");
        assert_eq!(round_trip(&mut whole).await.unwrap(), 7);
        let mut fresh = TcpStream::connect(&to_two).await.unwrap();
        assert!(fresh.read_u8().await.is_err(), "a new one ends at once");

        network.heal();
        let mut fresh = TcpStream::connect(&to_two).await.unwrap();
        assert_eq!(round_trip(&mut fresh).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_door_leads_to_where_its_store_is_now() {
        let network = Network::new(Handle::current());
        let gone = network.seen_from(StoreId(1), Arc::new(At("127.0.0.1:1".to_owned())));
        let door = gone.resolve(StoreId(2)).await.unwrap();
        let moved = network.seen_from(StoreId(1), Arc::new(At(echo().await)));
        assert_eq!(moved.resolve(StoreId(2)).await.unwrap(), door);
        assert_eq!(round_trip(&mut TcpStream::connect(&door).await.unwrap()).await.unwrap(), 7);
    }
}
