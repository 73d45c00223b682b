//! What may be said at the prompt.

use std::collections::BTreeSet;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use types::StoreId;

use super::network::Sides;
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
    /// Cut regions at keys.
    Split {
        /// The keys; each begins a region then.
        #[arg(value_name = "KEY…", required = true, allow_hyphen_values = true)]
        keys: Vec<String>,
    },
    /// Replace a region's peer on one store by one on another.
    Move {
        /// The region's id.
        #[arg(value_name = "REGION")]
        region: u64,
        /// The store that gives it away.
        #[arg(value_name = "FROM")]
        from: u64,
        /// The store that gets it.
        #[arg(value_name = "TO")]
        to: u64,
    },
    /// Start one more store.
    AddStore,
    /// Empty a store, end it and remove its data.
    RemoveStore {
        /// The store's id.
        #[arg(value_name = "STORE")]
        store: u64,
    },
    /// Cut the network between sides of stores, such as 1|2 3; stores not named are one side.
    Partition {
        /// The sides; see [`sides`].
        #[arg(value_name = "STORE…|STORE…", required = true)]
        words: Vec<String>,
    },
    /// Mend the network.
    Heal,
    /// Show the regions as they change, until Enter.
    Watch,
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
    /// The sides of a cut are not said as they should be.
    #[error("{0:?} is no side: write the stores of each side by their ids, and a bar between two sides, such as 1|2 3")]
    Sides(String),
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

/// The sides of a cut: stores by their ids, with white space or commas between them, and bars between two sides.
///
/// # Errors
/// When something is no id, or a store is on two sides.
pub fn sides(words: &[String]) -> Result<Sides, PromptError> {
    let mut named = BTreeSet::new();
    let mut one = |text: &str| {
        let id = text.parse().map(StoreId).ok().filter(|store| named.insert(*store));
        id.ok_or_else(|| PromptError::Sides(text.to_owned()))
    };
    let said = words.join(" ");
    let mut sides = Vec::new();
    for side in said.split('|') {
        let ids = side.split([' ', ',']).filter(|text| !text.is_empty());
        let side: BTreeSet<StoreId> = ids.map(&mut one).collect::<Result<_, _>>()?;
        if !side.is_empty() {
            sides.push(side);
        }
    }
    if sides.is_empty() { Err(PromptError::Sides(said)) } else { Ok(Sides(sides)) }
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
            ("split m t", PromptCommand::Split { keys: vec!["m".into(), "t".into()] }),
            ("move 4 1 5", PromptCommand::Move { region: 4, from: 1, to: 5 }),
            ("add-store", PromptCommand::AddStore),
            ("remove-store 2", PromptCommand::RemoveStore { store: 2 }),
            ("partition 1|2 3", PromptCommand::Partition { words: vec!["1|2".into(), "3".into()] }),
            ("heal", PromptCommand::Heal),
            ("watch", PromptCommand::Watch),
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
    fn sides_are_parted_by_bars() {
        let said = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            sides(&words).map(|sides| format!("{:?}", sides.0)).map_err(|error| error.to_string())
        };
        for line in ["1|2 3", "1 | 2,3", "1|2  3|"] {
            assert_eq!(said(line).unwrap(), "[{1}, {2, 3}]", "{line}");
        }
        assert_eq!(said("2").unwrap(), "[{2}]");
        for (wrong, part) in [("1|one", "\"one\" is no side"), ("1|1", "\"1\" is no side"), ("|", "\"|\" is no side")] {
            let error = said(wrong).unwrap_err();
            assert!(error.starts_with(part), "{wrong}: {error}");
        }
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
        for usage in [
            "stores",
            "kill STORE",
            "transfer REGION STORE",
            "put KEY VALUE",
            "scan [START [END]] [LIMIT]",
            "quit",
            "split KEY…",
            "move REGION FROM TO",
            "add-store",
            "remove-store STORE",
            "partition STORE",
            "heal",
            "watch",
        ] {
            assert!(help.contains(usage), "{usage} is missing in\n{help}");
        }
    }
}
