//! Lines into words, and bytes into something to read.

use std::fmt;

/// A line whose quotes do not come in pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a quotation mark is missing its other half; quote words with spaces as \"two words\"")]
pub struct OpenQuote;

/// Splits a line at white space. Double quotes keep a word together; a backslash in them takes the next character as
/// it is.
///
/// # Errors
/// When a quote is not closed.
pub fn split_words(line: &str) -> Result<Vec<String>, OpenQuote> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted(&mut characters, word.get_or_insert_default())?,
            _ if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(characters: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), OpenQuote> {
    loop {
        match characters.next().ok_or(OpenQuote)? {
            '"' => return Ok(()),
            '\\' => word.push(characters.next().ok_or(OpenQuote)?),
            character => word.push(character),
        }
    }
}

/// Shows bytes that are mostly text: everything that could disturb a terminal is escaped.
pub struct Readable<'a>(pub &'a [u8]);

impl fmt::Display for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\\' => f.write_str("\\\\")?,
                    _ if character.is_control() => write!(f, "{}", character.escape_default())?,
                    _ => write!(f, "{character}")?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_and_quotes_kept_together() {
        let split = |line| split_words(line).map(|words| words.join("|"));
        assert_eq!(split("  put  a\tb "), Ok("put|a|b".to_owned()));
        assert_eq!(split(r#"put "two words" a"b c"d"#), Ok("put|two words|ab cd".to_owned()));
        assert_eq!(split(r#"put "" "a\"b\\""#), Ok(r#"put||a"b\"#.to_owned()));
        assert_eq!(split(""), Ok(String::new()));
        assert_eq!(split_words(r#"put "a"#), Err(OpenQuote));
        assert_eq!(split_words(r#"put "a\"#), Err(OpenQuote));
    }

    #[test]
    fn bytes_cannot_disturb_the_terminal() {
        assert_eq!(Readable("grün\\".as_bytes()).to_string(), "grün\\\\");
        assert_eq!(Readable(b"\x1b[2J\n\xff").to_string(), "\\u{1b}[2J\\n\\xff");
    }
}
