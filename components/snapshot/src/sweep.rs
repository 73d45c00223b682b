//! What crashes left behind.

use std::collections::BTreeSet;

use crate::files::{Result, SnapshotFiles};
use crate::name::{FileName, Part, SnapshotKey};

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The files that were removed.
    pub removed: Vec<String>,
    /// How many bytes they had.
    pub removed_bytes: u64,
    /// What lies in the folder and is no snapshot's. It was left alone; someone should know.
    pub foreign: Vec<String>,
    /// The first [`SnapshotKey::number`] that no file of the folder ever had.
    pub next_number: u64,
}

/// Removes the files of all snapshots but those in `needed`: called at each start, before anything is built or received,
/// with the keys that the snapshot markers in L still name (D10). Of those it keeps manifest and sorted files, and removes
/// second names and drafts, which are made again.
///
/// Nothing outgoing is ever needed after a start: raft asks again.
pub fn sweep(files: &dyn SnapshotFiles, needed: &BTreeSet<SnapshotKey>) -> Result<Swept> {
    let mut swept = Swept::default();
    let numbers = needed.iter().map(|key| key.number);
    swept.next_number = numbers.map(|number| number.saturating_add(1)).max().unwrap_or(0);
    for listed in files.list()? {
        let Ok(name) = listed.name.parse::<FileName>() else {
            swept.foreign.push(listed.name);
            continue;
        };
        swept.next_number = swept.next_number.max(name.key.number.saturating_add(1));
        let is_lasting = matches!(name.part, Part::Manifest | Part::Data(..));
        if !(is_lasting && needed.contains(&name.key)) {
            files.remove(&listed.name)?;
            swept.removed_bytes += listed.bytes;
            swept.removed.push(listed.name);
        }
    }
    if !swept.removed.is_empty() {
        files.sync_names()?;
    }
    Ok(swept)
}
