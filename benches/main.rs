//! The performance targets, measured: `make bench` runs all of them, `make bench ARGS="r1 r4"` those two,
//! and `make bench ARGS=r1-64-16` one part of one.
//!
//! Absolute figures do not travel between machines; ratios within one run do. Every target is measured on contenders
//! that take turns (A B A B …), each turn on fresh directories; the result is the median of the rounds' ratios with the
//! smallest and the largest beside it. No round is dropped, and a write that fails is counted and shown.
//!
//! Environment: `RAFTYARD_BENCH_SECONDS` (length of a measured turn, 3), `RAFTYARD_BENCH_ROUNDS` (5; fewer are for
//! trying things out), `RAFTYARD_BENCH_DIR` (where data goes; a directory of Cargo's by default, never a file system in
//! memory). `--list` shows the ids, `--large` adds what takes minutes by itself.
//!
//! Reading order: [`harness`] (turns, load, CPU, table), [`sides`] (what is measured), [`targets`] (the ids).

mod harness;
mod sides;
mod targets;

use std::process::ExitCode;

use harness::machine::Machine;
use harness::options::Options;
use harness::report::Report;

fn main() -> ExitCode {
    let options = match Options::from_process() {
        Ok(options) => options,
        Err(complaint) => {
            eprintln!("{complaint}");
            return ExitCode::FAILURE;
        }
    };
    if options.list {
        targets::ALL.iter().for_each(|target| println!("{:4} {}", target.id, target.what));
        return ExitCode::SUCCESS;
    }
    println!("{}\n{options}", Machine::look(&options.directory));
    let mut report = Report::default();
    for target in targets::ALL.iter().filter(|target| options.wants(target.id)) {
        println!("\n{}: {}", target.id, target.what);
        if let Err(cause) = (target.measure)(&options, &mut report) {
            println!("  {} failed: {cause}", target.id);
            report.failed(target.id, &cause);
        }
    }
    println!("\n{report}");
    if report.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
