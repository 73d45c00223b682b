//! Why the program ends without having done what it was asked.

use std::fmt;
use std::process::ExitCode;

use observe::LogError;
use server::config::ConfigError;
use server::node::NodeError;
use types::ErrorCode;

/// The program was used or configured wrongly.
const STATUS_USAGE: u8 = 2;

/// The program could not do it.
const STATUS_FAILED: u8 = 1;

/// Why the program ends, in one line with a stable code, and the status that it ends with.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: ErrorCode,
    status: u8,
}

impl Failure {
    /// Something did not work.
    pub fn failed(message: impl fmt::Display, code: ErrorCode) -> Self {
        Self { message: one_line(&message.to_string()), code, status: STATUS_FAILED }
    }

    /// Something in the configuration is wrong.
    pub fn configuration(message: impl fmt::Display, code: ErrorCode) -> Self {
        Self { status: STATUS_USAGE, ..Self::failed(message, code) }
    }

    /// Something did not work, and the program ends with a status that says what kind of thing.
    pub fn with_status(message: impl fmt::Display, code: ErrorCode, status: u8) -> Self {
        Self { status, ..Self::failed(message, code) }
    }

    /// The status that the program ends with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::from(NodeError::from(error))
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Config(_) => Self::configuration(&error, error.code()),
            _ => Self::failed(&error, error.code()),
        }
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::configuration(error, ErrorCode("RY-CLI-001"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::failed(format!("cannot write to standard output: {error}"), ErrorCode("RY-CLI-002"))
    }
}

/// Parsers draw their complaints over several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_its_code() {
        let failure = Failure::failed("first\n  |\n2 | second", ErrorCode("RY-X-001"));
        assert_eq!(failure.to_string(), "first | 2 | second (RY-X-001)");
    }
}
