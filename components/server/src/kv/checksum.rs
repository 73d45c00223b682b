//! Checksums of ranges: the exclusive or of the CRC-64 of every pair, so that the order of pairs does not matter.

use bytes::Bytes;
use engine::{IterRange, RegionSnapshot};
use observe::metrics::server::RequestType;
use proto::kvrpcpb::{ChecksumAlgorithm, Context, RawChecksumRequest, RawChecksumResponse};
use types::{ColumnFamily, KeyRange, RequestError};

use super::plan::{Found, Plan, RawRequest, ReadError, Target, invalid};
use super::scan::{check_ranges, iterator};

impl RawRequest for RawChecksumRequest {
    type Response = RawChecksumResponse;
    const KIND: RequestType = RequestType::RawChecksum;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    fn plan(self, _: &Target<'_>) -> Result<Plan<RawChecksumResponse>, RequestError> {
        if ChecksumAlgorithm::try_from(self.algorithm) != Ok(ChecksumAlgorithm::Crc64Xor) {
            return Err(invalid(format!("checksum algorithm {} is unknown: use Crc64_Xor (0)", self.algorithm)));
        }
        check_ranges(self.ranges.len())?;
        Ok(Plan::Long(Box::new(move |snapshot, found| {
            let mut sum = RawChecksumResponse::default();
            for range in self.ranges {
                add_range(snapshot, KeyRange::new(range.start_key, range.end_key), &mut sum, found)?;
            }
            Ok(sum)
        })))
    }
}

fn add_range(
    snapshot: &RegionSnapshot,
    range: KeyRange,
    sum: &mut RawChecksumResponse,
    found: &mut Found,
) -> Result<(), ReadError> {
    let wanted = IterRange { skip_cache: true, ..IterRange::new(range) };
    let Some(mut iter) = iterator(snapshot, ColumnFamily::Default, wanted)? else {
        return Ok(());
    };
    let mut valid = iter.seek_to_first()?;
    while valid {
        found.add(&Bytes::copy_from_slice(iter.key()), iter.value().len());
        sum.checksum ^= Crc64::new().add(iter.key()).add(iter.value()).finish();
        sum.total_kvs += 1;
        sum.total_bytes += (iter.key().len() + iter.value().len()) as u64;
        valid = iter.next()?;
    }
    Ok(())
}

/// CRC-64/XZ: the polynomial of ECMA-182, bits reflected, begun and ended with all ones.
#[derive(Clone, Copy, Debug)]
struct Crc64(u64);

const REFLECTED_POLYNOMIAL: u64 = 0xC96C_5795_D787_0F42;

/// `TABLES[n][b]` is the remainder of byte `b` with `n` zero bytes behind it, so that eight bytes are taken at a time.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            remainder = (remainder >> 1) ^ (REFLECTED_POLYNOMIAL * (remainder & 1));
            bit += 1;
        }
        tables[0][byte] = remainder;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < 8 {
        let mut byte = 0;
        while byte < 256 {
            let shorter = tables[zeros - 1][byte];
            tables[zeros][byte] = (shorter >> 8) ^ tables[0][(shorter & 0xFF) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

impl Crc64 {
    const fn new() -> Self {
        Self(!0)
    }

    /// Goes on with more bytes.
    fn add(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        let by_words = words.iter().fold(self.0, |state, word| {
            let mixed = (state ^ u64::from_le_bytes(*word)).to_le_bytes();
            mixed.iter().zip(TABLES.iter().rev()).fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)])
        });
        Self(rest.iter().fold(by_words, |state, byte| TABLES[0][usize::from(state as u8 ^ byte)] ^ (state >> 8)))
    }

    const fn finish(self) -> u64 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit, as the definition goes.
    fn slow(bytes: &[u8]) -> u64 {
        let step = |state: u64, _| (state >> 1) ^ if state & 1 == 1 { REFLECTED_POLYNOMIAL } else { 0 };
        !bytes.iter().fold(!0, |state: u64, byte| (0..8).fold(state ^ u64::from(*byte), step))
    }

    #[test]
    fn the_catalogue_s_check_value() {
        assert_eq!(Crc64::new().add(b"123456789").finish(), 0x995D_C9BB_DF19_39FA);
        assert_eq!(Crc64::new().finish(), 0);
    }

    #[test]
    fn words_and_bytes_agree_with_the_definition() {
        let bytes: Vec<u8> = (0..100_u32).map(|at| (at * at + 7) as u8).collect();
        for length in 0..bytes.len() {
            let (left, right) = bytes[..length].split_at(length / 3);
            assert_eq!(Crc64::new().add(left).add(right).finish(), slow(&bytes[..length]), "{length} bytes");
        }
    }
}
