//! Who a store will be, written down before anyone else learns of it.
//!
//! A fresh store is given its id by the coordinator, registers, and is handed its first regions. A crash in between must
//! not make it another store: the layout was made for this id and this instance (D14). The file is only read until the
//! log engine holds the ident.
//!
//! Beside it stands, for a while, the region that the store would give a cluster that has none: see `founding`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use engine::{StoreIdent, meta};
use types::RegionDescriptor;
use types::codec::DecodeError;

use super::files::replace;

const NAME: &str = "JOINING";

/// The descriptor record of a first region.
const FIRST_REGION: &str = "FOUNDING";

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
        source: DecodeError,
    },
}

/// Who the store in this directory set out to be, if it began to join.
///
/// # Errors
/// See [`IntentError`].
pub fn read(data_dir: &Path) -> Result<Option<StoreIdent>, IntentError> {
    read_record(data_dir.join(NAME), StoreIdent::decode)
}

/// Writes down who the store will be; durable when it returns, whole or not at all.
///
/// # Errors
/// See [`IntentError`].
pub fn write(data_dir: &Path, ident: StoreIdent) -> Result<(), IntentError> {
    write_record(data_dir, NAME, &ident.encode())
}

/// Forgets it, once the store is made and everybody knows.
///
/// # Errors
/// See [`IntentError`].
pub fn remove(data_dir: &Path) -> Result<(), IntentError> {
    remove_first(data_dir)?;
    let path = data_dir.join(NAME);
    fs::remove_file(&path).map_err(|source| IntentError::Io { path, source })
}

/// The region that the store in this directory set out to give its cluster, if it did.
///
/// # Errors
/// See [`IntentError`].
pub fn read_first(data_dir: &Path) -> Result<Option<RegionDescriptor>, IntentError> {
    read_record(data_dir.join(FIRST_REGION), meta::decode_descriptor)
}

/// Writes down which region the store will give its cluster; durable when it returns, whole or not at all.
///
/// # Errors
/// See [`IntentError`].
pub fn write_first(data_dir: &Path, region: &RegionDescriptor) -> Result<(), IntentError> {
    write_record(data_dir, FIRST_REGION, &meta::encode_descriptor(region))
}

/// Forgets it: the cluster has another one, or the store holds it.
///
/// # Errors
/// See [`IntentError`].
pub fn remove_first(data_dir: &Path) -> Result<(), IntentError> {
    let path = data_dir.join(FIRST_REGION);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(IntentError::Io { path, source }),
        _ => Ok(()),
    }
}

fn read_record<T>(
    path: PathBuf,
    decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
) -> Result<Option<T>, IntentError> {
    match fs::read(&path) {
        Ok(bytes) => decode(&bytes).map(Some).map_err(|source| IntentError::Damaged { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IntentError::Io { path, source }),
    }
}

fn write_record(data_dir: &Path, name: &str, record: &[u8]) -> Result<(), IntentError> {
    let path = data_dir.join(name);
    replace(data_dir, &path, record).map_err(|source| IntentError::Io { path, source })
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
    fn a_first_region_is_forgotten_with_the_intent_at_the_latest() {
        let dir = tempfile::tempdir().unwrap();
        let region = RegionDescriptor { id: 2.into(), ..RegionDescriptor::default() };
        remove_first(dir.path()).unwrap();
        write(dir.path(), StoreIdent { cluster: 1.into(), store: 2.into(), instance: 3.into() }).unwrap();
        write_first(dir.path(), &region).unwrap();
        assert_eq!(read_first(dir.path()).unwrap(), Some(region));
        remove(dir.path()).unwrap();
        assert_eq!((read(dir.path()).unwrap(), read_first(dir.path()).unwrap()), (None, None));
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
