//! A RocksDB write batch laid by hand.
//!
//! Through the crate's own batch each record is a foreign call, and an entry is copied twice: once to put its parts
//! together, once into the batch. Here entries are encoded straight into the batch's bytes, which RocksDB then takes
//! over whole (it is the form in which it logs and replicates batches, and it checks it when it takes it over).
//! The bytes: `sequence: u64 = 0 | count: u32, little-endian`, then for each record a tag and its fields, each behind
//! its length as a varint.

use rocksdb::WriteBatch;

const HEADER_BYTES: usize = 12;
const DELETION: u8 = 0x0;
const VALUE: u8 = 0x1;
const RANGE_DELETION: u8 = 0xf;

/// Records of the default column family.
#[derive(Debug)]
pub(crate) struct RecordBatch {
    bytes: Vec<u8>,
    count: u32,
}

impl RecordBatch {
    /// An empty batch with room for as many bytes of records.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut batch = Vec::with_capacity(HEADER_BYTES + bytes);
        batch.resize(HEADER_BYTES, 0);
        Self { bytes: batch, count: 0 }
    }

    /// Sets a key.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.put_with(key, value.len(), |bytes| bytes.extend_from_slice(value));
    }

    /// Sets a key to what `write` appends.
    ///
    /// # Panics
    /// When it appends another number of bytes than it said.
    pub(crate) fn put_with(&mut self, key: &[u8], value_len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.begin(VALUE);
        self.field(key);
        self.length(value_len);
        let end = self.bytes.len() + value_len;
        write(&mut self.bytes);
        assert_eq!(self.bytes.len(), end, "a value has the length that was announced");
    }

    /// Removes a key.
    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.begin(DELETION);
        self.field(key);
    }

    /// Removes the keys from `start` (included) to `end` (excluded).
    ///
    /// # Panics
    /// When the range is empty or reversed: RocksDB would fail the whole batch, with all other regions' records.
    pub(crate) fn delete_range(&mut self, start: &[u8], end: &[u8]) {
        assert!(start < end, "a range to delete holds at least one key");
        self.begin(RANGE_DELETION);
        self.field(start);
        self.field(end);
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch as RocksDB takes it.
    pub(crate) fn into_write_batch(mut self) -> WriteBatch {
        self.bytes[8..HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        WriteBatch::from_data(&self.bytes)
    }

    fn begin(&mut self, tag: u8) {
        self.count += 1;
        self.bytes.push(tag);
    }

    fn field(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// A varint: seven bits a byte, the lowest first, the top bit set on all but the last.
    fn length(&mut self, length: usize) {
        let mut rest = u32::try_from(length).expect("RocksDB's fields are shorter than 4 GiB");
        while rest >= 0x80 {
            self.bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_rocksdbs_own_batch() {
        let mut ours = RecordBatch::with_capacity(0);
        let mut theirs = WriteBatch::default();
        for length in [0, 1, 127, 128, 300, 16_383, 16_384, 70_000] {
            let (key, value) = (vec![b'k'; length.max(1)], vec![b'v'; length]);
            ours.put(&key, &value);
            theirs.put(&key, &value);
            ours.delete(&key);
            theirs.delete(&key);
            ours.delete_range(&key, &[&key[..], b"!"].concat());
            theirs.delete_range(&key, &[&key[..], b"!"].concat());
        }
        let ours = ours.into_write_batch();
        assert_eq!(ours.data(), theirs.data());
        assert_eq!(ours.len(), 24);
    }

    #[test]
    #[should_panic(expected = "at least one key")]
    fn an_empty_range_is_never_emitted() {
        RecordBatch::with_capacity(0).delete_range(b"b", b"b");
    }

    #[test]
    #[should_panic(expected = "length that was announced")]
    fn a_value_of_another_length_is_never_emitted() {
        RecordBatch::with_capacity(0).put_with(b"k", 3, |bytes| bytes.push(0));
    }
}
