//! Small files beside the engines.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a file in `dir`, which is made if it is not there; durable when it returns, whole or not at all.
pub(super) fn replace(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fail_point!("file-written");
    fs::rename(&temporary, path)?;
    fail_point!("file-renamed");
    File::open(dir)?.sync_all()
}
