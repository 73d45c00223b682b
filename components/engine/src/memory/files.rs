//! The files of a disk: what is in them, what they are called, and what of both a crash leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::fault::FaultPoint;
use super::space::Space;
use crate::Result;

/// Bytes without a name, as an inode is.
#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// How many of them a sync has made durable.
    synced: usize,
}

/// Contents, and the names that point to them now and after a crash.
#[derive(Default)]
pub(super) struct Files {
    contents: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    last_content: u64,
}

impl Files {
    pub(super) fn read(&self, path: &Path) -> Option<Bytes> {
        self.content(path).map(|content| Bytes::copy_from_slice(&content.bytes))
    }

    /// Up to `max` bytes from an offset on; fewer at the end. `None` when there is no such file.
    pub(super) fn read_at(&self, path: &Path, offset: u64, max: usize) -> Option<Bytes> {
        let bytes = &self.content(path)?.bytes;
        let start = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let end = bytes.len().min(start.saturating_add(max));
        Some(Bytes::copy_from_slice(&bytes[start..end]))
    }

    pub(super) fn size(&self, path: &Path) -> Option<u64> {
        self.content(path).map(|content| content.bytes.len() as u64)
    }

    /// Every file of a folder, in the order of the names.
    pub(super) fn list(&self, folder: &Path) -> Vec<(PathBuf, u64)> {
        let inside = self.names.keys().filter(|path| path.parent() == Some(folder));
        inside.map(|path| (path.clone(), self.size(path).unwrap_or(0))).collect()
    }

    /// Makes or replaces a file, durable at once.
    pub(super) fn write(&mut self, path: &Path, bytes: Bytes, space: &Space) -> Result<()> {
        space.check(FaultPoint::FileFinish, bytes.len() as u64)?;
        let content = self.add(Content { synced: bytes.len(), bytes: bytes.into() });
        self.names.insert(path.to_owned(), content);
        self.durable_names.insert(path.to_owned(), content);
        self.settle(space);
        Ok(())
    }

    /// Writes at the end of a file, which must be at `offset`; at zero, a file is made in place of any that is there.
    pub(super) fn append(&mut self, path: &Path, offset: u64, bytes: &[u8], space: &Space) -> Result<()> {
        space.check(FaultPoint::FileWrite, bytes.len() as u64)?;
        if offset == 0 {
            let content = self.add(Content::default());
            self.names.insert(path.to_owned(), content);
        }
        let content = self.content_mut(path, FaultPoint::FileWrite)?;
        if content.bytes.len() as u64 != offset {
            let end = content.bytes.len();
            return Err(FaultPoint::FileWrite.io(format!("{} ends at {end}, not at {offset}", path.display())));
        }
        content.bytes.extend_from_slice(bytes);
        self.settle(space);
        Ok(())
    }

    /// Makes a file's bytes durable. Its name is so with [`sync_names`](Self::sync_names) only.
    pub(super) fn sync(&mut self, path: &Path) -> Result<()> {
        let content = self.content_mut(path, FaultPoint::FileSync)?;
        content.synced = content.bytes.len();
        Ok(())
    }

    /// Makes the names of a folder durable.
    pub(super) fn sync_names(&mut self, folder: &Path, space: &Space) {
        let inside = |path: &Path| path.parent() == Some(folder);
        self.durable_names.retain(|path, _| !inside(path));
        let names = self.names.iter().filter(|(path, _)| inside(path));
        self.durable_names.extend(names.map(|(path, content)| (path.clone(), *content)));
        self.settle(space);
    }

    /// A second name for the same bytes.
    pub(super) fn link(&mut self, from: &Path, to: &Path) -> Result<()> {
        let content = self.number(from, FaultPoint::FileWrite)?;
        if self.names.contains_key(to) {
            return Err(FaultPoint::FileWrite.io(format!("{} is there already", to.display())));
        }
        self.names.insert(to.to_owned(), content);
        Ok(())
    }

    /// Another name, in place of any file that had it.
    pub(super) fn rename(&mut self, from: &Path, to: &Path, space: &Space) -> Result<()> {
        let content = self.number(from, FaultPoint::FileWrite)?;
        self.names.remove(from);
        self.names.insert(to.to_owned(), content);
        self.settle(space);
        Ok(())
    }

    /// Takes a name away, until a crash that no [`sync_names`](Self::sync_names) came before.
    pub(super) fn unlink(&mut self, path: &Path, space: &Space) -> bool {
        let was_there = self.names.remove(path).is_some();
        self.settle(space);
        was_there
    }

    /// Removes a file, durably at once.
    pub(super) fn remove(&mut self, path: &Path, space: &Space) -> bool {
        self.durable_names.remove(path);
        self.unlink(path, space)
    }

    /// Falls back to what is durable. A kind crash (`torn`) leaves more: names as they were, and half of what each
    /// file has behind its last sync.
    pub(super) fn crash(&mut self, torn: bool, space: &Space) {
        if !torn {
            self.names.clone_from(&self.durable_names);
        }
        for content in self.contents.values_mut() {
            let unsynced = content.bytes.len() - content.synced;
            content.bytes.truncate(content.synced + if torn { unsynced / 2 } else { 0 });
            content.synced = content.bytes.len();
        }
        self.durable_names.clone_from(&self.names);
        self.settle(space);
    }

    fn add(&mut self, content: Content) -> u64 {
        self.last_content += 1;
        self.contents.insert(self.last_content, content);
        self.last_content
    }

    fn number(&self, path: &Path, point: FaultPoint) -> Result<u64> {
        self.names.get(path).copied().ok_or_else(|| point.io(format!("there is no file {}", path.display())))
    }

    fn content(&self, path: &Path) -> Option<&Content> {
        self.contents.get(self.names.get(path)?)
    }

    fn content_mut(&mut self, path: &Path, point: FaultPoint) -> Result<&mut Content> {
        let number = self.number(path, point)?;
        Ok(self.contents.get_mut(&number).expect("contents live for as long as a name points to them"))
    }

    /// Forgets contents without a name, and counts what is left.
    fn settle(&mut self, space: &Space) {
        let named: BTreeSet<u64> = self.names.values().chain(self.durable_names.values()).copied().collect();
        self.contents.retain(|number, _| named.contains(number));
        let seen: BTreeSet<u64> = self.names.values().copied().collect();
        let bytes = seen.iter().map(|number| self.contents[number].bytes.len() as u64).sum();
        space.files.store(bytes, Ordering::Release);
    }
}
