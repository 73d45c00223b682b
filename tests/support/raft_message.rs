//! Messages of the raft crate, written by hand: also those that it would never write itself.

/// Kinds of messages, by the raft crate's numbers.
pub mod kind {
    pub const HUP: u64 = 0;
    pub const BEAT: u64 = 1;
    pub const PROPOSE: u64 = 2;
    pub const APPEND: u64 = 3;
    pub const APPEND_RESPONSE: u64 = 4;
    pub const SNAPSHOT: u64 = 7;
    pub const HEARTBEAT: u64 = 8;
    pub const UNREACHABLE: u64 = 10;
    pub const SNAP_STATUS: u64 = 11;
    pub const CHECK_QUORUM: u64 = 12;
    pub const READ_INDEX_RESPONSE: u64 = 16;
}

/// A protobuf message that grows field by field.
#[derive(Clone, Debug, Default)]
pub struct Fields(pub Vec<u8>);

impl Fields {
    /// A number, after what is there.
    #[must_use]
    pub fn number(self, field: u64, value: u64) -> Self {
        self.varint(field << 3).varint(value)
    }

    /// Bytes, text or a message within, after what is there.
    #[must_use]
    pub fn bytes(self, field: u64, value: &[u8]) -> Self {
        let mut fields = self.varint(field << 3 | 2).varint(value.len() as u64);
        fields.0.extend_from_slice(value);
        fields
    }

    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }
}

/// The beginning that every message has.
pub fn message(kind: u64, (from, to): (u64, u64), term: u64) -> Fields {
    Fields::default().number(1, kind).number(2, to).number(3, from).number(4, term)
}

/// An entry.
pub fn entry(term: u64, index: u64, data: &[u8]) -> Vec<u8> {
    Fields::default().number(2, term).number(3, index).bytes(4, data).0
}

/// Groups within groups of a field that nobody knows, closed again or not.
pub fn nested_groups(depth: usize, closed: bool) -> Vec<u8> {
    let (open, close) = ([0x9B, 0x06], [0x9C, 0x06]);
    let mut bytes = open.repeat(depth);
    if closed {
        bytes.extend(close.repeat(depth));
    }
    bytes
}
