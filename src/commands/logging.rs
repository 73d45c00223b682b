//! From the configuration's words for logging to a logger.

use std::path::PathBuf;

use observe::{LogError, LogFormat, Logging, parse_level};
use server::config::{ConfigError, LogConfig};
use types::ErrorCode;

use super::Failure;

/// What the configuration asks for.
///
/// # Errors
/// When the level or the format has no meaning.
pub fn log_config(config: &LogConfig) -> Result<observe::LogConfig, Failure> {
    let level = parse_level(&config.level).map_err(|error| unusable("log.level", &error))?;
    let format = match config.format.as_str() {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        other => {
            let problem = format!("is {other:?}, must be \"text\" or \"json\"");
            return Err(ConfigError::Value { key: "log.format".to_owned(), problem }.into());
        }
    };
    let file = (!config.file.is_empty()).then(|| PathBuf::from(&config.file));
    Ok(observe::LogConfig { level, format, file, ..observe::LogConfig::default() })
}

/// Starts to log as the configuration asks for.
///
/// # Errors
/// When that has no meaning, or the file cannot be opened.
pub fn start(config: &LogConfig) -> Result<Logging, Failure> {
    Ok(Logging::start(&log_config(config)?)?)
}

fn unusable(key: &str, error: &LogError) -> Failure {
    Failure::configuration(format!("configuration key {key:?}: {error}"), ErrorCode("RY-SERVER-001"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_meaning_are_named() {
        let with = |level: &str, format: &str| {
            let config = LogConfig { level: level.to_owned(), format: format.to_owned(), file: String::new() };
            log_config(&config).map(|_| ()).map_err(|failure| failure.to_string())
        };
        assert_eq!(with("warn", "json"), Ok(()));
        assert!(with("loud", "text").is_err_and(|error| error.contains("log.level") && error.contains("loud")));
        assert!(with("info", "xml").is_err_and(|error| error.contains("log.format") && error.contains("xml")));
    }
}
