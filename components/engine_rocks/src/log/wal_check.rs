//! Looks through the write-ahead log before RocksDB does, for two kinds of damage that RocksDB does not report.
//!
//! - In the mode that D15 asks for, RocksDB takes a record whose length reaches beyond the file for one that was being
//!   written when the process died, and ends its recovery there. That is right for the last record. But a damaged
//!   length in front of sound records looks the same to it, and synced records would be lost without a word. Here the
//!   two are told apart: nothing sound can follow a record that was never finished.
//! - A record of a kind that only recycled files hold, in a file that is not one, sends RocksDB 11.8 into an endless
//!   loop: it refuses the record and does not move past it. One bad bit in a record's type is enough.
//!
//! Every other damage RocksDB reports itself.
//!
//! The file is a row of blocks of 32 KiB. A block holds records, each behind a header of
//! `checksum: u32 | length: u16 | type: u8`, little-endian; less than a header's room at its end is left empty. The
//! checksum is a masked CRC-32C of the type and what follows.

use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;

use engine::Result;

use super::recover::corruption;
use crate::error::Engine;

const BLOCK_BYTES: u64 = 32 << 10;
const HEADER_BYTES: usize = 7;
/// Records of data: whole, first, middle and last part of one.
const DATA_TYPES: RangeInclusive<u8> = 1..=4;

/// Kinds of record that only recycled files hold; none is ever recycled here (D15).
const RECYCLED_TYPES: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// Checks every file of the write-ahead log in a directory.
///
/// # Errors
/// `Corruption` for damage that RocksDB would not report.
pub(super) fn check(directory: &Path) -> Result<()> {
    let io_error = |error| Engine::Log.file_error("open", directory, error);
    for file in directory.read_dir().map_err(io_error)? {
        let path = file.map_err(io_error)?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            check_file(&path)?;
        }
    }
    Ok(())
}

fn check_file(path: &Path) -> Result<()> {
    let io_error = |error| Engine::Log.file_error("open", path, error);
    let mut file = File::open(path).map_err(io_error)?;
    let length = file.metadata().map_err(io_error)?.len();
    let mut block = Vec::with_capacity(BLOCK_BYTES as usize);
    for start in (0..length).step_by(BLOCK_BYTES as usize) {
        block.clear();
        file.by_ref().take(BLOCK_BYTES).read_to_end(&mut block).map_err(io_error)?;
        if let Some(damage) = damage_of(&block, start + BLOCK_BYTES >= length) {
            return Err(corruption(format!("{}, block at byte {start}: {damage}", path.display())));
        }
    }
    Ok(())
}

/// What is wrong with a block that RocksDB would not report.
fn damage_of(mut block: &[u8], is_last: bool) -> Option<&'static str> {
    while let Some(record) = Record::at(block) {
        if record.is_nothing() {
            // Never written: this is the end, or what a crash left of it.
            return None;
        }
        if RECYCLED_TYPES.contains(&record.record_type) {
            return Some("a record has a type that is not written here");
        }
        let Some(rest) = block.get(record.bytes..) else {
            let follows = || (1..block.len()).any(|place| Record::is_sound_at(&block[place..]));
            return (is_last && follows()).then_some("a record reaches beyond the end, and sound ones follow it");
        };
        block = rest;
    }
    None
}

/// What a header says.
struct Record {
    checksum: u32,
    record_type: u8,
    /// Header and all.
    bytes: usize,
}

impl Record {
    fn at(block: &[u8]) -> Option<Self> {
        let header = block.first_chunk::<HEADER_BYTES>()?;
        let [c0, c1, c2, c3, l0, l1, record_type] = *header;
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        Some(Self { checksum: u32::from_le_bytes([c0, c1, c2, c3]), record_type, bytes: HEADER_BYTES + length })
    }

    fn is_nothing(&self) -> bool {
        self.checksum == 0 && self.record_type == 0 && self.bytes == HEADER_BYTES
    }

    fn is_sound_at(block: &[u8]) -> bool {
        let Some(record) = Self::at(block).filter(|record| DATA_TYPES.contains(&record.record_type)) else {
            return false;
        };
        // The type is the header's last byte.
        block.get(HEADER_BYTES - 1..record.bytes).is_some_and(|body| masked(crc32c(body)) == record.checksum)
    }
}

/// The checksum of data that itself holds checksums is kept in another form than they are.
const fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The CRC-32C (Castagnoli), bit by bit: it is needed for a few records of a damaged file.
fn crc32c(bytes: &[u8]) -> u32 {
    let shift = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| shift(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: &[u8]) -> Vec<u8> {
        let typed = [&[1], body].concat();
        let length = (body.len() as u16).to_le_bytes();
        [&masked(crc32c(&typed)).to_le_bytes()[..], &length, &typed].concat()
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    fn three() -> Vec<u8> {
        [record(b"one"), record(b"two"), record(b"three")].concat()
    }

    #[test]
    fn an_unfinished_end_is_no_damage() {
        let whole = three();
        for length in 0..=whole.len() {
            assert_eq!(damage_of(&whole[..length], true), None, "cut to {length}");
        }
        assert_eq!(damage_of(&[&whole[..], &[0; 100]].concat(), true), None);
    }

    #[test]
    fn a_length_beyond_the_end_in_front_of_sound_records_is() {
        let mut block = three();
        block[5] = 0x40;
        assert!(damage_of(&block, true).is_some());
        let (_, of_last) = block.split_at_mut(20);
        of_last[5] = 0x40;
        assert_eq!(damage_of(&block[20..], true), None, "nothing follows the last one");
    }

    #[test]
    fn a_record_of_a_recycled_file_is() {
        for record_type in RECYCLED_TYPES {
            let mut block = three();
            block[16] = record_type;
            assert!(damage_of(&block, false).is_some(), "type {record_type}");
        }
    }
}
