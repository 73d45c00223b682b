//! Raw requests that scan. A page has as many pairs as were asked for unless the region ends before: clients take a
//! shorter one for the region's end and go on behind it.

use bytes::Bytes;
use engine::{IterRange, RegionSnapshot, StateIterator};
use observe::metrics::server::RequestType;
use proto::kvrpcpb::{Context, KvPair, RawBatchScanRequest, RawBatchScanResponse, RawScanRequest, RawScanResponse};
use types::limits::{MAX_BATCH_OPERATIONS, MAX_SCAN_PAIRS};
use types::{ColumnFamily, KeyRange, RequestError};

use super::plan::{Found, Plan, RawRequest, ReadError, Target, column_family, invalid};

/// Most bytes of keys and values in one answer. A request that asks for more is refused: cutting it short would lie.
const MAX_ANSWER_BYTES: usize = 64 << 20;

impl RawRequest for RawScanRequest {
    type Response = RawScanResponse;
    const KIND: RequestType = RequestType::RawScan;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    fn plan(self, _: &Target<'_>) -> Result<Plan<RawScanResponse>, RequestError> {
        let pages = Pages::new(&self.cf, self.limit, self.key_only, self.reverse)?;
        let range = directed(self.start_key, self.end_key, self.reverse);
        Ok(Plan::read(pages.limit, move |snapshot, found| {
            let kvs = pages.read(snapshot, [range], found)?;
            Ok(RawScanResponse { kvs, ..RawScanResponse::default() })
        }))
    }
}

impl RawRequest for RawBatchScanRequest {
    type Response = RawBatchScanResponse;
    const KIND: RequestType = RequestType::RawBatchScan;

    fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    /// The pages of all ranges, one behind the other.
    fn plan(self, _: &Target<'_>) -> Result<Plan<RawBatchScanResponse>, RequestError> {
        let pages = Pages::new(&self.cf, self.each_limit, self.key_only, self.reverse)?;
        check_ranges(self.ranges.len())?;
        let keys = self.ranges.len().saturating_mul(pages.limit.max(1));
        Ok(Plan::read(keys, move |snapshot, found| {
            let ranges = self.ranges.into_iter().map(|range| directed(range.start_key, range.end_key, self.reverse));
            let kvs = pages.read(snapshot, ranges, found)?;
            Ok(RawBatchScanResponse { kvs, ..RawBatchScanResponse::default() })
        }))
    }
}

pub(super) fn check_ranges(ranges: usize) -> Result<(), RequestError> {
    if ranges > MAX_BATCH_OPERATIONS {
        return Err(invalid(format!("{ranges} ranges are more than the limit of {MAX_BATCH_OPERATIONS}: split them")));
    }
    Ok(())
}

/// The keys that a scan is about: when it goes backwards, it starts at the upper bound, which is not part of it.
fn directed(start: Bytes, end: Bytes, reverse: bool) -> KeyRange {
    if reverse { KeyRange { start: end, end: start } } else { KeyRange { start, end } }
}

/// How pages are read.
#[derive(Clone, Copy, Debug)]
struct Pages {
    family: ColumnFamily,
    limit: usize,
    key_only: bool,
    reverse: bool,
}

impl Pages {
    fn new(family: &str, limit: u32, key_only: bool, reverse: bool) -> Result<Self, RequestError> {
        if limit > MAX_SCAN_PAIRS {
            return Err(invalid(format!(
                "a scan of {limit} pairs is above the limit of {MAX_SCAN_PAIRS}: ask in pages"
            )));
        }
        Ok(Self { family: column_family(family)?, limit: limit as usize, key_only, reverse })
    }

    /// One page for each range, each up to the limit.
    fn read(
        self,
        snapshot: &RegionSnapshot,
        ranges: impl IntoIterator<Item = KeyRange>,
        found: &mut Found,
    ) -> Result<Vec<KvPair>, ReadError> {
        let (mut pairs, mut room) = (Vec::new(), Room::default());
        for range in ranges {
            self.read_page(snapshot, range, &mut room, &mut pairs)?;
        }
        pairs.iter().for_each(|pair| found.add(&pair.key, pair.value.len()));
        Ok(pairs)
    }

    fn read_page(
        self,
        snapshot: &RegionSnapshot,
        range: KeyRange,
        room: &mut Room,
        pairs: &mut Vec<KvPair>,
    ) -> Result<(), ReadError> {
        let Some(mut iter) =
            iterator(snapshot, self.family, IterRange { key_only: self.key_only, ..IterRange::new(range) })?
        else {
            return Ok(());
        };
        let mut valid = self.limit > 0 && if self.reverse { iter.seek_to_last()? } else { iter.seek_to_first()? };
        let mut left = self.limit;
        while valid {
            room.take(iter.key(), iter.value())?;
            let (key, value) = (Bytes::copy_from_slice(iter.key()), Bytes::copy_from_slice(iter.value()));
            pairs.push(KvPair { key, value, ..KvPair::default() });
            left -= 1;
            valid = left > 0 && if self.reverse { iter.prev()? } else { iter.next()? };
        }
        Ok(())
    }
}

/// An iterator over the region's part of a range; `None` when it has none.
pub(super) fn iterator(
    snapshot: &RegionSnapshot,
    family: ColumnFamily,
    wanted: IterRange,
) -> Result<Option<Box<dyn StateIterator + '_>>, ReadError> {
    let range = wanted.range.intersect(&snapshot.user_range(family));
    if range.is_empty() {
        return Ok(None);
    }
    Ok(Some(snapshot.data.iter(family.into(), IterRange { range, ..wanted })?))
}

/// What is left of the bytes that one answer may hold.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(MAX_ANSWER_BYTES)
    }
}

impl Room {
    /// Takes the room of a pair.
    ///
    /// # Errors
    /// `Invalid` when there is none.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), RequestError> {
        let left = self.0.checked_sub(key.len() + value.len());
        self.0 = left.ok_or_else(|| {
            invalid(format!("the answer would be larger than {MAX_ANSWER_BYTES} bytes: ask for fewer pairs"))
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backward_scan_starts_at_its_upper_bound() {
        let (low, high) = (Bytes::from_static(b"a"), Bytes::from_static(b"m"));
        assert_eq!(directed(low.clone(), high.clone(), false), KeyRange::new("a", "m"));
        assert_eq!(directed(high, low, true), KeyRange::new("a", "m"));
        assert_eq!(directed(Bytes::new(), Bytes::new(), true), KeyRange::all());
    }

    #[test]
    fn an_answer_has_room_for_so_much_and_no_more() {
        let mut room = Room(10);
        assert_eq!(room.take(b"key", b"value"), Ok(()));
        assert_eq!(room.take(b"a", b"b"), Ok(()));
        assert!(matches!(room.take(b"", b"c"), Err(RequestError::Invalid { .. })));
    }
}
