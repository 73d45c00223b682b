//! Calls over ranges: served region by region.

use bytes::Bytes;
use proto::kvrpcpb;
use types::KeyRange;

use crate::raw::client::RawClient;
use crate::raw::error::ClientError;
use crate::raw::region_cache::{Route, Seek};

/// How a range is scanned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// From the end of the range to its start.
    pub reverse: bool,
    /// Leave the values out.
    pub key_only: bool,
}

/// What a range holds, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    /// The exclusive or of the CRC-64 (XZ) of every pair, key and value one behind the other.
    pub crc64_xor: u64,
    /// How many pairs there are.
    pub pairs: u64,
    /// How many bytes their keys and values have.
    pub bytes: u64,
}

impl RawClient {
    /// The first `limit` pairs of a range, in order; the last ones in falling order if reversed. Each page is
    /// linearizable by itself, the whole is not.
    pub async fn scan(
        &self,
        range: KeyRange,
        limit: usize,
        options: ScanOptions,
    ) -> Result<Vec<(Bytes, Bytes)>, ClientError> {
        let mut rest = range;
        let mut pairs = Vec::new();
        while pairs.len() < limit && !rest.is_empty() {
            let missing = u32::try_from(limit - pairs.len()).unwrap_or(u32::MAX);
            let page = missing.min(self.config.scan_page.max(1));
            let seek = if options.reverse { Seek::Before(rest.end.clone()) } else { Seek::At(rest.start.clone()) };
            let (route, answer) = self.on_region(seek, |route| self.page(route, &rest, page, options)).await?;
            let is_last_page = answer.kvs.len() < page as usize;
            pairs.extend(answer.kvs.into_iter().map(|pair| (pair.key, pair.value)));
            let region = &route.region.range;
            let next = match pairs.last() {
                Some((key, _)) if !is_last_page && options.reverse => Some(KeyRange::new(rest.start, key.clone())),
                Some((key, _)) if !is_last_page => Some(KeyRange::new(successor(key), rest.end)),
                _ if options.reverse => below(rest, region),
                _ => above(rest, region),
            };
            match next {
                Some(next) => rest = next,
                None => break,
            }
        }
        Ok(pairs)
    }

    /// One page's request. In reverse the protocol's start key is the upper bound.
    fn page(&self, route: &Route, rest: &KeyRange, limit: u32, options: ScanOptions) -> kvrpcpb::RawScanRequest {
        let piece = rest.intersect(&route.region.range);
        let (start_key, end_key) = if options.reverse { (piece.end, piece.start) } else { (piece.start, piece.end) };
        let ScanOptions { reverse, key_only } = options;
        kvrpcpb::RawScanRequest { context: None, start_key, limit, key_only, cf: self.cf(), reverse, end_key }
    }

    /// Removes all keys of a range, region by region; not atomic beyond one region.
    pub async fn delete_range(&self, range: KeyRange) -> Result<(), ClientError> {
        let mut rest = range;
        while !rest.is_empty() {
            let request = |route: &Route| {
                let KeyRange { start, end } = rest.intersect(&route.region.range);
                kvrpcpb::RawDeleteRangeRequest { context: None, start_key: start, end_key: end, cf: self.cf() }
            };
            let (route, _) = self.on_region(Seek::At(rest.start.clone()), request).await?;
            match above(rest, &route.region.range) {
                Some(next) => rest = next,
                None => break,
            }
        }
        Ok(())
    }

    /// A range's checksum, of the default column family whatever the client's own. Each region's part is linearizable
    /// by itself.
    pub async fn checksum(&self, range: KeyRange) -> Result<Checksum, ClientError> {
        let mut rest = range;
        let mut total = Checksum::default();
        while !rest.is_empty() {
            let request = |route: &Route| {
                let KeyRange { start, end } = rest.intersect(&route.region.range);
                let ranges = vec![kvrpcpb::KeyRange { start_key: start, end_key: end }];
                kvrpcpb::RawChecksumRequest { ranges, ..Default::default() }
            };
            let (route, answer) = self.on_region(Seek::At(rest.start.clone()), request).await?;
            total.crc64_xor ^= answer.checksum;
            total.pairs += answer.total_kvs;
            total.bytes += answer.total_bytes;
            match above(rest, &route.region.range) {
                Some(next) => rest = next,
                None => break,
            }
        }
        Ok(total)
    }
}

/// What is left of a range above a region; `None` when nothing is.
fn above(rest: KeyRange, region: &KeyRange) -> Option<KeyRange> {
    let is_done = region.end.is_empty() || !rest.is_below_end(&region.end);
    (!is_done).then(|| KeyRange::new(region.end.clone(), rest.end))
}

/// What is left of a range below a region; `None` when nothing is.
fn below(rest: KeyRange, region: &KeyRange) -> Option<KeyRange> {
    let is_done = region.start.is_empty() || region.start <= rest.start;
    (!is_done).then(|| KeyRange::new(rest.start, region.start.clone()))
}

/// The smallest key above a key.
fn successor(key: &Bytes) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}
