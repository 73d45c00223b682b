//! Building and checking commands.

use proto::log::Command;
use types::KeyRange;

/// Why a command can never be applied, whatever the region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CommandError(pub String);

/// Checks a command against the limits of `types::limits`.
///
/// Returns the smallest range that holds all of its keys, by which the region checks that they are its own.
pub fn check_command(command: &Command) -> Result<KeyRange, CommandError> {
    let _ = command;
    unimplemented!("under construction")
}
