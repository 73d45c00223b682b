//! Processes that a turn starts, and ends by their ids.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A process that is ended when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes to a file in `directory`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: impl Into<String>, command: &mut Command, directory: &Path) -> Result<Self, String> {
        let name = name.into();
        let in_words = |error: std::io::Error| format!("{name}: {error}");
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log).map_err(in_words)?;
        let errors = output.try_clone().map_err(in_words)?;
        // SAFETY: between fork and exec the closure makes one system call and touches no memory.
        unsafe { command.pre_exec(end_with_parent) };
        let spawned = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        Ok(Self { child: spawned.map_err(in_words)?, name, log })
    }

    /// What it is, without the number in its name, and its id.
    pub fn for_what(&self) -> (&str, u32) {
        let name = self.name.trim_end_matches(|last: char| last.is_ascii_digit()).trim_end_matches('-');
        (name, self.child.id())
    }

    /// Checks that the process is still there.
    ///
    /// # Errors
    /// With the end of what it printed, when it has ended.
    pub fn check(&mut self) -> Result<(), String> {
        let Ok(Some(status)) = self.child.try_wait() else { return Ok(()) };
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        Err(format!("{} has ended ({status}): {}", self.name, lines[lines.len().saturating_sub(5)..].join(" | ")))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its directory goes with it: nothing is worth a graceful end. It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has the kernel end this process when the bench ends without dropping anything. The bench starts processes on its main
/// thread alone, which lives as long as it does.
fn end_with_parent() -> std::io::Result<()> {
    // SAFETY: the call changes an attribute of the calling process, and takes numbers alone.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Addresses on this machine that nobody listens on.
///
/// # Errors
/// The operating system's, in words.
pub fn free_addresses(count: usize) -> Result<Vec<String>, String> {
    let in_words = |error: std::io::Error| format!("a free port: {error}");
    // All are held until the last is found: the same one is not given twice.
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>().map_err(in_words)?;
    let address = |listener: &TcpListener| listener.local_addr().map(|address| address.to_string());
    listeners.iter().map(address).collect::<Result<_, _>>().map_err(in_words)
}
