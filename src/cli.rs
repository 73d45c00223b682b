//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{coordinator, server};
use crate::{ctl, playground};

/// A multi-raft sharded storage engine that speaks TiKV's protocol.
#[derive(Debug, Parser)]
#[command(name = "raftyard", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a store.
    Server(server::ServerArgs),
    /// Run a coordinator: the placement driver that stores and clients ask.
    Coordinator(coordinator::CoordinatorArgs),
    /// Run a coordinator and stores in this process, and a prompt to play with them.
    Playground(playground::PlaygroundArgs),
    /// Look at a running cluster, and give it orders.
    Ctl(ctl::CtlArgs),
}

/// Does what the command line asks for. Whatever goes wrong is told in one line on standard error.
pub fn run() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Server(args) => server::run(&args),
        Command::Coordinator(args) => coordinator::run(&args),
        Command::Playground(args) => playground::run(&args).map_err(Into::into),
        Command::Ctl(args) => ctl::run(&args).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("raftyard: {failure}");
            failure.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::playground::words::split_words;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn playground_takes_its_flags_within_bounds() {
        let parse = |words: &[&str]| Cli::try_parse_from(["raftyard", "playground"].iter().chain(words));
        assert!(parse(&["--stores", "5", "--regions", "64", "--load", "7", "--value-size", "9", "--exit"]).is_ok());
        for words in [["--stores", "0"], ["--regions", "0"], ["--regions", "100000000"], ["--value-size", "999999999"]]
        {
            assert!(parse(&words).is_err(), "{words:?}");
        }
    }

    /// Every `raftyard ctl …` of a document, wherever it stands.
    fn ctl_lines(document: &str) -> Vec<&str> {
        let line = |(at, _)| document[at..].split(['`', '\n', '#']).next().unwrap_or_default().trim();
        document.match_indices("raftyard ctl ").map(line).collect()
    }

    #[test]
    fn what_documents_say_of_ctl_is_understood() {
        let documents = [include_str!("../docs/operations.md"), include_str!("../README.md")];
        let lines: Vec<&str> = documents.iter().flat_map(|document| ctl_lines(document)).collect();
        assert!(lines.len() > 20, "operations.md shows commands: {lines:?}");
        for line in lines {
            let words = split_words(line).expect("quotes come in pairs");
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{line}: {error}");
            }
        }
    }
}
