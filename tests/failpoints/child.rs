//! A part of a test in a process of its own, which dies at a fail point as if it had been killed there.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a child finds its directory; its presence makes the process a child.
const DIRECTORY: &str = "FAILPOINTS_CHILD_DIRECTORY";
/// What else a child is told.
const ARGUMENT: &str = "FAILPOINTS_CHILD_ARGUMENT";
/// Where it dies: `point nth`.
const DEATH: &str = "FAILPOINTS_CHILD_DEATH";
/// What begins a line that a child reports.
const MARK: &str = "child: ";
/// What a child reports last when it was not killed before.
const DONE: &str = "done";

/// Crates that have fail points.
const CRATES: [&str; 3] = ["engine_rocks", "store", "server"];

/// All fail points that there are, by name.
pub fn all_points() -> BTreeSet<String> {
    fn collect(directory: &Path, points: &mut BTreeSet<String>) {
        for file in directory.read_dir().unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                collect(&path, points);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let names = text.split("fail_point!(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
                points.extend(names.map(str::to_owned));
            }
        }
    }
    let mut points = BTreeSet::new();
    for name in CRATES {
        let directory = format!("{}/components/{name}/src", env!("CARGO_MANIFEST_DIR"));
        collect(Path::new(&directory), &mut points);
    }
    points
}

/// The fail points whose names begin with one of these words.
///
/// # Panics
/// When there is none for one of the words.
pub fn points(words: &[&str]) -> Vec<String> {
    let all = all_points();
    let of = |point: &String, word: &str| point.split('-').next() == Some(word);
    for word in words {
        assert!(all.iter().any(|point| of(point, word)), "no fail point begins with {word}");
    }
    all.into_iter().filter(|point| words.iter().any(|word| of(point, word))).collect()
}

/// In a child, its directory and what else it was told. Its fail point is armed by this.
pub fn child_part() -> Option<(PathBuf, String)> {
    let directory = std::env::var_os(DIRECTORY)?;
    if let Ok(death) = std::env::var(DEATH) {
        let (point, nth) = death.split_once(' ').unwrap();
        let left = AtomicUsize::new(nth.parse().unwrap());
        let pass = move || {
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                die();
            }
        };
        fail::cfg_callback(point, pass).unwrap();
    }
    Some((directory.into(), std::env::var(ARGUMENT).unwrap()))
}

/// Ends this process as SIGKILL does: nothing is flushed, closed or dropped.
fn die() -> ! {
    // SAFETY: neither call touches memory; the signal goes to this process alone.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    unreachable!("SIGKILL cannot be survived")
}

/// Tells the parent something. The line breaks keep it apart from what the test harness prints.
pub fn report(what: &str) {
    let mut out = io::stdout().lock();
    out.write_all(format!("\n{MARK}{what}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Ends a child that has done its part: as if it were killed, too.
pub fn done() -> ! {
    report(DONE);
    die()
}

/// What became of a child.
pub struct Life {
    /// What it reported.
    pub said: Vec<String>,
    /// Whether it died at its fail point.
    pub was_cut_short: bool,
}

impl Life {
    /// What was reported behind a word.
    pub fn said_of<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.said.iter().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
    }
}

/// Runs a test of this program as a child, in which [`child_part`] is found. It dies when it passes `point` for the nth
/// time, or when it is done.
///
/// # Panics
/// When it ends in another way.
pub fn live(test: &str, directory: &Path, argument: &str, death: Option<(&str, usize)>) -> Life {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory).env(ARGUMENT, argument).stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some((point, nth)) = death {
        command.env(DEATH, format!("{point} {nth}"));
    }
    // SAFETY: the closure makes one system call, which is all that is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            // The thread of a test lives for longer than its children, if it is not killed itself.
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        })
    };
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said: Vec<_> = lines.filter_map(|line| line.strip_prefix(MARK).map(str::to_owned)).collect();
    let status = child.wait().unwrap();
    let was_cut_short = said.last().map(String::as_str) != Some(DONE);
    if !was_cut_short {
        said.pop();
    }
    assert_eq!(
        status.signal(),
        Some(libc::SIGKILL),
        "the child ended with {status} after {said:?}, to die at {death:?}"
    );
    assert!(!was_cut_short || death.is_some(), "nobody killed the child, and it died after {said:?}");
    Life { said, was_cut_short }
}

/// Has something lived through for each time that each point is passed, up to `most` times: `live` is told the point
/// and the time, and says whether a child has died there.
pub fn at_every_point(points: &[String], most: usize, mut live: impl FnMut(&str, usize) -> bool) {
    for point in points {
        let times = (1..=most).take_while(|nth| live(point, *nth)).count();
        assert!(times > 0, "{point} is not passed");
        println!("died at {point}, {times} times");
    }
}
