//! An entry's value: `version: u8 | type: u8 | term: u64 | length of the context: u32 | context | data`.
//!
//! Laid by hand, because it is the most frequent record of all and protobuf costs more than the copy. It carries no
//! checksum: RocksDB's own cover every byte of its write-ahead log and of its blocks.

use bytes::Bytes;
use engine::{EngineError, Entry, Result};
use raft_proto::eraftpb::EntryType;
use types::codec::Reader;
use types::{LogIndex, Term};

use crate::error::Engine;

const VERSION: u8 = 1;
const RECORD: &str = "entry";
/// Everything in front of the context.
const HEAD_BYTES: usize = 14;

/// How long an entry's value is.
pub(crate) fn encoded_len(entry: &Entry) -> usize {
    HEAD_BYTES + entry.context.len() + entry.data.len()
}

/// Appends an entry's value.
///
/// # Panics
/// When the context has 4 GiB or more.
pub(crate) fn encode(entry: &Entry, into: &mut Vec<u8>) {
    let context_len = u32::try_from(entry.context.len()).expect("an entry's context is shorter than 4 GiB");
    into.extend_from_slice(&[VERSION, type_number(entry.get_entry_type())]);
    into.extend_from_slice(&entry.term.to_be_bytes());
    into.extend_from_slice(&context_len.to_be_bytes());
    into.extend_from_slice(&entry.context);
    into.extend_from_slice(&entry.data);
}

/// Reads an entry's value; one allocation serves context and data.
pub(crate) fn decode(index: LogIndex, value: &[u8]) -> Result<Entry> {
    let head = read_head(value)?;
    let payload = Bytes::copy_from_slice(&value[HEAD_BYTES..]);
    Ok(Entry {
        entry_type: head.entry_type,
        term: head.term.0,
        index: index.0,
        context: payload.slice(..head.context_len),
        data: payload.slice(head.context_len..),
        ..Entry::default()
    })
}

/// Reads an entry's term and nothing else.
pub(crate) fn decode_term(value: &[u8]) -> Result<Term> {
    Ok(read_head(value)?.term)
}

struct Head {
    entry_type: EntryType,
    term: Term,
    context_len: usize,
}

fn read_head(value: &[u8]) -> Result<Head> {
    (|| {
        let mut reader = Reader::raw(RECORD, value);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(types::codec::DecodeError::Version { record: RECORD, version, supported: VERSION });
        }
        let number = reader.u8()?;
        let entry_type = type_of(number).ok_or_else(|| reader.impossible("type", number.into()))?;
        let head = Head { entry_type, term: Term(reader.u64()?), context_len: reader.u32()? as usize };
        if reader.rest().len() < head.context_len {
            return Err(reader.impossible("context length", head.context_len as u64));
        }
        Ok(head)
    })()
    .map_err(|source| EngineError::Record { engine: Engine::Log.name(), source })
}

const fn type_number(entry_type: EntryType) -> u8 {
    match entry_type {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    }
}

const fn type_of(number: u8) -> Option<EntryType> {
    match number {
        0 => Some(EntryType::EntryNormal),
        1 => Some(EntryType::EntryConfChange),
        2 => Some(EntryType::EntryConfChangeV2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sample() -> Entry {
        Entry {
            entry_type: EntryType::EntryConfChangeV2,
            term: 0x0304,
            index: 9,
            context: Bytes::from_static(b"co"),
            data: Bytes::from_static(b"data"),
            ..Entry::default()
        }
    }

    fn encoded(entry: &Entry) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(entry, &mut bytes);
        bytes
    }

    #[test]
    fn version_1_keeps_its_bytes() {
        let bytes = encoded(&sample());
        assert_eq!(bytes, b"\x01\x02\0\0\0\0\0\0\x03\x04\0\0\0\x02codata");
        assert_eq!(bytes.len(), encoded_len(&sample()));
    }

    #[test]
    fn every_type_reads_back() {
        for entry_type in [EntryType::EntryNormal, EntryType::EntryConfChange, EntryType::EntryConfChangeV2] {
            let mut entry = sample();
            entry.set_entry_type(entry_type);
            let bytes = encoded(&entry);
            assert_eq!(decode(LogIndex(9), &bytes).unwrap(), entry);
            assert_eq!(decode_term(&bytes).unwrap(), Term(0x0304));
        }
    }

    #[test]
    fn impossible_bytes_are_refused() {
        let good = encoded(&sample());
        for length in 0..HEAD_BYTES + 2 {
            assert!(decode(LogIndex(9), &good[..length]).is_err(), "cut to {length}");
        }
        for (place, byte) in [(0, 2), (1, 3), (13, 200)] {
            let mut bad = good.clone();
            bad[place] = byte;
            assert!(decode(LogIndex(9), &bad).is_err(), "byte {place} set to {byte}");
        }
    }
}
