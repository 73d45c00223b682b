//! One process of the `raftyard` binary.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};

use runtime::spawn::{Spawner, ThreadSpawner};

use super::http;
use super::ports::free_address;
use super::wait::until;

/// Lines of a log that are shown when a test fails.
const TAIL_LINES: usize = 40;

/// What the operating system allows a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Largest file that it may write, in bytes. A write beyond it fails as it does on a full disk.
    pub file_bytes: Option<u64>,
}

/// A process that has ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// What it wrote to its log since its start.
    pub log: String,
}

/// A process with fixed addresses, a data directory and a log, which can be started again and again.
pub struct Process {
    pub name: String,
    /// Where others reach it.
    pub address: String,
    pub status_address: String,
    pub data_dir: PathBuf,
    /// Where it listens, when that is not where others reach it.
    listen_address: Option<String>,
    /// The network namespace that it runs in, when that is not the machine's.
    namespace: Option<Arc<File>>,
    command: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    /// Where the log of the running start begins.
    log_start: u64,
    child: Option<Child>,
    /// Of the newest start.
    id: Arc<AtomicU32>,
}

impl Process {
    /// A process that is not started yet: `raftyard {command}` with its data and log in `dir`.
    pub fn new(name: &str, command: &'static str, dir: &Path) -> Self {
        Self {
            name: name.to_owned(),
            address: free_address(),
            status_address: free_address(),
            data_dir: dir.join(name),
            listen_address: None,
            namespace: None,
            command,
            arguments: Vec::new(),
            environment: Vec::new(),
            log: dir.join(format!("{name}.log")),
            log_start: 0,
            child: None,
            id: Arc::default(),
        }
    }

    /// Has others reach the process by another address than the one where it listens.
    #[must_use]
    pub fn advertised(mut self, address: &str) -> Self {
        self.listen_address = Some(std::mem::replace(&mut self.address, address.to_owned()));
        self
    }

    /// Puts the process into a network namespace, with its addresses there.
    #[must_use]
    pub fn inside(mut self, namespace: Arc<File>, address: String, status_address: String) -> Self {
        (self.namespace, self.address, self.status_address) = (Some(namespace), address, status_address);
        self
    }

    /// Where the process listens.
    pub fn listen_address(&self) -> &str {
        self.listen_address.as_deref().unwrap_or(&self.address)
    }

    /// The id of the process that was started last; zero before.
    pub fn id(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.id)
    }

    /// Gives the process a further flag.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: &str) -> Self {
        self.arguments.extend([flag.to_owned(), value.to_owned()]);
        self
    }

    /// Overrides a setting of its configuration by the environment.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.environment.push((format!("RAFTYARD__{name}"), value.to_owned()));
        self
    }

    /// Starts the process.
    ///
    /// # Panics
    /// When it runs already, or cannot be started at all.
    pub fn start(&mut self) {
        self.start_with(Limits::default());
    }

    /// Starts the process within limits.
    pub fn start_with(&mut self, limits: Limits) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let mut log = File::options().create(true).append(true).open(&self.log).unwrap();
        self.log_start = log.metadata().unwrap().len();
        writeln!(log, "---- start of {} ----", self.name).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftyard"));
        command.arg(self.command).args(["--addr", self.listen_address(), "--status-addr", &self.status_address]);
        if self.listen_address.is_some() {
            command.args(["--advertise-addr", &self.address]);
        }
        command.arg("--data-dir").arg(&self.data_dir).args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let namespace = self.namespace.as_ref().map(|file| file.as_raw_fd());
        // SAFETY: the closure makes system calls alone, which is all that is allowed between fork and exec, and the
        // namespace's file is open until the process is started.
        unsafe { command.pre_exec(move || before_exec(limits, namespace)) };
        let child = spawn(command).unwrap_or_else(|error| panic!("cannot start {}: {error}", self.name));
        self.id.store(child.id(), Ordering::Relaxed);
        self.child = Some(child);
    }

    /// Waits until the process says that it serves.
    ///
    /// # Panics
    /// When it ends, or does not serve in time.
    pub async fn ready(&mut self) {
        let what = format!("{} serves", self.name);
        let address = self.status_address.clone();
        until(&what, async || {
            if let Some(ended) = self.ended() {
                panic!("{} ended with {} instead of serving:\n{}", self.name, ended.status, ended.log);
            }
            match http::get(&address, "/readyz").await {
                Ok((200, _)) => Ok(()),
                Ok((status, body)) => Err(format!("/readyz answers {status}: {body}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// Whether the process was started and has not been seen to end.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// How the process ended, if it did by itself.
    pub fn ended(&mut self) -> Option<Ended> {
        let child = self.child.as_mut()?;
        let status = child.try_wait().unwrap()?;
        self.child = None;
        Some(Ended { status, log: self.log_of_this_start() })
    }

    /// Waits until the process ends by itself.
    pub async fn end(&mut self) -> Ended {
        let what = format!("{} ends", self.name);
        until(&what, async || self.ended().ok_or_else(|| "it still runs".to_owned())).await
    }

    /// Ends the process by SIGKILL: it gets no chance to write anything more.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let log = self.log_of_this_start();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{} had ended before it was killed:\n{log}", self.name);
    }

    /// Asks the process to end, and waits until it has.
    pub async fn stop(&mut self) -> Ended {
        self.terminate();
        self.end().await
    }

    /// Asks the process to end.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Stops the process where it is; its sockets stay open.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets the process go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        let child = self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name));
        // SAFETY: a plain system call. The child was not waited for, so its id is still its own.
        let result = unsafe { libc::kill(child.id() as libc::pid_t, signal) };
        assert_eq!(result, 0, "signal {signal} to {}: {}", self.name, io::Error::last_os_error());
    }

    /// Everything the process wrote to its log, over all of its starts.
    pub fn whole_log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it wrote since it was started last.
    pub fn log_of_this_start(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes[(self.log_start as usize).min(bytes.len())..]).into_owned()
    }

    /// # Panics
    /// When the log of any start tells of a panic.
    pub fn assert_no_panic(&self) {
        self.assert_never_told("panicked at");
    }

    /// # Panics
    /// When the log of any start has a text.
    pub fn assert_never_told(&self, text: &str) {
        let log = self.whole_log();
        let Some(at) = log.find(text) else { return };
        let from = log[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let told: Vec<_> = log[from..].lines().take(10).collect();
        panic!("{} told:\n{}", self.name, told.join("\n"));
    }

    /// The end of its log, for people who look for what went wrong.
    pub fn log_tail(&self) -> String {
        let log = self.whole_log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("======== the end of the log of {} ========\n{}", self.name, self.log_tail());
        }
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs in the child, before it becomes the binary.
fn before_exec(limits: Limits, namespace: Option<RawFd>) -> io::Result<()> {
    if let Some(namespace) = namespace {
        enter_namespace(namespace)?;
    }
    let check = |result: i32| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: plain system calls with values of their own.
    unsafe {
        // Whatever becomes of the test, its processes do not outlive it.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        if let Some(bytes) = limits.file_bytes {
            check(libc::setrlimit(libc::RLIMIT_FSIZE, &libc::rlimit { rlim_cur: bytes, rlim_max: bytes }))?;
            // Without this the kernel kills the process instead of failing its write.
            if libc::signal(libc::SIGXFSZ, libc::SIG_IGN) == libc::SIG_ERR {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// Moves the calling thread into a network namespace. Makes one system call, so that it may be called between fork and exec.
pub fn enter_namespace(namespace: RawFd) -> io::Result<()> {
    // SAFETY: a plain system call.
    let result = unsafe { libc::setns(namespace, libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

type Birth = (Command, Sender<io::Result<Child>>);

/// Starts the thread that all processes are started from. Its network namespace, which is that of the first caller, is
/// the one of every process that is not put into another.
pub fn start_spawner() {
    spawner();
}

/// One thread that lives as long as the test binary: the kernel ends a process with the *thread* that started it, and a
/// runtime's threads come and go.
fn spawner() -> &'static Sender<Birth> {
    static SPAWNER: OnceLock<Sender<Birth>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (sender, births) = mpsc::channel::<Birth>();
        let serve = move || {
            for (mut command, answer) in births {
                let _ = answer.send(command.spawn());
            }
        };
        ThreadSpawner.spawn("spawner", Box::new(serve)).unwrap();
        sender
    })
}

fn spawn(command: Command) -> io::Result<Child> {
    let (answer, child) = mpsc::channel();
    spawner().send((command, answer)).unwrap();
    child.recv().unwrap()
}
