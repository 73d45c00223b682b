//! Who a store will be, written down before anyone else learns of it.
//!
//! A fresh store is given its id by the coordinator, registers, and is handed its first regions. A crash in between must
//! not make it another store: the layout was made for this id and this instance (D14). The file is only read until the
//! log engine holds the ident.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use engine::StoreIdent;

use super::files::replace;

const NAME: &str = "JOINING";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    /// It cannot be read or written.
    #[error("{}: {source}; check the data directory", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is damaged.
    #[error("{}: {source}; no store has been made here yet: empty the data directory and start again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: types::codec::DecodeError,
    },
}

/// Who the store in this directory set out to be, if it began to join.
///
/// # Errors
/// See [`IntentError`].
pub fn read(data_dir: &Path) -> Result<Option<StoreIdent>, IntentError> {
    let path = data_dir.join(NAME);
    match fs::read(&path) {
        Ok(bytes) => StoreIdent::decode(&bytes).map(Some).map_err(|source| IntentError::Damaged { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IntentError::Io { path, source }),
    }
}

/// Writes down who the store will be; durable when it returns, whole or not at all.
///
/// # Errors
/// See [`IntentError`].
pub fn write(data_dir: &Path, ident: StoreIdent) -> Result<(), IntentError> {
    let path = data_dir.join(NAME);
    let result = replace(data_dir, &path, &ident.encode());
    result.map_err(|source| IntentError::Io { path, source })
}

/// Forgets it, once the store is made and everybody knows.
///
/// # Errors
/// See [`IntentError`].
pub fn remove(data_dir: &Path) -> Result<(), IntentError> {
    let path = data_dir.join(NAME);
    fs::remove_file(&path).map_err(|source| IntentError::Io { path, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("deep").join("store");
        assert_eq!(read(&data_dir).unwrap(), None);
        let ident = StoreIdent { cluster: 1.into(), store: 2.into(), instance: 3.into() };
        write(&data_dir, ident).unwrap();
        assert_eq!(read(&data_dir).unwrap(), Some(ident));
        remove(&data_dir).unwrap();
        assert_eq!(read(&data_dir).unwrap(), None);
    }

    #[test]
    fn damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), StoreIdent { cluster: 1.into(), store: 2.into(), instance: 3.into() }).unwrap();
        let mut bytes = fs::read(dir.path().join(NAME)).unwrap();
        bytes[5] ^= 1;
        fs::write(dir.path().join(NAME), bytes).unwrap();
        assert!(matches!(read(dir.path()), Err(IntentError::Damaged { .. })));
    }
}
