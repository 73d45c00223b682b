//! What the files of snapshots are called.

use std::fmt;
use std::str::FromStr;

use types::{ColumnFamily, LogIndex, RegionId};

/// Which way a snapshot goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To another store.
    Outgoing,
    /// From another store.
    Incoming,
}

impl Direction {
    const ALL: [Self; 2] = [Self::Outgoing, Self::Incoming];

    /// What file names begin with; also a metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outgoing => "out",
            Self::Incoming => "in",
        }
    }
}

/// A snapshot's name on one store; all of its files begin with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotKey {
    /// Which way it goes.
    pub direction: Direction,
    /// Its region.
    pub region: RegionId,
    /// The newest applied index that it holds.
    pub index: LogIndex,
    /// Tells snapshots of the same region and index apart: never used twice for what may still have files.
    /// [`sweep`](crate::sweep()) says where to begin.
    pub number: u64,
}

impl fmt::Display for SnapshotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}-{}", self.direction.name(), self.region, self.index, self.number)
    }
}

/// What a file of a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The manifest.
    Manifest,
    /// The manifest while it is being written.
    ManifestDraft,
    /// A sorted file, by its place in the manifest.
    Data(ColumnFamily, u32),
    /// A second name of a sorted file, which the state engine may take away.
    Ingest(ColumnFamily, u32),
    /// What the state engine made to look into a sorted file.
    Check(ColumnFamily, u32),
}

const MANIFEST: &str = "manifest";
const DRAFT: &str = "manifest.tmp";
const DATA: &str = ".sst";
const INGEST: &str = ".sst.ingest";
const CHECK: &str = ".sst.check";

/// The name of a file of a snapshot: `in-7-1042-3.manifest`, `out-7-1042-3.write-2.sst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName {
    /// Whose it is.
    pub key: SnapshotKey,
    /// What it is.
    pub part: Part,
}

impl FileName {
    /// The name of a part of a snapshot.
    pub const fn new(key: SnapshotKey, part: Part) -> Self {
        Self { key, part }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key;
        match self.part {
            Part::Manifest => write!(f, "{key}.{MANIFEST}"),
            Part::ManifestDraft => write!(f, "{key}.{DRAFT}"),
            Part::Data(family, place) => write!(f, "{key}.{family}-{place}{DATA}"),
            Part::Ingest(family, place) => write!(f, "{key}.{family}-{place}{INGEST}"),
            Part::Check(family, place) => write!(f, "{key}.{family}-{place}{CHECK}"),
        }
    }
}

/// A file was not named by this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a snapshot's file")]
pub struct ForeignName(pub String);

impl FromStr for FileName {
    type Err = ForeignName;

    /// Reads what `Display` writes, and nothing else.
    fn from_str(name: &str) -> Result<Self, ForeignName> {
        let parsed = parse(name).filter(|parsed| parsed.to_string() == name);
        parsed.ok_or_else(|| ForeignName(name.to_owned()))
    }
}

fn parse(name: &str) -> Option<FileName> {
    let (key, part) = name.split_once('.')?;
    Some(FileName { key: parse_key(key)?, part: parse_part(part)? })
}

fn parse_key(key: &str) -> Option<SnapshotKey> {
    let mut fields = key.split('-');
    let direction = fields.next()?;
    let direction = Direction::ALL.into_iter().find(|known| known.name() == direction)?;
    let mut number = || fields.next()?.parse::<u64>().ok();
    let (region, index, number) = (number()?, number()?, number()?);
    fields.next().is_none().then(|| SnapshotKey { direction, region: region.into(), index: index.into(), number })
}

fn parse_part(part: &str) -> Option<Part> {
    match part {
        MANIFEST => return Some(Part::Manifest),
        DRAFT => return Some(Part::ManifestDraft),
        _ => {}
    }
    let (family, rest) = part.split_once('-')?;
    let family = ColumnFamily::ALL.into_iter().find(|known| known.name() == family)?;
    let digits = rest.find('.')?;
    let place = rest[..digits].parse().ok()?;
    match &rest[digits..] {
        DATA => Some(Part::Data(family, place)),
        INGEST => Some(Part::Ingest(family, place)),
        CHECK => Some(Part::Check(family, place)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(direction: Direction) -> SnapshotKey {
        SnapshotKey { direction, region: 7.into(), index: 1042.into(), number: 3 }
    }

    #[test]
    fn names_read_back() {
        let parts = [
            (Part::Manifest, "in-7-1042-3.manifest"),
            (Part::ManifestDraft, "in-7-1042-3.manifest.tmp"),
            (Part::Data(ColumnFamily::Default, 0), "in-7-1042-3.default-0.sst"),
            (Part::Ingest(ColumnFamily::Lock, 12), "in-7-1042-3.lock-12.sst.ingest"),
            (Part::Check(ColumnFamily::Write, 2), "in-7-1042-3.write-2.sst.check"),
        ];
        for (part, name) in parts {
            let parsed = FileName::new(key(Direction::Incoming), part);
            assert_eq!(parsed.to_string(), name);
            assert_eq!(name.parse(), Ok(parsed));
        }
        assert_eq!(FileName::new(key(Direction::Outgoing), Part::Manifest).to_string(), "out-7-1042-3.manifest");
    }

    #[test]
    fn nothing_else_is_a_name() {
        for name in [
            "",
            "in-7-1042-3",
            "up-7-1042-3.manifest",
            "in-7-1042.manifest",
            "in-7-1042-3-4.manifest",
            "in-07-1042-3.manifest",
            "in-7-1042--3.manifest",
            "in-+7-1042-3.manifest",
            "in-7-1042-3.meta-0.sst",
            "in-7-1042-3.default-00.sst",
            "in-7-1042-3.default-0.sst.tmp",
            "in-7-1042-3.default-../0.sst",
            "../in-7-1042-3.manifest",
            "in-7-1042-3.default-4294967296.sst",
        ] {
            assert_eq!(name.parse::<FileName>(), Err(ForeignName(name.to_owned())));
        }
    }
}
