//! Files that are written to be ingested.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{EngineError, Result, SstWriter};
use rocksdb::{Options, SstFileWriter};

use crate::error::Engine;
use crate::format::sync_directory;

/// One file being written.
pub(super) struct RocksSstWriter {
    /// Borrows from `_options`, whatever its lifetime says. Declared first, so that it is dropped first.
    writer: SstFileWriter<'static>,
    _options: Arc<Options>,
    path: PathBuf,
}

impl RocksSstWriter {
    pub(super) fn create(options: Arc<Options>, path: &Path) -> Result<Self> {
        let writer = SstFileWriter::create(&options);
        writer.open(path).map_err(write_error)?;
        // SAFETY: the writer borrows the options inside the `Arc`, whose address does not change. The handle stored
        // beside it keeps them alive for as long as this struct lives, and fields are dropped in the order of their
        // declaration: the writer goes first. Nothing hands the `'static` lifetime out.
        let writer = unsafe { std::mem::transmute::<SstFileWriter<'_>, SstFileWriter<'static>>(writer) };
        Ok(Self { writer, _options: options, path: path.to_owned() })
    }
}

impl SstWriter for RocksSstWriter {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.writer.put(key, value).map_err(write_error)
    }

    /// RocksDB syncs the file; its name in the directory is ours to sync.
    fn finish(mut self: Box<Self>) -> Result<u64> {
        self.writer.finish().map_err(write_error)?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_directory(directory).map_err(|error| Engine::State.file_error("write file", directory, error))?;
        Ok(self.writer.file_size())
    }
}

fn write_error(error: rocksdb::Error) -> EngineError {
    Engine::State.error("write file", error)
}
