//! Files that go with whoever made them.

use std::collections::BTreeSet;
use std::fmt;

use crate::files::SharedFiles;
use crate::name::FileName;

/// The files of one snapshot that this process made or took over. Dropping it removes them, so that no way out of a
/// half-done snapshot leaves a trace; a crash's left-overs are for [`sweep`](crate::sweep()).
pub(crate) struct OwnedFiles {
    pub(crate) files: SharedFiles,
    names: BTreeSet<FileName>,
    kept: bool,
}

impl OwnedFiles {
    pub(crate) fn new(files: SharedFiles) -> Self {
        Self { files, names: BTreeSet::new(), kept: false }
    }

    /// Takes a file over. Called before the file is made, so that a half-made one is removed too.
    pub(crate) fn add(&mut self, name: FileName) -> String {
        self.names.insert(name);
        name.to_string()
    }

    /// From now on dropping this leaves all files where they are; [`remove`](Self::remove) alone removes them.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    /// Removes all files now. The names of those that could not be removed stay, to be tried again.
    pub(crate) fn remove(&mut self) -> crate::files::Result<()> {
        if self.names.is_empty() {
            return Ok(());
        }
        while let Some(name) = self.names.first().copied() {
            self.files.remove(&name.to_string())?;
            self.names.remove(&name);
        }
        self.files.sync_names()
    }
}

impl Drop for OwnedFiles {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let names = std::mem::take(&mut self.names);
        for name in &names {
            // What cannot be removed now is removed by the next start's sweep; nobody is left here to tell.
            let _ = self.files.remove(&name.to_string());
        }
    }
}

impl fmt::Debug for OwnedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names.iter().map(ToString::to_string)).finish()
    }
}
