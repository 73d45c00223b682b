//! How keys are written: as escaped text, like TiKV's tools do, or as hex.

use std::fmt;

use bytes::Bytes;
use types::range::HexKey;

/// Words that are no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A backslash begins something that is no escape.
    #[error(
        "key {text:?} has an escape that is none behind byte {at}: write \\xHH for a byte in hex, \\ooo for one in octal, \
         \\n, \\r, \\t, \\\", \\' or \\\\"
    )]
    Escape {
        /// What was given.
        text: String,
        /// Where the backslash stands.
        at: usize,
    },
    /// It is not hex.
    #[error("key {0:?} is not hex: give two digits a byte, or leave --hex out")]
    Hex(String),
}

/// How keys are written, in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notation {
    /// Printable ASCII stands for itself, all else is escaped.
    #[default]
    Escaped,
    /// Two digits a byte.
    Hex,
}

impl Notation {
    /// The key that is written so. Text beyond ASCII stands for its UTF-8 bytes.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(self, text: &str) -> Result<Bytes, KeyError> {
        match self {
            Self::Escaped => unescape(text),
            Self::Hex => from_hex(text).ok_or_else(|| KeyError::Hex(text.to_owned())),
        }
    }

    /// The key as it is written.
    pub fn show(self, key: &[u8]) -> String {
        match self {
            Self::Escaped => Escaped(key).to_string(),
            Self::Hex => HexKey(key).to_string(),
        }
    }

    /// The lower bound of a range.
    pub fn start(self, key: &[u8]) -> String {
        if key.is_empty() { "(first)".to_owned() } else { self.show(key) }
    }

    /// The upper bound of a range.
    pub fn end(self, key: &[u8]) -> String {
        if key.is_empty() { "(last)".to_owned() } else { self.show(key) }
    }
}

/// The bytes that hex stands for; `None` when it is none.
pub fn from_hex(text: &str) -> Option<Bytes> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.len().saturating_sub(1);
        self.0.iter().enumerate().try_for_each(|(at, byte)| match byte {
            // A space at either end is nothing that people see.
            b' ' if at == 0 || at == last => f.write_str("\\040"),
            b'\n' => f.write_str("\\n"),
            b'\r' => f.write_str("\\r"),
            b'\t' => f.write_str("\\t"),
            b'"' => f.write_str("\\\""),
            b'\\' => f.write_str("\\\\"),
            b' '..=b'~' => write!(f, "{}", char::from(*byte)),
            _ => write!(f, "\\{byte:03o}"),
        })
    }
}

fn unescape(text: &str) -> Result<Bytes, KeyError> {
    let bytes = text.as_bytes();
    let mut key = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let (byte, taken) = match byte {
            b'\\' => escape(&bytes[at + 1..]).ok_or_else(|| KeyError::Escape { text: text.to_owned(), at })?,
            _ => (*byte, 0),
        };
        key.push(byte);
        at += 1 + taken;
    }
    Ok(key.into())
}

/// The byte that stands behind a backslash, and how many characters it takes.
fn escape(rest: &[u8]) -> Option<(u8, usize)> {
    let number = |digits: &[u8], radix| {
        let text = std::str::from_utf8(digits).ok()?;
        let is_sound = text.chars().all(|digit| digit.is_digit(radix));
        is_sound.then(|| u8::from_str_radix(text, radix).ok())?
    };
    match rest.first()? {
        b'n' => Some((b'\n', 1)),
        b'r' => Some((b'\r', 1)),
        b't' => Some((b'\t', 1)),
        quoted @ (b'"' | b'\'' | b'\\') => Some((*quoted, 1)),
        b'x' => Some((number(rest.get(1..3)?, 16)?, 3)),
        b'0'..=b'7' => Some((number(rest.get(..3)?, 8)?, 3)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_key_is_read_as_it_is_written() {
        let all: Vec<u8> = (0..=255).collect();
        for notation in [Notation::Escaped, Notation::Hex] {
            assert_eq!(notation.parse(&notation.show(&all)).unwrap(), all);
        }
        assert_eq!(Notation::Escaped.show(b"a \\\"\n\x00\xff'"), r#"a \\\"\n\000\377'"#);
        assert_eq!(Notation::Escaped.show(b" a b "), r"\040a b\040");
        assert_eq!(Notation::Escaped.parse(r"\040a b\040").unwrap(), &b" a b "[..]);
        assert_eq!(Notation::Hex.show(b"m\xff"), "6DFF");
    }

    #[test]
    fn escapes_of_all_kinds_are_read() {
        let read = |text| Notation::Escaped.parse(text).unwrap();
        assert_eq!(&read(r#"\x7a\172\\\'\"\t\r\n"#)[..], b"zz\\'\"\t\r\n");
        assert_eq!(&read("grün")[..], "grün".as_bytes());
        assert_eq!(&read("")[..], b"");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for wrong in [r"\", r"\q", r"\x", r"\x1", r"\xzz", r"\x+1", r"\1", r"\18", r"\777", r"a\x4"] {
            let error = Notation::Escaped.parse(wrong).unwrap_err();
            assert!(error.to_string().contains("escape that is none"), "{wrong}: {error}");
        }
        for wrong in ["6", "6g", "0x6D", "6D 6D"] {
            assert_eq!(Notation::Hex.parse(wrong), Err(KeyError::Hex(wrong.to_owned())));
        }
    }

    #[test]
    fn ends_of_the_key_space_have_names() {
        assert_eq!((Notation::Hex.start(b""), Notation::Hex.end(b"")), ("(first)".to_owned(), "(last)".to_owned()));
        assert_eq!(Notation::Escaped.end(b"m"), "m");
    }
}
