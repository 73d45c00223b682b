//! Runs simulated clusters, one seed after the other or many at once, and says how to replay what failed.
//!
//! The simulation itself is the crate `sim`, which knows no thread, no real clock and no file. What it must not know is
//! here: several clusters run beside each other, each on a thread of its own, and what failed is written to a file.
//!
//! Reading order: [`arguments`], [`seeds`], [`crew`], [`summary`], [`failure`].

mod arguments;
mod crew;
mod failure;
mod seeds;
mod summary;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;
use crew::{Crew, run_all};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic of the code under test is a failure like any other, told with its seed; here, in one line, is where it was.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    match run_all(&Crew::new(&arguments)) {
        Ok(summary) => {
            println!("{summary}");
            if summary.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("a thread could not be started: {error}; lower --jobs or raise the limit of processes");
            ExitCode::FAILURE
        }
    }
}
