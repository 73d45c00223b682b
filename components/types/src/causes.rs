//! Errors told in full.

use std::error::Error;

/// The error's text followed by those of its causes. Many libraries' own texts say only "transport error" or the like.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::fmt::Error);

    #[test]
    fn all_causes_are_told() {
        assert_eq!(with_causes(&Outer(std::fmt::Error)), format!("outer: {}", std::fmt::Error));
    }
}
