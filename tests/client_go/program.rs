//! The Go program.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/client_go");

/// What the `go` command says when it could not fetch a module, as against one that is wrong, and when it is too old.
const NOT_HERE: [&str; 6] = [
    "dial tcp",
    "Get \"http",
    "reading http",
    "module lookup disabled by GOPROXY=off",
    "note: module requires Go",
    "go.mod requires go >=",
];

/// Lines of the client's log that are shown when a test fails.
const TAIL_LINES: usize = 60;

/// The program, built.
#[derive(Clone, Debug)]
pub struct Program {
    binary: PathBuf,
}

impl Program {
    /// Builds the program, once for all tests. `None` when this machine cannot, which is printed then.
    ///
    /// # Panics
    /// When it could be built and is not: a program that does not compile is no reason to skip its tests.
    pub fn build() -> Option<Self> {
        static BUILT: OnceLock<Option<Program>> = OnceLock::new();
        BUILT.get_or_init(Self::build_now).clone()
    }

    fn build_now() -> Option<Self> {
        let skip = |why: &str| {
            // Not by a macro: the test harness keeps to itself what tests that pass print by one.
            let line = format!("SKIPPED: the tests with client-go: {why}\n");
            io::stderr().write_all(line.as_bytes()).unwrap();
            None
        };
        // Fetches what the program is made of.
        let fetched = match go(&["list", "-mod=readonly", "-deps", "."]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return skip("Go is not installed"),
            result => result.unwrap(),
        };
        if !fetched.status.success() {
            let said = String::from_utf8_lossy(&fetched.stderr);
            let reason = said.lines().rfind(|line| NOT_HERE.iter().any(|phrase| line.contains(phrase)));
            let reason = reason.unwrap_or_else(|| panic!("the program's modules are wrong:\n{said}"));
            return skip(&format!("its modules cannot be had: {reason}"));
        }
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("client_go");
        let path = binary.to_str().unwrap();
        let built = go(&["build", "-mod=readonly", "-buildvcs=false", "-o", path, "."]).unwrap();
        assert!(built.status.success(), "the program cannot be built:\n{}", String::from_utf8_lossy(&built.stderr));
        Some(Self { binary })
    }

    /// Starts the program.
    pub fn run(&self, endpoints: &[String], mode: &str) -> Run {
        let log = NamedTempFile::new().unwrap();
        let mut command = Command::new(&self.binary);
        command.args(["-pd", &endpoints.join(","), "-mode", mode]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log.path()).unwrap());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take().unwrap();
        Run { child, input, output: Some(output), log }
    }
}

fn go(arguments: &[&str]) -> io::Result<Output> {
    Command::new("go").args(arguments).current_dir(SOURCES).stdin(Stdio::null()).output()
}

/// A run of the program. Dropping it ends the program.
pub struct Run {
    child: Child,
    input: ChildStdin,
    /// Away while a line is waited for.
    output: Option<BufReader<ChildStdout>>,
    log: NamedTempFile,
}

impl Run {
    /// The next line that the program prints; `None` when it has ended.
    pub async fn next_line(&mut self) -> Option<String> {
        let mut output = self.output.take().unwrap();
        let read = move || {
            let mut line = String::new();
            let length = output.read_line(&mut line).unwrap();
            (output, (length > 0).then(|| line.trim_end().to_owned()))
        };
        let (output, line) = spawn_blocking(read).await.unwrap();
        self.output = Some(output);
        line
    }

    /// Gives the program a line.
    pub fn answer(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// # Panics
    /// When the program says that something was wrong.
    pub fn assert_success(&mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the program ended with {status}: what it found stands at the end of its log");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read(self.log.path()).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
            eprintln!("======== the end of the log of the program ========\n{tail}");
        }
    }
}
