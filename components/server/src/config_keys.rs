//! Checking and setting configuration keys by name, so that a typo is answered with the key that was meant.

use toml::{Table, Value};

use crate::config::ConfigError;

/// Tables whose keys users choose.
const FREE: [&str; 1] = ["server.labels"];

/// Checks that every key of `table` is one of `known`.
///
/// # Errors
/// `UnknownKey` with the nearest known key.
pub(crate) fn check(table: &Table, known: &Table) -> Result<(), ConfigError> {
    check_below("", table, known)
}

fn check_below(prefix: &str, table: &Table, known: &Table) -> Result<(), ConfigError> {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        match (known.get(name), value) {
            (None, _) => return Err(unknown(key, prefix, name, known)),
            (Some(Value::Table(below)), Value::Table(table)) if !FREE.contains(&key.as_str()) => {
                check_below(&format!("{key}."), table, below)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn unknown(key: String, prefix: &str, name: &str, known: &Table) -> ConfigError {
    let nearest = known.keys().map(|candidate| (distance(name, candidate), candidate)).min();
    let near = nearest.filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 2);
    ConfigError::UnknownKey { key, suggestion: near.map(|(_, candidate)| format!("{prefix}{candidate}")) }
}

/// Sets the key that an environment variable names, behind the prefix: `SECTION__KEY`.
///
/// # Errors
/// `UnknownKey` or `Value`.
pub(crate) fn set(table: &mut Table, known: &Table, path: &str, text: &str) -> Result<(), ConfigError> {
    let path = path.to_lowercase().replace("__", ".").replace('_', "-");
    let (section, name) = path.split_once('.').unwrap_or((path.as_str(), ""));
    let Some(Value::Table(known_keys)) = known.get(section) else {
        return Err(unknown(section.to_owned(), "", section, known));
    };
    let Some(sample) = known_keys.get(name) else {
        return Err(unknown(path.clone(), &format!("{section}."), name, known_keys));
    };
    let value = match sample {
        Value::String(_) => Value::String(text.to_owned()),
        _ => parse_value(text).ok_or_else(|| ConfigError::Value {
            key: path.clone(),
            problem: format!("cannot be {text:?}, must be like {sample}"),
        })?,
    };
    let keys = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    let not_a_table = || ConfigError::Value { key: section.to_owned(), problem: "must be a table".to_owned() };
    keys.as_table_mut().ok_or_else(not_a_table)?.insert(name.to_owned(), value);
    Ok(())
}

fn parse_value(text: &str) -> Option<Value> {
    let table: Table = format!("value = {text}").parse().ok()?;
    table.get("value").cloned()
}

/// How many characters must be added, removed or replaced to make one name of the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, r) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
