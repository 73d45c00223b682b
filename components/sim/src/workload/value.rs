//! Values that name their write, and show damage.

use bytes::{BufMut, Bytes, BytesMut};
use types::seed::Seed;

use crate::history::RegisterKind;

/// The most bytes that follow a value's number.
const MAX_PADDING: usize = 48 << 10;

/// Makes values: each is a number, followed by as many bytes of a pattern as belong to that number.
#[derive(Debug)]
pub struct Values {
    last: u64,
    large_one_in: u64,
    pattern: Bytes,
}

impl Values {
    /// One value in `large_one_in` is large.
    pub fn new(large_one_in: u64) -> Self {
        let pattern = (0..2 * MAX_PADDING as u64).map(|place| Seed(1).below(256, &[place]) as u8).collect();
        Self { last: 0, large_one_in, pattern }
    }

    /// A number that no other value of the run has.
    pub fn unique(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A register's value as it is stored.
    pub fn encode(&self, kind: RegisterKind, value: u64) -> Bytes {
        let padding = self.padding(kind, value);
        let mut bytes = BytesMut::with_capacity(24 + padding.len());
        bytes.put_slice(format!("{value}.").as_bytes());
        bytes.put_slice(padding);
        bytes.freeze()
    }

    /// The number of what was read.
    ///
    /// # Errors
    /// When no register of this kind can have that value.
    pub fn decode(&self, kind: RegisterKind, stored: &[u8]) -> Result<u64, String> {
        let point = stored.iter().take(24).position(|byte| *byte == b'.');
        let number = point.and_then(|point| std::str::from_utf8(&stored[..point]).ok()?.parse().ok());
        let (Some(point), Some(number)) = (point, number) else {
            let start = stored[..stored.len().min(40)].escape_ascii();
            return Err(format!("a value of {} bytes has no number: {start}", stored.len()));
        };
        let (padding, expected) = (&stored[point + 1..], self.padding(kind, number));
        if padding != expected {
            let (have, want) = (padding.len(), expected.len());
            return Err(format!("value {number} is damaged: {have} bytes follow its number, and {want} others should"));
        }
        Ok(number)
    }

    fn padding(&self, kind: RegisterKind, value: u64) -> &[u8] {
        let draw = |bound: u64, what| Seed(value).below(bound, &[what]) as usize;
        let length = match kind {
            RegisterKind::Counter => 0,
            RegisterKind::Group => draw(64, 0),
            _ if draw(self.large_one_in, 1) == 0 => MAX_PADDING / 8 + draw(MAX_PADDING as u64 * 7 / 8, 2),
            _ => draw(300, 3),
        };
        let start = draw(MAX_PADDING as u64, 4);
        &self.pattern[start..start + length]
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_damage_is_noticed() {
        let mut values = Values::new(4);
        let mut largest = 0;
        for _ in 0..200 {
            let value = values.unique();
            for kind in [RegisterKind::Plain, RegisterKind::Group, RegisterKind::Counter] {
                let stored = values.encode(kind, value);
                largest = largest.max(stored.len());
                assert_eq!(values.decode(kind, &stored).unwrap(), value);
                values.decode(kind, &stored[..stored.len() - 1]).unwrap_err();
                let mut damaged = stored.to_vec();
                *damaged.last_mut().unwrap() ^= 1;
                values.decode(kind, &damaged).unwrap_err();
            }
        }
        assert!(largest > 10_000);
        values.decode(RegisterKind::Counter, b"7.x").unwrap_err();
    }
}
