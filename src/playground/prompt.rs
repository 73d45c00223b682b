//! What may be said at the prompt.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use super::words::{OpenQuote, split_words};

/// Pairs that `scan` shows unless it is told otherwise.
const SCAN_LIMIT: usize = 20;

/// Most pairs that `scan` shows.
const MAX_SCAN_LIMIT: usize = 1000;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum PromptCommand {
    /// Show the stores.
    Stores,
    /// Show the regions.
    Regions,
    /// End a store as a crash would.
    Kill {
        /// The store's id.
        #[arg(value_name = "STORE")]
        store: u64,
    },
    /// Start a killed store again, on its data and its ports.
    Restart {
        /// The store's id.
        #[arg(value_name = "STORE")]
        store: u64,
    },
    /// Have a region led by its peer on a store.
    Transfer {
        /// The region's id.
        #[arg(value_name = "REGION")]
        region: u64,
        /// The store's id.
        #[arg(value_name = "STORE")]
        store: u64,
    },
    /// Set a key.
    Put {
        /// The key.
        #[arg(value_name = "KEY", allow_hyphen_values = true)]
        key: String,
        /// The value.
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
    },
    /// Show a key's value.
    Get {
        /// The key.
        #[arg(value_name = "KEY", allow_hyphen_values = true)]
        key: String,
    },
    /// Remove a key.
    Delete {
        /// The key.
        #[arg(value_name = "KEY", allow_hyphen_values = true)]
        key: String,
    },
    /// List keys from START on, before END; a number at the end is the LIMIT.
    Scan {
        /// The range and the limit; see [`ScanRequest::new`].
        #[arg(value_name = "[START [END]] [LIMIT]", num_args = 0..=3, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Show this list.
    Help,
    /// Stop everything in order and end.
    #[command(alias = "exit")]
    Quit,
}

#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    command: PromptCommand,
}

/// A line that is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// There is no such command.
    #[error("there is no command {given:?}{}", suggestion(.nearest))]
    Unknown {
        /// What was said.
        given: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// The command wants other words behind it.
    #[error("{problem}; say it as: {usage}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// How it is said.
        usage: String,
    },
    /// The line cannot be split into words.
    #[error(transparent)]
    Quote(#[from] OpenQuote),
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(|| "; `help` lists them".to_owned(), |nearest| format!("; did you mean {nearest:?}?"))
}

/// What a line asks for; `None` when it is empty.
///
/// # Errors
/// When it is no command.
pub fn parse(line: &str) -> Result<Option<PromptCommand>, PromptError> {
    let words = split_words(line)?;
    let Some(first) = words.first() else {
        return Ok(None);
    };
    match Line::try_parse_from(&words) {
        Ok(line) => Ok(Some(line.command)),
        Err(error) => Err(explain(first, &error)),
    }
}

fn explain(first: &str, error: &clap::Error) -> PromptError {
    let Some(usage) = usage_of(first) else {
        let nearest = match error.get(ContextKind::SuggestedSubcommand) {
            Some(ContextValue::Strings(names)) => names.first().cloned(),
            Some(ContextValue::String(name)) => Some(name.clone()),
            _ => None,
        };
        return PromptError::Unknown { given: first.to_owned(), nearest };
    };
    let problem = match error.kind() {
        ErrorKind::MissingRequiredArgument => format!("{first:?} wants more words"),
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues => format!("{first:?} wants fewer words"),
        _ => match error.get(ContextKind::InvalidValue) {
            Some(ContextValue::String(value)) => format!("{value:?} does not fit"),
            _ => format!("{first:?} is not said like this"),
        },
    };
    PromptError::Usage { problem, usage }
}

/// How a command is said; `None` when there is no such command.
fn usage_of(name: &str) -> Option<String> {
    Line::command().find_subcommand(name).map(usage)
}

fn usage(command: &clap::Command) -> String {
    let names = command.get_positionals().flat_map(|argument| argument.get_value_names().into_iter().flatten());
    names.fold(command.get_name().to_owned(), |usage, name| format!("{usage} {name}"))
}

/// Every command with what it does.
pub fn help() -> String {
    let line = Line::command();
    let rows = line.get_subcommands().map(|command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        format!("  {:<28}{about}\n", usage(command))
    });
    rows.collect::<String>() + "Quote words with spaces: put \"two words\" \"a value\"."
}

/// What a scan covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanRequest {
    /// The first key; empty for the first there is.
    pub start: String,
    /// The key behind the last; empty for no bound.
    pub end: String,
    /// Most pairs.
    pub limit: usize,
}

impl ScanRequest {
    /// From the words behind `scan`: `[START [END]] [LIMIT]`. A last word that is a number is the limit; to begin at a
    /// key that is a number, name a limit behind it.
    pub fn new(words: &[String]) -> Self {
        let number =
            |word: &String| word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten();
        let (limit, keys) = match words.split_last().and_then(|(last, before)| Some((number(last)?, before))) {
            Some((limit, before)) => (limit, before),
            None => (SCAN_LIMIT, words),
        };
        let key = |position: usize| keys.get(position).cloned().unwrap_or_default();
        Self { start: key(0), end: key(1), limit: limit.min(MAX_SCAN_LIMIT) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn commands_are_understood() {
        let cases = [
            ("stores", PromptCommand::Stores),
            ("kill 2", PromptCommand::Kill { store: 2 }),
            ("restart 2", PromptCommand::Restart { store: 2 }),
            ("transfer 5 3", PromptCommand::Transfer { region: 5, store: 3 }),
            ("put fruit -1", PromptCommand::Put { key: "fruit".into(), value: "-1".into() }),
            (r#"put "a key" "a value""#, PromptCommand::Put { key: "a key".into(), value: "a value".into() }),
            ("get --help", PromptCommand::Get { key: "--help".into() }),
            ("delete fruit", PromptCommand::Delete { key: "fruit".into() }),
            ("scan", PromptCommand::Scan { words: vec![] }),
            ("help", PromptCommand::Help),
            ("exit", PromptCommand::Quit),
        ];
        for (line, command) in cases {
            assert_eq!(parse(line).unwrap(), Some(command), "{line}");
        }
        assert_eq!(parse("  ").unwrap(), None);
    }

    #[test]
    fn unknown_commands_suggest_the_nearest() {
        let said = |line| parse(line).unwrap_err().to_string();
        assert_eq!(said("sotres"), "there is no command \"sotres\"; did you mean \"stores\"?");
        assert_eq!(said("xyzzy"), "there is no command \"xyzzy\"; `help` lists them");
        assert!(said("--help").contains("there is no command"), "{}", said("--help"));
    }

    #[test]
    fn wrong_words_are_answered_with_the_usage() {
        for (line, problem) in [
            ("kill", "wants more words"),
            ("kill two", "\"two\" does not fit"),
            ("put a", "wants more words"),
            ("put a b c", "wants fewer words"),
            ("scan a b 3 4", "wants fewer words"),
            ("get \"a", "quotation mark"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(problem), "{line}: {error}");
        }
        assert!(parse("transfer 1").unwrap_err().to_string().ends_with("transfer REGION STORE"));
    }

    #[test]
    fn a_last_number_limits_a_scan() {
        let scan = |line: &str| {
            let Some(PromptCommand::Scan { words }) = parse(line).unwrap() else { panic!("{line} is a scan") };
            let ScanRequest { start, end, limit } = ScanRequest::new(&words);
            (start, end, limit)
        };
        let request = |start: &str, end: &str, limit| (start.to_owned(), end.to_owned(), limit);
        assert_eq!(scan("scan"), request("", "", SCAN_LIMIT));
        assert_eq!(scan("scan 5"), request("", "", 5));
        assert_eq!(scan("scan a"), request("a", "", SCAN_LIMIT));
        assert_eq!(scan("scan 7 5"), request("7", "", 5));
        assert_eq!(scan("scan a b"), request("a", "b", SCAN_LIMIT));
        assert_eq!(scan("scan a b 5"), request("a", "b", 5));
        assert_eq!(scan("scan 99999999"), request("", "", MAX_SCAN_LIMIT));
        assert_eq!(scan(r#"scan "" b"#), request("", "b", SCAN_LIMIT));
    }

    #[test]
    fn help_names_every_command_and_its_words() {
        let help = help();
        for usage in
            ["stores", "kill STORE", "transfer REGION STORE", "put KEY VALUE", "scan [START [END]] [LIMIT]", "quit"]
        {
            assert!(help.contains(usage), "{usage} is missing in\n{help}");
        }
    }
}
