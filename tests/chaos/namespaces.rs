//! A network of real interfaces: each process of the cluster sits in a network namespace of its own, all of them and the
//! test on one bridge.
//!
//! Nothing of it has a name outside of the test: the test's thread leaves the machine's namespace for one without a
//! name, in which the bridge is, and holds the others by open files. When the test and its processes have ended, in whatever
//! way, the kernel takes all of it down.
//!
//! - A *cut* gives the receiver a hardware address on the sender's side that nobody has: packets leave and are lost.
//! - *Isolating* takes the link down.
//! - *Slow* is a token bucket that delays packets, and drops them where the queue is too long. Not every kernel has it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc;

use runtime::spawn::{Spawner, ThreadSpawner};

use crate::network::Network;
use crate::plan::{Abilities, Party};
use crate::support::process::{Process, enter_namespace, start_spawner};

/// The first three parts of all addresses. They are seen in the namespaces alone.
const SUBNET: &str = "10.87.0";
const NOBODYS_HARDWARE_ADDRESS: &str = "02:00:00:00:00:01";
const PORT: u16 = 20_160;
const STATUS_PORT: u16 = 20_180;
/// What a slow party's interface does. About a tenth of what a busy store sends fits.
const SLOW: &str = "tbf rate 1mbit burst 8kb latency 200ms";

/// A namespace and its interface.
struct Namespace {
    party: Party,
    /// Keeps the namespace alive.
    file: Arc<File>,
    address: String,
    /// What the namespace calls its interface to the bridge.
    interface: &'static str,
}

impl Namespace {
    /// Runs a command in the namespace.
    fn run(&self, line: &str) -> Result<(), String> {
        let (program, arguments) = line.split_once(' ').expect("a command has arguments");
        let namespace = self.file.as_raw_fd();
        let mut command = Command::new(program);
        command.args(arguments.split(' '));
        // SAFETY: the closure makes one system call, with a file that is open for longer than the command runs.
        unsafe { command.pre_exec(move || enter_namespace(namespace)) };
        let output = command.output().map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("`{line}` at {}: {}", self.party, String::from_utf8_lossy(&output.stderr).trim()))
    }

    fn do_now(&self, line: &str) {
        self.run(line).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// The namespaces of a cluster and its clients.
pub struct Namespaces {
    /// The clients' first, with the bridge in it.
    all: Vec<Namespace>,
    can_be_slow: bool,
}

impl Namespaces {
    /// Moves the calling thread, and those that it starts from now on, into a namespace of its own, and makes another for
    /// each process. The thread cannot go back: it should be one that ends with the test.
    ///
    /// # Errors
    /// What is missing on this machine, or must not be done here.
    pub fn enter(stores: usize) -> Result<Self, String> {
        // Processes of other tests must not start in here.
        start_spawner();
        leave_namespace().map_err(|error| format!("a network namespace cannot be made: {error}"))?;
        let own = File::open("/proc/thread-self/ns/net").map_err(|error| error.to_string())?;
        let bridge = Namespace {
            party: Party::Clients,
            file: Arc::new(own),
            address: format!("{SUBNET}.1"),
            interface: "bridge",
        };
        bridge.run("ip link set lo up")?;
        bridge.run("ip link add bridge type bridge")?;
        bridge.run(&format!("ip addr add {}/24 dev bridge", bridge.address))?;
        bridge.run("ip link set bridge up")?;
        let parties = (0..stores).map(Party::Store).chain([Party::Coordinator]);
        let mut all = vec![bridge];
        for (number, party) in parties.enumerate() {
            let namespace = connect(&all[0], party, &format!("{SUBNET}.{}", number + 2))?;
            all.push(namespace);
        }
        let can_be_slow = all[1].run(&format!("tc qdisc add dev eth0 root {SLOW}")).is_ok();
        if can_be_slow {
            all[1].run("tc qdisc del dev eth0 root")?;
        }
        Ok(Self { all, can_be_slow })
    }

    fn of(&self, party: Party) -> &Namespace {
        self.all.iter().find(|namespace| namespace.party == party).expect("every party has a namespace")
    }
}

/// Makes a namespace with a link to the bridge.
fn connect(bridge: &Namespace, party: Party, address: &str) -> Result<Namespace, String> {
    let file = Arc::new(new_namespace().map_err(|error| format!("a network namespace cannot be made: {error}"))?);
    let namespace = Namespace { party, file, address: address.to_owned(), interface: "eth0" };
    let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.file.as_raw_fd());
    bridge.run(&format!("ip link add {party} type veth peer name eth0"))?;
    bridge.run(&format!("ip link set eth0 netns {path}"))?;
    bridge.run(&format!("ip link set {party} master bridge up"))?;
    namespace.run("ip link set lo up")?;
    namespace.run(&format!("ip addr add {address}/24 dev eth0"))?;
    namespace.run("ip link set eth0 up")?;
    Ok(namespace)
}

/// Makes a namespace that lives as long as the file is open.
fn new_namespace() -> io::Result<File> {
    let (sender, made) = mpsc::channel();
    // A thread of its own, since the caller shall stay where it is.
    let make = move || {
        let file = leave_namespace().and_then(|()| File::open("/proc/thread-self/ns/net"));
        let _ = sender.send(file);
    };
    ThreadSpawner.spawn("namespace", Box::new(make))?.join();
    made.recv().map_err(io::Error::other)?
}

/// Moves the calling thread into a fresh network namespace.
fn leave_namespace() -> io::Result<()> {
    // SAFETY: a plain system call that concerns the calling thread alone.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Network for Namespaces {
    fn abilities(&self) -> Abilities {
        Abilities { slow: self.can_be_slow, reset: false }
    }

    fn place(&mut self, party: Party, process: Process) -> Process {
        let namespace = self.of(party);
        let at = |port: u16| format!("{}:{port}", namespace.address);
        process.inside(Arc::clone(&namespace.file), at(PORT), at(STATUS_PORT))
    }

    fn set_cut(&mut self, from: Party, to: Party, is_cut: bool) {
        let (sender, receiver) = (self.of(from), &self.of(to).address);
        let neighbour = format!("{receiver} dev {}", sender.interface);
        if is_cut {
            sender.do_now(&format!("ip neigh replace {neighbour} lladdr {NOBODYS_HARDWARE_ADDRESS} nud permanent"));
        } else {
            sender.do_now(&format!("ip neigh del {neighbour}"));
        }
    }

    fn set_isolated(&mut self, party: Party, is_isolated: bool) {
        let state = if is_isolated { "down" } else { "up" };
        self.of(Party::Clients).do_now(&format!("ip link set {party} {state}"));
    }

    fn set_slow(&mut self, party: Party, is_slow: bool) {
        let namespace = self.of(party);
        if is_slow {
            namespace.do_now(&format!("tc qdisc replace dev eth0 root {SLOW}"));
        } else {
            namespace.do_now("tc qdisc del dev eth0 root");
        }
    }

    fn reset(&mut self, party: Party) {
        unreachable!("{party}: a reset was drawn for a network that cannot do it");
    }
}
