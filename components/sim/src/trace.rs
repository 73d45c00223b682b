//! Everything that happens, as one number that two runs can compare, and as text for a reader.

use std::collections::VecDeque;
use std::fmt;

use types::Instant;
use xxhash_rust::xxh3::Xxh3;

/// How many notes are kept for a reader.
const KEPT: usize = 50_000;

/// Most numbers of a note.
const NUMBERS: usize = 8;

/// What a note is about, and how a reader is told of it: the names of its numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// One word.
    pub(crate) name: &'static str,
    /// What its numbers are, separated by spaces.
    pub(crate) numbers: &'static str,
}

/// Something that happened.
#[derive(Clone, Debug)]
struct Note {
    at: Instant,
    node: u64,
    kind: Kind,
    numbers: [u64; NUMBERS],
    text: Option<Box<str>>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>14} ", self.at.to_string())?;
        match self.node {
            0 => write!(f, "{:<8} ", "cluster")?,
            node => write!(f, "node {node:<3} ")?,
        }
        write!(f, "{:<13}", self.kind.name)?;
        for (name, number) in self.kind.numbers.split_whitespace().zip(self.numbers) {
            write!(f, " {name}={number}")?;
        }
        self.text.as_ref().map_or(Ok(()), |text| write!(f, " {text}"))
    }
}

/// Everything that happened.
pub(crate) struct Trace {
    hash: Xxh3,
    count: u64,
    kept: VecDeque<Note>,
    aloud: bool,
}

impl Trace {
    /// An empty trace. One that is `aloud` says everything as it happens, on the standard output.
    pub(crate) fn new(aloud: bool) -> Self {
        Self { hash: Xxh3::new(), count: 0, kept: VecDeque::new(), aloud }
    }

    /// Takes a note with numbers only: cheap.
    pub(crate) fn note(&mut self, at: Instant, node: u64, kind: Kind, numbers: &[u64]) {
        self.take(at, node, kind, numbers, None);
    }

    /// Takes a note with text.
    pub(crate) fn tell(&mut self, at: Instant, node: u64, kind: Kind, text: String) {
        self.take(at, node, kind, &[], Some(text.into()));
    }

    fn take(&mut self, at: Instant, node: u64, kind: Kind, numbers: &[u64], text: Option<Box<str>>) {
        assert!(numbers.len() <= NUMBERS, "a note has at most {NUMBERS} numbers");
        let mut bytes = [0; 8 * (NUMBERS + 2)];
        let mut all = [0; NUMBERS];
        all[..numbers.len()].copy_from_slice(numbers);
        for (place, number) in [at.0, node].iter().chain(&all).enumerate() {
            bytes[place * 8..][..8].copy_from_slice(&number.to_le_bytes());
        }
        self.hash.update(&bytes);
        self.hash.update(kind.name.as_bytes());
        if let Some(text) = &text {
            self.hash.update(text.as_bytes());
        }
        self.count += 1;
        let note = Note { at, node, kind, numbers: all, text };
        if self.aloud {
            println!("{note}");
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(note);
    }

    /// A number that stands for everything so far.
    pub(crate) fn digest(&self) -> u64 {
        self.hash.digest()
    }

    /// The newest notes as text.
    pub(crate) fn read(&self) -> String {
        let dropped = self.count - self.kept.len() as u64;
        let mut text = format!("{dropped} older notes are not kept; run again with --verbose to see them\n");
        for note in &self.kept {
            text.push_str(&note.to_string());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { name: "test", numbers: "region term" };

    #[test]
    fn whatever_differs_changes_the_digest() {
        let digest = |at, node, number, text: &str| {
            let mut trace = Trace::new(false);
            trace.note(Instant(at), node, KIND, &[number, 2]);
            trace.tell(Instant(at), node, KIND, text.to_owned());
            trace.digest()
        };
        let first = digest(1, 1, 1, "a");
        assert_eq!(first, digest(1, 1, 1, "a"));
        for other in [digest(2, 1, 1, "a"), digest(1, 2, 1, "a"), digest(1, 1, 2, "a"), digest(1, 1, 1, "b")] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_reader_finds_names_and_numbers() {
        let mut trace = Trace::new(false);
        trace.note(Instant(1_500_000), 3, KIND, &[7, 2]);
        assert!(trace.read().contains("0.001500s node 3   test          region=7 term=2"), "{}", trace.read());
    }
}
