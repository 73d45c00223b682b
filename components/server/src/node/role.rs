//! What a data directory is for. Stores and coordinators keep the same engines in it, so that nothing else would tell
//! them apart: a coordinator in a store's directory would write its records over the users' keys.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::replace;

const NAME: &str = "ROLE";

/// What a data directory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// A store of a cluster.
    Store,
    /// A coordinator.
    Coordinator,
}

impl NodeRole {
    const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Coordinator => "coordinator",
        }
    }
}

/// Why a data directory cannot be used for this.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// It is for something else.
    #[error("{data_dir} holds the data of a {found}, not of a {wanted}: choose another data directory")]
    Other {
        /// The data directory.
        data_dir: String,
        /// What it is for.
        found: String,
        /// What it was to be used for.
        wanted: &'static str,
    },
    /// Data is there, and nothing says whose.
    #[error(
        "{data_dir} holds data that neither a store nor a coordinator of this program made: choose another data \
         directory, or restore its {NAME} file"
    )]
    Nobodys {
        /// The data directory.
        data_dir: String,
    },
    /// The file that says so cannot be read or written.
    #[error("{}: {source}; check the data directory", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Takes a data directory for `wanted`, durably, unless it is for something else. `is_made` says whether its engines
/// hold an identity. Call it while the engines are open: their locks keep others away in the meantime.
///
/// # Errors
/// See [`RoleError`].
pub fn claim(data_dir: &Path, wanted: NodeRole, is_made: bool) -> Result<(), RoleError> {
    let path = data_dir.join(NAME);
    let shown = || data_dir.display().to_string();
    let line = format!("{}\n", wanted.name());
    match fs::read(&path) {
        Ok(found) if found == line.as_bytes() => Ok(()),
        Ok(found) => {
            let found = String::from_utf8_lossy(&found).trim().to_owned();
            Err(RoleError::Other { data_dir: shown(), found, wanted: wanted.name() })
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RoleError::Io { path, source: error }),
        Err(_) if is_made => Err(RoleError::Nobodys { data_dir: shown() }),
        Err(_) => replace(data_dir, &path, line.as_bytes()).map_err(|source| RoleError::Io { path, source }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_is_for_who_took_it_first() {
        let dir = tempfile::tempdir().unwrap();
        claim(dir.path(), NodeRole::Store, false).unwrap();
        claim(dir.path(), NodeRole::Store, false).unwrap();
        claim(dir.path(), NodeRole::Store, true).unwrap();
        for is_made in [false, true] {
            let refused = claim(dir.path(), NodeRole::Coordinator, is_made).unwrap_err();
            assert!(refused.to_string().contains("data of a store, not of a coordinator"), "{refused}");
        }
    }

    #[test]
    fn data_of_nobody_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let refused = claim(dir.path(), NodeRole::Coordinator, true).unwrap_err();
        assert!(matches!(refused, RoleError::Nobodys { .. }), "{refused}");
        assert!(!dir.path().join(NAME).exists());
    }
}
