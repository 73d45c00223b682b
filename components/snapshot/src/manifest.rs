//! What a snapshot consists of.

use bytes::Bytes;
use types::codec::{DecodeError, Reader, Writer};
use types::range::HexKey;
use types::{ColumnFamily, ErrorCode, KeyRange, LogIndex, RegionDescriptor, Term};

/// The version of the manifest's record.
pub const MANIFEST_FORMAT_VERSION: u8 = 1;

/// Largest manifest, in bytes: what one message between stores carries without trouble. [`MAX_INLINE_BYTES`] and the
/// number of files of any sane region lie far below.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// Most bytes of keys and values that travel inside a manifest.
pub const MAX_INLINE_BYTES: usize = 1 << 20;

const RECORD: &str = "snapshot manifest";
const INLINE: u8 = 1;
const FILES: u8 = 2;

/// A key and its value inside a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlinePair {
    /// Where it belongs.
    pub family: ColumnFamily,
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

/// One sorted file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Where its keys belong.
    pub family: ColumnFamily,
    /// Its size in bytes. Never zero.
    pub bytes: u64,
    /// XXH3 (64 bits, no seed) of all its bytes.
    pub checksum: u64,
    /// Its first key.
    pub first: Bytes,
    /// Its last key.
    pub last: Bytes,
    /// How many keys it holds. Never zero.
    pub keys: u64,
}

/// Where a snapshot's data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// In the manifest: an empty or tiny region. Ascending by column family and key.
    Inline(Vec<InlinePair>),
    /// In files. Ascending by column family and key, without overlaps.
    Files(Vec<FileEntry>),
}

/// What a snapshot consists of: `docs/format.md` shows the record byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The region as it was.
    pub region: RegionDescriptor,
    /// The newest applied index that the snapshot holds. The receiver's log begins behind it.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// The data.
    pub content: Content,
}

/// A manifest says what cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is too long.
    #[error("manifest has {bytes} bytes, at most {MAX_MANIFEST_BYTES} are taken: build it with larger files")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It does not read.
    #[error(transparent)]
    Record(#[from] DecodeError),
    /// An id, index, term or range that no region has.
    #[error("manifest has an impossible {field}")]
    Impossible {
        /// Which field.
        field: &'static str,
    },
    /// A file's fields contradict each other.
    #[error("manifest: file {place} has an impossible {field}")]
    File {
        /// The file's place.
        place: usize,
        /// Which field.
        field: &'static str,
    },
    /// A key or file is not above the one before it.
    #[error("manifest: key {key} of {family} is not above the one before it")]
    Order {
        /// Its column family.
        family: ColumnFamily,
        /// The key, in hex.
        key: String,
    },
    /// A key is not the region's.
    #[error("manifest: key {key} of {family} is outside of the region's range {range}")]
    Outside {
        /// Its column family.
        family: ColumnFamily,
        /// The key, in hex.
        key: String,
        /// The region's range.
        range: KeyRange,
    },
}

impl ManifestError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::TooLong { .. } => "RY-SNAPSHOT-011",
            Self::Record(_) => "RY-SNAPSHOT-012",
            Self::Impossible { .. } => "RY-SNAPSHOT-013",
            Self::File { .. } => "RY-SNAPSHOT-014",
            Self::Order { .. } => "RY-SNAPSHOT-015",
            Self::Outside { .. } => "RY-SNAPSHOT-016",
        })
    }
}

impl Manifest {
    /// The sorted files; none when the data is in the manifest itself.
    pub fn files(&self) -> &[FileEntry] {
        match &self.content {
            Content::Inline(_) => &[],
            Content::Files(files) => files,
        }
    }

    /// The data that the manifest itself holds; none when it is in files.
    pub fn inline(&self) -> &[InlinePair] {
        match &self.content {
            Content::Inline(pairs) => pairs,
            Content::Files(_) => &[],
        }
    }

    /// Bytes of all files.
    pub fn file_bytes(&self) -> u64 {
        self.files().iter().map(|file| file.bytes).sum()
    }

    /// The record: version, descriptor, index, term, kind of content, number of files or pairs, these, checksum.
    pub fn encode(&self) -> Bytes {
        let head = Writer::record(MANIFEST_FORMAT_VERSION).descriptor(&self.region).u64(self.index.0).u64(self.term.0);
        let whole = match &self.content {
            Content::Inline(pairs) => pairs.iter().fold(head.u8(INLINE).u32(pairs.len() as u32), write_pair),
            Content::Files(files) => files.iter().fold(head.u8(FILES).u32(files.len() as u32), write_file),
        };
        whole.seal(crc32fast::hash).into()
    }

    /// Reads what [`encode`](Self::encode) wrote, and checks that it makes sense: nothing that a stranger puts into a
    /// manifest gets past this without being a region's ordered, own keys.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLong { bytes: bytes.len() });
        }
        let (_, mut reader) = Reader::open(RECORD, MANIFEST_FORMAT_VERSION, bytes, crc32fast::hash)?;
        let region = reader.descriptor()?;
        let (index, term) = (reader.u64()?.into(), reader.u64()?.into());
        let (kind, count) = (reader.u8()?, reader.u32()?);
        let content = match kind {
            INLINE => Content::Inline(read_many(count, || read_pair(&mut reader))?),
            FILES => Content::Files(read_many(count, || read_file(&mut reader))?),
            other => return Err(reader.impossible("content", other.into()).into()),
        };
        reader.finish()?;
        let manifest = Self { region, index, term, content };
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let fields = [
            ("region", self.region.id.0 == 0),
            ("range", self.region.range.is_empty()),
            ("list of members", !self.region.has_sound_members()),
            ("index", self.index.0 == 0),
            ("term", self.term.0 == 0),
        ];
        if let Some((field, _)) = fields.into_iter().find(|(_, wrong)| *wrong) {
            return Err(ManifestError::Impossible { field });
        }
        match &self.content {
            Content::Inline(pairs) => self.check_pairs(pairs),
            Content::Files(files) => self.check_files(files),
        }
    }

    fn check_pairs(&self, pairs: &[InlinePair]) -> Result<(), ManifestError> {
        let bytes: usize = pairs.iter().map(|pair| pair.key.len() + pair.value.len()).sum();
        if bytes > MAX_INLINE_BYTES {
            return Err(ManifestError::Impossible { field: "amount of inline data" });
        }
        let mut before: Option<&InlinePair> = None;
        for pair in pairs {
            self.check_key(pair.family, &pair.key)?;
            if before.is_some_and(|before| (before.family, &before.key) >= (pair.family, &pair.key)) {
                return Err(unordered(pair.family, &pair.key));
            }
            before = Some(pair);
        }
        Ok(())
    }

    fn check_files(&self, files: &[FileEntry]) -> Result<(), ManifestError> {
        if files.is_empty() {
            return Err(ManifestError::Impossible { field: "number of files" });
        }
        let mut total = 0_u64;
        let mut before: Option<&FileEntry> = None;
        for (place, file) in files.iter().enumerate() {
            let wrong = |field| Err(ManifestError::File { place, field });
            let Some(sum) = total.checked_add(file.bytes).filter(|_| file.bytes > 0) else { return wrong("size") };
            total = sum;
            if file.keys == 0 || (file.keys == 1) != (file.first == file.last) {
                return wrong("number of keys");
            }
            if file.first > file.last {
                return wrong("key range");
            }
            self.check_key(file.family, &file.first)?;
            self.check_key(file.family, &file.last)?;
            if before.is_some_and(|before| (before.family, &before.last) >= (file.family, &file.first)) {
                return Err(unordered(file.family, &file.first));
            }
            before = Some(file);
        }
        Ok(())
    }

    fn check_key(&self, family: ColumnFamily, key: &[u8]) -> Result<(), ManifestError> {
        if self.region.range.contains(key) {
            return Ok(());
        }
        Err(ManifestError::Outside { family, key: HexKey(key).to_string(), range: self.region.range.clone() })
    }
}

fn unordered(family: ColumnFamily, key: &[u8]) -> ManifestError {
    ManifestError::Order { family, key: HexKey(key).to_string() }
}

fn write_pair(record: Writer, pair: &InlinePair) -> Writer {
    record.u8(pair.family as u8).bytes(&pair.key).bytes(&pair.value)
}

fn write_file(record: Writer, file: &FileEntry) -> Writer {
    let record = record.u8(file.family as u8).u64(file.bytes).u64(file.checksum);
    record.bytes(&file.first).bytes(&file.last).u64(file.keys)
}

/// Reads as many as there are said to be, and takes memory for those that are really there only.
fn read_many<T>(count: u32, mut read: impl FnMut() -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(read()?);
    }
    Ok(all)
}

fn read_family(reader: &mut Reader<'_>) -> Result<ColumnFamily, DecodeError> {
    let number = reader.u8()?.into();
    ColumnFamily::from_number(number).ok_or_else(|| reader.impossible("column family", number.into()))
}

fn read_pair(reader: &mut Reader<'_>) -> Result<InlinePair, DecodeError> {
    Ok(InlinePair { family: read_family(reader)?, key: read_bytes(reader)?, value: read_bytes(reader)? })
}

fn read_file(reader: &mut Reader<'_>) -> Result<FileEntry, DecodeError> {
    Ok(FileEntry {
        family: read_family(reader)?,
        bytes: reader.u64()?,
        checksum: reader.u64()?,
        first: read_bytes(reader)?,
        last: read_bytes(reader)?,
        keys: reader.u64()?,
    })
}

fn read_bytes(reader: &mut Reader<'_>) -> Result<Bytes, DecodeError> {
    reader.bytes().map(Bytes::copy_from_slice)
}
