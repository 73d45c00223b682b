//! Where the playground keeps its data.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::PlaygroundError;

/// A data directory.
pub enum DataDir {
    /// One that stays.
    Kept(PathBuf),
    /// One that goes with this value.
    Temporary(TempDir),
}

impl DataDir {
    /// The directory that was asked for, made where it is missing, or else a temporary one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(asked: Option<&Path>) -> Result<Self, PlaygroundError> {
        let failed = |path: &Path, source| PlaygroundError::DataDir { path: path.display().to_string(), source };
        match asked {
            Some(path) => {
                fs::create_dir_all(path).map_err(|source| failed(path, source))?;
                Ok(Self::Kept(path.to_owned()))
            }
            None => {
                let made = tempfile::Builder::new().prefix("raftyard-").tempdir();
                Ok(Self::Temporary(made.map_err(|source| failed(&std::env::temp_dir(), source))?))
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_temporary_directory_goes() {
        let temporary = DataDir::open(None).unwrap();
        let path = temporary.path().to_owned();
        assert!(path.is_dir());
        drop(temporary);
        assert!(!path.exists());

        let parent = tempfile::tempdir().unwrap();
        let kept = parent.path().join("deep").join("data");
        drop(DataDir::open(Some(&kept)).unwrap());
        assert!(kept.is_dir());
        std::fs::write(parent.path().join("file"), "").unwrap();
        assert!(DataDir::open(Some(&parent.path().join("file").join("data"))).is_err());
    }
}
