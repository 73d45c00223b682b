//! Runs the real binary, with a deadline against hangs.

#![allow(dead_code, reason = "not every test file uses all of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use runtime::spawn::{Spawner, ThreadSpawner};

/// How long anything may take before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(120);

/// A program under way. It is killed when this is dropped.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    /// Starts `raftyard` with these arguments, and says `input` to it.
    pub fn start(arguments: &[&str], input: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftyard"));
        let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            let read = move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            };
            ThreadSpawner.spawn("output", Box::new(read)).unwrap();
        }
        // A program that ends without listening is judged by what it says.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line that contains `part`.
    pub fn wait_for(&mut self, part: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let Ok(line) = line else { panic!("{part:?} was not said ({line:?}):\n{}", self.seen.join("\n")) };
            self.seen.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        // SAFETY: `kill` takes any numbers; the child is not waited for yet, so its id is its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) }, 0);
    }

    /// Waits for its end; gives its status and all that it said.
    pub fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it did not end:\n{}", self.seen.join("\n")),
            }
        }
        // Both of its outputs are closed: it has ended, or does so now.
        (self.child.wait().unwrap(), self.seen.join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails when it has ended, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `raftyard` to its end; gives its status and all that it said.
pub fn run(arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let (status, said) = Program::start(arguments, input).end();
    (status.code(), said)
}

/// What is said between a command at the prompt and the next one.
pub fn answer(said: &str, command: &str) -> String {
    let at = format!("raftyard> {command}\n");
    let from = said.find(&at).unwrap_or_else(|| panic!("{command:?} was not reached in:\n{said}")) + at.len();
    let rest = &said[from..];
    rest[..rest.find("raftyard> ").unwrap_or(rest.len())].trim_end().to_owned()
}
