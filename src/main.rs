//! The `raftyard` binary: a store, a coordinator, a whole cluster to play with, or a tool for one that runs. [`cli`] is where to begin.

mod cli;
mod commands;
mod ctl;
mod playground;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
