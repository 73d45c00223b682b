//! The `raftyard` binary: a store, a coordinator, or a whole cluster to play with. [`cli`] is where to begin.

mod cli;
mod commands;
mod playground;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
