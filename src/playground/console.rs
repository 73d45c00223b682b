//! Lines from standard input, read by a thread of their own: a blocked read must not keep the process from ending.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::time::Duration;

use runtime::spawn::{Spawner, ThreadSpawner};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::PlaygroundError;
use super::interrupt::Interrupt;

/// Longest line.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// What stands in front of a command.
const PROMPT: &str = "raftyard> ";

/// What came from the console.
#[derive(Debug)]
pub enum Said {
    /// A line.
    Line(String),
    /// Nothing more will come.
    Nothing,
}

/// Reads commands.
pub struct Console {
    lines: mpsc::Receiver<io::Result<String>>,
    is_terminal: bool,
}

impl Console {
    /// Begins to read.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn open() -> Result<Self, PlaygroundError> {
        // One line is read ahead.
        let (sender, lines) = mpsc::channel(1);
        let read = move || {
            let mut input = io::stdin().lock();
            while let Some(line) = read_line(&mut input).transpose() {
                let is_last = line.is_err();
                if sender.blocking_send(line).is_err() || is_last {
                    return;
                }
            }
        };
        ThreadSpawner.spawn("console", Box::new(read)).map_err(PlaygroundError::Threads)?;
        Ok(Self { lines, is_terminal: io::stdin().is_terminal() })
    }

    /// Whether somebody sits there.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Waits for the next line.
    ///
    /// # Errors
    /// When reading fails, or the process shall end.
    pub fn next(&mut self, runtime: &Handle, interrupt: &Interrupt) -> Result<Said, PlaygroundError> {
        if self.is_terminal {
            write!(io::stdout(), "{PROMPT}")?;
            io::stdout().flush()?;
        }
        let line = runtime.block_on(interrupt.or(async { self.lines.recv().await.transpose() }));
        match &line {
            Ok(Some(line)) if !self.is_terminal => writeln!(io::stdout(), "{PROMPT}{line}")?,
            // What follows begins on a line of its own.
            Ok(None) | Err(_) if self.is_terminal => writeln!(io::stdout())?,
            _ => {}
        }
        Ok(line?.map_or(Said::Nothing, Said::Line))
    }

    /// Waits for Enter, or the end, for this long at most; says whether it came.
    ///
    /// # Errors
    /// When reading fails, or the process shall end.
    pub fn entered(
        &mut self,
        runtime: &Handle,
        interrupt: &Interrupt,
        within: Duration,
    ) -> Result<bool, PlaygroundError> {
        runtime.block_on(interrupt.or(async {
            match timeout(within, self.lines.recv()).await {
                Ok(line) => line.transpose().map(|_| true),
                Err(_) => Ok::<_, io::Error>(false),
            }
        }))
    }
}

/// The next line without its end; `None` behind the last.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    input.take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line)?;
    if line.len() as u64 > MAX_LINE_BYTES {
        let reason = format!("a line is longer than {MAX_LINE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_are_read_to_the_end() {
        let mut input = &b"one\r\n\ntwo"[..];
        let lines: Vec<String> = std::iter::from_fn(|| read_line(&mut input).unwrap()).collect();
        assert_eq!(lines, ["one", "", "two"]);
    }

    #[test]
    fn a_line_has_a_bound() {
        let long = vec![b'x'; MAX_LINE_BYTES as usize + 1];
        assert!(read_line(&mut &long[..]).is_err());
        assert_eq!(read_line(&mut &long[1..]).unwrap().unwrap().len() as u64, MAX_LINE_BYTES);
    }
}
