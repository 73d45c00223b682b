//! One log record as one line.

use std::fmt::{self, Write};

use slog::{KV, Key, Level, OwnedKVList, Record, Serializer};

use crate::logging::LogFormat;

/// The key under which a record carries the time at which it was made. Reserved.
pub(crate) const TIME_KEY: &str = "time";

/// A value that is written as it is, or as a string.
enum Value {
    Bare(String),
    Text(String),
}

/// The fields of a record, in the order in which slog tells them.
#[derive(Default)]
struct Fields {
    time: Option<String>,
    fields: Vec<(String, Value)>,
}

/// Appends the record's line, with its line break. Fields stand in the order in which the source names them, the
/// logger's own after the record's.
pub(crate) fn write_line(line: &mut String, format: LogFormat, record: &Record<'_>, context: &OwnedKVList) {
    let mut own = Fields::default();
    let mut inherited = Fields::default();
    // Serialising into memory fails only when a value cannot format itself; what it wrote until then is kept.
    let _ = record.kv().serialize(record, &mut own);
    let _ = context.serialize(record, &mut inherited);
    let time = own.time.take().expect("records are stamped before they are queued");
    let fields = own.fields.into_iter().rev().chain(inherited.fields.into_iter().rev());
    let written = match format {
        LogFormat::Text => write_text(line, &time, record, fields),
        LogFormat::Json => write_json(line, &time, record, fields),
    };
    written.expect("a string takes every write");
}

fn write_text(
    line: &mut String,
    time: &str,
    record: &Record<'_>,
    fields: impl Iterator<Item = (String, Value)>,
) -> fmt::Result {
    let (level, file) = (level_name(record.level()), file_name(record.file()));
    write!(line, "[{time}] [{level}] [{file}:{}] [", record.line())?;
    // The message is always quoted, like in TiKV's own logs.
    write_quoted(line, &record.msg().to_string())?;
    line.push(']');
    for (key, value) in fields {
        line.push_str(" [");
        write_text_part(line, &key)?;
        line.push('=');
        match value {
            Value::Bare(value) | Value::Text(value) => write_text_part(line, &value)?,
        }
        line.push(']');
    }
    line.push('\n');
    Ok(())
}

fn write_json(
    line: &mut String,
    time: &str,
    record: &Record<'_>,
    fields: impl Iterator<Item = (String, Value)>,
) -> fmt::Result {
    let (level, file) = (level_name(record.level()), file_name(record.file()));
    write!(line, r#"{{"time":"{time}","level":"{level}","caller":"{file}:{}","message":"#, record.line())?;
    write_quoted(line, &record.msg().to_string())?;
    for (key, value) in fields {
        line.push(',');
        write_quoted(line, &key)?;
        line.push(':');
        match value {
            Value::Bare(value) => line.push_str(&value),
            Value::Text(value) => write_quoted(line, &value)?,
        }
    }
    line.push_str("}\n");
    Ok(())
}

/// The names of the unified log format.
pub(crate) fn level_name(level: Level) -> &'static str {
    match level {
        Level::Critical => "FATAL",
        Level::Error => "ERROR",
        Level::Warning => "WARN",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        Level::Trace => "TRACE",
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// Writes a key or value; quoted where a reader of the format could not tell where it ends.
fn write_text_part(line: &mut String, text: &str) -> fmt::Result {
    let special = |c: char| c <= ' ' || c.is_control() || matches!(c, '"' | '=' | '[' | ']');
    if text.is_empty() || text.contains(special) {
        write_quoted(line, text)
    } else {
        line.push_str(text);
        Ok(())
    }
}

/// Writes a JSON string, which both formats use for quoting. Line breaks and other controls are escaped: a record is
/// one line, whatever its values hold.
fn write_quoted(line: &mut String, text: &str) -> fmt::Result {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if c.is_control() => write!(line, "\\u{:04x}", u32::from(c))?,
            c => line.push(c),
        }
    }
    line.push('"');
    Ok(())
}

impl Fields {
    fn bare(&mut self, key: Key, value: impl fmt::Display) -> slog::Result {
        self.fields.push((key.to_string(), Value::Bare(value.to_string())));
        Ok(())
    }
}

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        let value = value.to_string();
        if key == TIME_KEY && self.time.is_none() {
            self.time = Some(value);
        } else {
            self.fields.push((key.to_string(), Value::Text(value)));
        }
        Ok(())
    }

    fn emit_bool(&mut self, key: Key, value: bool) -> slog::Result {
        self.bare(key, value)
    }

    fn emit_u8(&mut self, key: Key, value: u8) -> slog::Result {
        self.bare(key, value)
    }

    fn emit_i8(&mut self, key: Key, value: i8) -> slog::Result {
        self.bare(key, value)
    }

    fn emit_u16(&mut self, key: Key, value: u16) -> slog::Result {
        self.bare(key, value)
    }

    fn emit_i16(&mut self, key: Key, value: i16) -> slog::Result {
        self.bare(key, value)
    }

    fn emit_u32(&mut self, key: Key, value: u32) -> slog::Result {
        self.bare(key, value)
    }

    fn emit_i32(&mut self, key: Key, value: i32) -> slog::Result {
        self.bare(key, value)
    }

    fn emit_u64(&mut self, key: Key, value: u64) -> slog::Result {
        self.bare(key, value)
    }

    fn emit_i64(&mut self, key: Key, value: i64) -> slog::Result {
        self.bare(key, value)
    }

    fn emit_usize(&mut self, key: Key, value: usize) -> slog::Result {
        self.bare(key, value)
    }

    fn emit_isize(&mut self, key: Key, value: isize) -> slog::Result {
        self.bare(key, value)
    }

    fn emit_f64(&mut self, key: Key, value: f64) -> slog::Result {
        // JSON has no number that is not finite.
        if value.is_finite() { self.bare(key, value) } else { self.emit_arguments(key, &format_args!("{value}")) }
    }
}
