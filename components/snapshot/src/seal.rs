//! The manifest on disk. It is written last, so that a manifest that can be read vouches for all files before it.

use crate::files::{Result, SnapshotFiles};
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest, ManifestError};
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

/// Reads a manifest back.
pub(crate) fn read_manifest(
    files: &dyn SnapshotFiles,
    key: SnapshotKey,
) -> Result<std::result::Result<Manifest, ManifestError>> {
    let name = FileName::new(key, Part::Manifest).to_string();
    // One byte more than it may have, so that one that is too long is told apart.
    let bytes = files.read(&name, 0, MAX_MANIFEST_BYTES + 1)?;
    Ok(Manifest::decode(&bytes))
}
