//! A network of TCP proxies on the loopback interface, one in front of each process of the cluster.
//!
//! Others are told the proxy's address, so every connection passes the proxy of the one who is called. The proxy finds
//! out who calls by looking up in `/proc` whose socket is at the other end. So each direction of each pair can be
//! treated by itself.
//!
//! A cut direction is not read any more: like a network that loses packets, it neither delivers nor tells, and what was
//! on its way arrives when it is mended. What proxies cannot do is to keep a connection from being opened, since the
//! kernel does that before anybody is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::network::Network;
use crate::plan::{Abilities, Party};
use crate::support::ports::free_address;
use crate::support::process::Process;

/// How late each piece of a slow party comes. It sends this many pieces of [`PIECE_BYTES`] in a second at most.
const DELAY: Duration = Duration::from_millis(80);
const PIECE_BYTES: usize = 16 << 10;

/// The state of the network, and its only lock.
#[derive(Default)]
struct Condition {
    cut: BTreeSet<(Party, Party)>,
    isolated: BTreeSet<Party>,
    slow: BTreeSet<Party>,
    /// How often each party's connections were reset.
    resets: BTreeMap<Party, u64>,
}

impl Condition {
    fn is_open(&self, (from, to): (Party, Party)) -> bool {
        !self.cut.contains(&(from, to)) && !self.isolated.contains(&from) && !self.isolated.contains(&to)
    }

    fn resets(&self, (one, other): (Party, Party)) -> [Option<u64>; 2] {
        [one, other].map(|party| self.resets.get(&party).copied())
    }
}

/// The ids of the running processes; zero before the first start.
type ProcessIds = Arc<Mutex<BTreeMap<Party, Arc<AtomicU32>>>>;

/// The proxies of a cluster. They end with the runtime.
#[derive(Default)]
pub struct Proxies {
    condition: watch::Sender<Condition>,
    processes: ProcessIds,
}

impl Network for Proxies {
    fn abilities(&self) -> Abilities {
        Abilities { slow: true, reset: true }
    }

    fn place(&mut self, party: Party, process: Process) -> Process {
        let outside = free_address();
        let listener = std::net::TcpListener::bind(&outside).unwrap();
        listener.set_nonblocking(true).unwrap();
        let proxy = Proxy {
            party,
            target: process.address.clone(),
            condition: self.condition.clone(),
            processes: Arc::clone(&self.processes),
        };
        tokio::spawn(proxy.serve(TcpListener::from_std(listener).unwrap()));
        self.processes.lock().unwrap().insert(party, process.id());
        process.advertised(&outside)
    }

    fn set_cut(&mut self, from: Party, to: Party, is_cut: bool) {
        self.condition.send_modify(|condition| set(&mut condition.cut, (from, to), is_cut));
    }

    fn set_isolated(&mut self, party: Party, is_isolated: bool) {
        self.condition.send_modify(|condition| set(&mut condition.isolated, party, is_isolated));
    }

    fn set_slow(&mut self, party: Party, is_slow: bool) {
        self.condition.send_modify(|condition| set(&mut condition.slow, party, is_slow));
    }

    fn reset(&mut self, party: Party) {
        self.condition.send_modify(|condition| *condition.resets.entry(party).or_default() += 1);
    }
}

fn set<T: Ord>(all: &mut BTreeSet<T>, one: T, is_in: bool) {
    let has_changed = if is_in { all.insert(one) } else { all.remove(&one) };
    assert!(has_changed, "nothing is set to what it is already");
}

/// What stands in front of one process.
#[derive(Clone)]
struct Proxy {
    party: Party,
    target: String,
    condition: watch::Sender<Condition>,
    processes: ProcessIds,
}

impl Proxy {
    async fn serve(self, listener: TcpListener) {
        loop {
            // A caller may be gone before it is accepted.
            let Ok((caller, _)) = listener.accept().await else { continue };
            let proxy = self.clone();
            tokio::spawn(async move {
                // Both ends learn of it by their own sockets.
                let _ = proxy.carry(caller).await;
            });
        }
    }

    async fn carry(self, mut caller: TcpStream) -> io::Result<()> {
        let from = self.owner(&caller);
        let parties = (from, self.party);
        let mut resets = self.condition.subscribe();
        let before = resets.borrow().resets(parties);
        // A killed process looks to the caller as it does without a proxy.
        caller.set_zero_linger()?;
        let mut target = TcpStream::connect(&self.target).await?;
        target.set_zero_linger()?;
        caller.set_nodelay(true)?;
        target.set_nodelay(true)?;
        let (from_caller, to_caller) = caller.split();
        let (from_target, to_target) = target.split();
        let there = pump(from_caller, to_target, parties, self.condition.subscribe());
        let back = pump(from_target, to_caller, (self.party, from), self.condition.subscribe());
        tokio::select! {
            ended = async { tokio::try_join!(there, back) } => { ended?; }
            _ = resets.wait_for(|condition| condition.resets(parties) != before) => {}
        }
        Ok(())
    }

    /// Whose the other end of a connection is.
    fn owner(&self, caller: &TcpStream) -> Party {
        let processes: Vec<_> = self.processes.lock().unwrap().clone().into_iter().collect();
        let Ok(address) = caller.peer_addr() else { return Party::Clients };
        let Some(inode) = inode(address) else { return Party::Clients };
        let owns = |id: &AtomicU32| has_socket(id.load(Ordering::Relaxed), inode);
        processes.into_iter().find(|(_, id)| owns(id)).map_or(Party::Clients, |(party, _)| party)
    }
}

/// Carries one direction until its sender ends it, and while it is not cut.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    link: (Party, Party),
    mut condition: watch::Receiver<Condition>,
) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        condition.wait_for(|condition| condition.is_open(link)).await.map_err(gone)?;
        let length = tokio::select! {
            length = from.read(&mut piece) => length?,
            _ = condition.wait_for(|condition| !condition.is_open(link)) => continue,
        };
        if length == 0 {
            return to.shutdown().await;
        }
        if condition.borrow().slow.contains(&link.0) {
            tokio::time::sleep(DELAY).await;
        }
        condition.wait_for(|condition| condition.is_open(link)).await.map_err(gone)?;
        to.write_all(&piece[..length]).await?;
    }
}

/// The inode of the socket that has this address of the loopback interface for its own.
fn inode(address: SocketAddr) -> Option<u64> {
    let wanted = format!("0100007F:{:04X}", address.port());
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().find_map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        (columns.get(1) == Some(&wanted.as_str())).then(|| columns.get(9)?.parse().ok()).flatten()
    })
}

/// Whether a process has the socket open.
fn has_socket(process: u32, inode: u64) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    let name = format!("socket:[{inode}]");
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == name.as_str()))
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::support::run;
    use crate::support::wait::PATIENCE;

    /// A server that sends back what it is sent, behind a proxy, and a connection to it.
    async fn echo(proxies: &mut Proxies, dir: &tempfile::TempDir) -> TcpStream {
        let process = proxies.place(Party::Store(0), Process::new("echo", "echo", dir.path()));
        let listener = TcpListener::bind(process.listen_address()).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = socket.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        TcpStream::connect(&process.address).await.unwrap()
    }

    async fn round_trip(socket: &mut TcpStream) -> io::Result<[u8; 4]> {
        let mut answer = [0; 4];
        socket.write_all(b"ping").await?;
        let read = timeout(PATIENCE, socket.read_exact(&mut answer)).await.expect("an answer or an error comes");
        read.map(|_| answer)
    }

    #[test]
    fn a_cut_direction_holds_back_until_it_is_mended() {
        run(async {
            let (dir, mut proxies) = (tempfile::tempdir().unwrap(), Proxies::default());
            let mut socket = echo(&mut proxies, &dir).await;
            // Another pair is not concerned.
            proxies.set_cut(Party::Store(1), Party::Store(0), true);
            assert_eq!(round_trip(&mut socket).await.unwrap(), *b"ping");
            for (from, to) in [(Party::Clients, Party::Store(0)), (Party::Store(0), Party::Clients)] {
                proxies.set_cut(from, to, true);
                socket.write_all(b"ping").await.unwrap();
                let mut answer = [0; 4];
                let early = timeout(DELAY, socket.read_exact(&mut answer)).await;
                assert!(early.is_err(), "{from} -> {to} is cut, and {early:?} came through");
                proxies.set_cut(from, to, false);
                timeout(PATIENCE, socket.read_exact(&mut answer)).await.unwrap().unwrap();
                assert_eq!(answer, *b"ping");
            }
            proxies.set_isolated(Party::Store(0), true);
            socket.write_all(b"ping").await.unwrap();
            proxies.set_isolated(Party::Store(0), false);
            let mut answer = [0; 4];
            timeout(PATIENCE, socket.read_exact(&mut answer)).await.unwrap().unwrap();
        });
    }

    #[test]
    fn a_reset_ends_connections_of_before_and_no_others() {
        run(async {
            let (dir, mut proxies) = (tempfile::tempdir().unwrap(), Proxies::default());
            let mut socket = echo(&mut proxies, &dir).await;
            let address = socket.peer_addr().unwrap();
            round_trip(&mut socket).await.unwrap();
            proxies.reset(Party::Store(1));
            round_trip(&mut socket).await.unwrap();
            proxies.reset(Party::Store(0));
            let mut byte = [0];
            let end = timeout(PATIENCE, socket.read(&mut byte)).await.unwrap();
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            round_trip(&mut TcpStream::connect(address).await.unwrap()).await.unwrap();
        });
    }

    #[test]
    fn the_caller_of_a_connection_is_known() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let socket = inode(caller.local_addr().unwrap()).expect("the kernel lists it");
            assert!(has_socket(std::process::id(), socket));
            assert!(!has_socket(1, socket));
        });
    }
}
