//! A failure as one line, and as a file to read.

use std::path::{Path, PathBuf};
use std::process::Command;

use sim::{Failure, Settings};

/// Writes the trace, and gives the line that says what failed and how to see it again.
pub(crate) fn report(failure: &Failure, traces: Option<&Path>) -> String {
    let Settings { seed, profile, steps, stores, regions, planted, .. } = failure.settings;
    let shape = format!("--seed {seed} --profile {profile} --steps {steps} --stores {stores} --regions {regions}");
    let planted: String = planted.iter().map(|bug| format!(" --planted {bug}")).collect();
    let features = if planted.is_empty() { "" } else { " --features planted" };
    let directory = traces.map_or_else(std::env::temp_dir, PathBuf::from);
    let path = directory.join(format!("raftyard-sim-{profile}-{seed}.trace"));
    let written = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&path, &failure.trace));
    let trace = match written {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("not written to {}: {error}", path.display()),
    };
    let what = failure.what.replace('\n', " ");
    let commit = commit();
    format!(
        "FAILED seed {seed}, profile {profile}, {steps} steps, {stores} stores, {regions} regions, commit {commit}, \
         at {}: {what}; replay: cargo run -p raftyard-sim{features} -- {shape}{planted}; trace: {trace}",
        failure.at
    )
}

/// The commit of the working directory, with a mark when there are changes beside it.
fn commit() -> String {
    let described =
        Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]).output();
    let described = described.ok().filter(|output| output.status.success());
    described.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use sim::Profile;
    use types::Instant;

    use super::*;

    #[test]
    fn a_failure_is_one_line_that_replays() {
        let failure = Failure {
            settings: Settings { verbose: true, ..Settings::new(7, Profile::Disk) },
            what: "two\nlines".to_owned(),
            at: Instant(1_500_000_000),
            trace: "story".to_owned(),
        };
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let line = report(&failure, Some(directory.path()));
        assert!(!line.contains('\n'));
        assert!(line.contains("--seed 7 --profile disk") && line.contains("two lines") && line.contains("1.500000s"));
        let path = line.rsplit_once("trace: ").expect("it ends with the path").1;
        assert_eq!(std::fs::read_to_string(path).expect("it was written"), "story");
    }
}
