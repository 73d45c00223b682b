//! A snapshot that is ready to replace a region's data.

use std::sync::Arc;

use engine::{IngestFile, StateBatch, StateEngine};

use crate::content::{Depth, Inspection, Surface};
use crate::files::{FilesError, SharedFiles};
use crate::manifest::Manifest;
use crate::name::{FileName, Part, SnapshotKey};
use crate::owned::OwnedFiles;
use crate::receiver::{ReceiveError, ReceiveStep};
use crate::seal;

/// A snapshot whose files are whole, verified and durable: what D10 begins with.
///
/// Until [`keep`](Self::keep) is called, dropping it removes it. From then on it stays, whatever happens to the
/// process, until [`remove`](Self::remove): a restart finds it by the marker in L, and [`Recovery`] opens it again.
#[derive(Debug)]
pub struct Received {
    key: SnapshotKey,
    manifest: Manifest,
    owned: OwnedFiles,
}

impl Received {
    pub(crate) fn new(key: SnapshotKey, manifest: Manifest, owned: OwnedFiles) -> Self {
        Self { key, manifest, owned }
    }

    /// Its name, for the marker.
    pub fn key(&self) -> SnapshotKey {
        self.key
    }

    /// What it consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The marker that names it is about to be written: from now on only [`remove`](Self::remove) removes it.
    pub fn keep(&mut self) {
        self.owned.keep();
    }

    /// The files for [`StateEngine::ingest`], under second names, because an engine may take away what it ingests and a
    /// crash in the middle makes D10 ingest all of them again. Empty when the data is inline.
    pub fn ingest_files(&mut self) -> Result<Vec<IngestFile>, FilesError> {
        let mut files = Vec::new();
        for (place, entry) in self.manifest.files().iter().enumerate() {
            let place = place as u32;
            let data = FileName::new(self.key, Part::Data(entry.family, place)).to_string();
            let second = self.owned.add(FileName::new(self.key, Part::Ingest(entry.family, place)));
            self.owned.files.remove(&second)?;
            self.owned.files.link(&data, &second)?;
            files.push(IngestFile { family: entry.family.into(), path: self.owned.files.path(&second) });
        }
        Ok(files)
    }

    /// Adds the inline data to the batch that brings the descriptor and the apply state; nothing when there are files.
    pub fn put_inline(&self, batch: &mut StateBatch) {
        for pair in self.manifest.inline() {
            batch.put(pair.family, pair.key.clone(), pair.value.clone());
        }
    }

    /// Removes its files: it is installed and the marker is gone, or nobody wants it.
    ///
    /// # Errors
    /// When a file cannot be removed; the next start's [`sweep`](crate::sweep()) will.
    pub fn remove(mut self) -> Result<(), FilesError> {
        self.owned.remove()
    }
}

/// Opens a snapshot again that a marker in L names, after a restart (D10): reads its manifest and looks through its
/// files, bytes and keys. When they are damaged, the peer stays fenced and asks for a new snapshot.
pub struct Recovery {
    key: SnapshotKey,
    manifest: Manifest,
    engine: Arc<dyn StateEngine>,
    owned: Option<OwnedFiles>,
    inspection: Inspection,
}

impl Recovery {
    /// Reads the manifest. Dropping the recovery changes nothing on disk.
    pub fn open(engine: Arc<dyn StateEngine>, files: SharedFiles, key: SnapshotKey) -> Result<Self, ReceiveError> {
        let manifest = seal::read_manifest(&*files, key)??;
        let mut owned = OwnedFiles::new(files);
        owned.keep();
        owned.add(FileName::new(key, Part::Manifest));
        for (place, entry) in manifest.files().iter().enumerate() {
            owned.add(FileName::new(key, Part::Data(entry.family, place as u32)));
        }
        Ok(Self { key, manifest, engine, owned: Some(owned), inspection: Inspection::new(Depth::BytesAndKeys) })
    }

    /// Looks on, by about `budget` bytes. What it gives is [kept](Received::keep) already.
    ///
    /// # Panics
    /// When it is called again after it gave the snapshot.
    pub fn step(&mut self, budget: usize) -> Result<ReceiveStep, ReceiveError> {
        let mut owned = self.owned.take().expect("a recovery gives its snapshot once");
        let mut surface = Surface { key: self.key, manifest: &self.manifest, owned: &mut owned, engine: &self.engine };
        let is_done = self.inspection.step(&mut surface, budget)?;
        if is_done {
            return Ok(ReceiveStep::Received(Received::new(self.key, self.manifest.clone(), owned)));
        }
        self.owned = Some(owned);
        Ok(ReceiveStep::More)
    }
}
