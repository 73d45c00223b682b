//! The manifest on disk. It is written last, so that a manifest that can be read vouches for all files before it.

use crate::files::Result;
use crate::name::{FileName, Part, SnapshotKey};
use crate::owned::OwnedFiles;

/// Writes a manifest: under a draft's name, synced, renamed, the names synced. The files that it speaks of are durable.
pub(crate) fn write_manifest(owned: &mut OwnedFiles, key: SnapshotKey, encoded: &[u8]) -> Result<()> {
    let draft = owned.add(FileName::new(key, Part::ManifestDraft));
    let name = owned.add(FileName::new(key, Part::Manifest));
    owned.files.append(&draft, 0, encoded)?;
    owned.files.sync(&draft)?;
    owned.files.rename(&draft, &name)?;
    owned.files.sync_names()
}
