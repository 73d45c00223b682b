//! Versions of stores, ordered as Semantic Versioning 2.0.0 says.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A semantic version; what a store runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Changes with incompatible interfaces.
    pub major: u64,
    /// Changes with features.
    pub minor: u64,
    /// Changes with corrections.
    pub patch: u64,
    /// Identifiers of a version before the release; empty for the release.
    pub pre: String,
}

impl Version {
    /// Whether a store of this version may join a cluster whose oldest store runs `cluster`.
    pub fn may_join(&self, cluster: &Self) -> bool {
        self >= cluster || (self.major, self.minor) == (cluster.major, cluster.minor)
    }
}

/// A version that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("version {0:?} is not of the form 1.2.3 or 1.2.3-pre")]
pub struct VersionError(pub String);

impl FromStr for Version {
    type Err = VersionError;

    /// A leading `v` and build metadata are ignored. The empty string stands for 1.0.0, as in the ecosystem's driver.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self { major: 1, minor: 0, patch: 0, pre: String::new() });
        }
        let parse = || {
            let text = text.strip_prefix('v').unwrap_or(text);
            let text = text.split_once('+').map_or(text, |(version, _)| version);
            let (numbers, pre) = match text.split_once('-') {
                Some((_, "")) => return None,
                Some((numbers, pre)) => (numbers, pre),
                None => (text, ""),
            };
            let mut numbers = numbers.split('.').map(parse_number);
            let version =
                Self { major: numbers.next()??, minor: numbers.next()??, patch: numbers.next()??, pre: pre.to_owned() };
            numbers.next().is_none().then_some(version)
        };
        parse().ok_or_else(|| VersionError(text.to_owned()))
    }
}

/// Digits only: `parse` by itself would take a sign.
fn parse_number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = |version: &Self| (version.major, version.minor, version.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => compare_identifiers(&self.pre, &other.pre),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Numbers by value and below words, words by their bytes, a longer list above its own beginning.
fn compare_identifiers(left: &str, right: &str) -> Ordering {
    let mut pairs = left.split('.').zip(right.split('.'));
    let differing = pairs.find_map(|(left, right)| {
        let order = match (parse_number(left), parse_number(right)) {
            (Some(left), Some(right)) => left.cmp(&right),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => left.cmp(right),
        };
        order.is_ne().then_some(order)
    });
    differing.unwrap_or_else(|| left.split('.').count().cmp(&right.split('.').count()))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if self.pre.is_empty() { Ok(()) } else { write!(f, "-{}", self.pre) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    #[test]
    fn reads_and_prints() {
        for (text, printed) in [("8.5.6", "8.5.6"), ("v1.2.3-rc.1+abc", "1.2.3-rc.1"), ("", "1.0.0")] {
            assert_eq!(version(text).to_string(), printed);
        }
        for text in ["8.5", "8.5.6.7", "a.b.c", "1.2.3-", "+1.2.3", "1..3", "1.2.99999999999999999999"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    #[test]
    fn orders_as_the_standard_says() {
        let ascending =
            ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "2.0.0"];
        assert!(ascending.windows(2).all(|pair| version(pair[0]) < version(pair[1])));
    }

    #[test]
    fn same_minor_or_newer_may_join() {
        let cluster = version("8.5.6");
        let may_join = |text| version(text).may_join(&cluster);
        assert!(may_join("8.5.6") && may_join("8.5.0") && may_join("9.0.0-beta.1"));
        assert!(!may_join("8.4.9") && !may_join("7.5.6"));
    }
}
