//! Requests to one region as values, so that they can be carried to the store that leads it.

use bytes::Bytes;
use engine::{Family, IterRange, RegionSnapshot};
use proto::log::Command;
use store::StoreHandle;
use types::{
    ColumnFamily, CommandOutput, KeyRange, RegionDescriptor, RegionId, RequestError, RequestHeader, Responder,
};

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// What is asked of a region.
#[derive(Clone, Debug)]
pub enum RegionRequest {
    /// Apply a command.
    Write(Command),
    /// Cut the region at keys, under ids that the leader's store asks for.
    Split {
        /// The keys, in any order; those at which the region begins or ends are cut already.
        keys: Vec<Bytes>,
    },
    /// Swap what the store itself keeps under the [reserved key](types::reserved): the counter of ids.
    SwapReserved {
        /// What must be there for the swap.
        expected: Option<Bytes>,
        /// What is there afterwards.
        value: Bytes,
    },
    /// Read the value of a key.
    Get {
        /// Where to look.
        family: ColumnFamily,
        /// The key.
        key: Bytes,
    },
    /// Read the pairs of a range, in order.
    Scan {
        /// Where to look.
        family: ColumnFamily,
        /// Which keys; what lies outside of the region is left out.
        range: KeyRange,
        /// The most pairs to return.
        limit: usize,
        /// From the last key to the first.
        reverse: bool,
        /// Leave the values out.
        key_only: bool,
    },
}

/// What a region answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegionResponse {
    /// A command was applied.
    Written(CommandOutput),
    /// The region was cut: the regions that hold its range now, in the order of their keys.
    Split(Vec<RegionDescriptor>),
    /// A key's value, if it has one.
    Value(Option<Bytes>),
    /// Pairs of a range.
    Pairs {
        /// In the order asked for.
        pairs: Vec<Pair>,
        /// Whether there is nothing behind them: the region holds no other pair of the range.
        exhausted: bool,
    },
}

/// Bytes of keys and values with which the answer to a [`RegionRequest::Scan`] ends; one pair comes at least.
pub const MAX_SCAN_BYTES: usize = 4 << 20;

/// Whom to tell.
pub type RegionResponder = Responder<Result<RegionResponse, RequestError>>;

/// Carries out a request at the store that leads the region; answers like [`StoreHandle::write`] and
/// [`StoreHandle::read`].
pub fn execute(store: &StoreHandle, header: RequestHeader, request: RegionRequest, responder: RegionResponder) {
    match request {
        RegionRequest::Write(command) => {
            let done = move |result: Result<CommandOutput, RequestError>| {
                responder.respond(result.map(RegionResponse::Written));
            };
            store.write(header, command, Responder::new(done));
        }
        RegionRequest::SwapReserved { expected, value } => {
            let done = move |result: Result<CommandOutput, RequestError>| {
                responder.respond(result.map(RegionResponse::Written));
            };
            store.swap_reserved(header, expected, value, Responder::new(done));
        }
        RegionRequest::Split { keys } => {
            let done = move |result: Result<Vec<RegionDescriptor>, RequestError>| {
                responder.respond(result.map(RegionResponse::Split));
            };
            store.split_at(header.region_id, header.epoch, keys, Responder::new(done));
        }
        RegionRequest::Get { family, key } => {
            let note = note_read(store, header.region_id);
            let done = move |result: Result<RegionSnapshot, RequestError>| {
                responder.respond(result.and_then(|snapshot| {
                    let value = get(&snapshot, family, &key)?;
                    let bytes = value.as_ref().map_or(0, |value| key.len() + value.len());
                    note(&only(&key), value.is_some().into(), bytes as u64);
                    Ok(RegionResponse::Value(value))
                }));
            };
            store.read(header, Responder::new(done));
        }
        RegionRequest::Scan { family, range, limit, reverse, key_only } => {
            let note = note_read(store, header.region_id);
            let done = move |result: Result<RegionSnapshot, RequestError>| {
                responder.respond(result.and_then(|snapshot| {
                    let options = IterRange { range: range.clone(), key_only, skip_cache: false };
                    let (pairs, exhausted) = scan(&snapshot, family, options, limit, MAX_SCAN_BYTES, reverse)?;
                    let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
                    note(&seen(range, &pairs), pairs.len() as u64, bytes as u64);
                    Ok(RegionResponse::Pairs { pairs, exhausted })
                }));
            };
            store.read(header, Responder::new(done));
        }
    }
}

/// Counts what a read has seen: its range, and how many keys and bytes. A read that waits must not keep the store open.
fn note_read(store: &StoreHandle, region: RegionId) -> impl Fn(&KeyRange, u64, u64) + use<> {
    let store = store.downgrade();
    move |range, keys, bytes| {
        if let Some(store) = store.upgrade() {
            store.note_read(region, range, keys, bytes);
        }
    }
}

/// The range of one key.
fn only(key: &Bytes) -> KeyRange {
    KeyRange { start: key.clone(), end: successor(key) }
}

/// The range that a scan has looked at: from its first pair to its last, or all of it when there was none.
fn seen(range: KeyRange, pairs: &[Pair]) -> KeyRange {
    let ends = pairs.first().zip(pairs.last());
    ends.map_or(range, |((one, _), (other, _))| KeyRange {
        start: one.min(other).clone(),
        end: successor(one.max(other)),
    })
}

/// The first key behind a key.
pub(crate) fn successor(key: &Bytes) -> Bytes {
    [key.as_ref(), &[0]].concat().into()
}

/// Reads a key of a region.
///
/// # Errors
/// `KeyNotInRegion`, or `Invalid` with the engine's words when reading fails.
pub fn get(snapshot: &RegionSnapshot, family: ColumnFamily, key: &Bytes) -> Result<Option<Bytes>, RequestError> {
    let region = &snapshot.descriptor;
    if !region.range.contains(key) {
        return Err(RequestError::KeyNotInRegion { key: key.clone(), region: region.id, range: region.range.clone() });
    }
    snapshot.user_value(family, key).map_err(failed)
}

/// Reads at most `limit` pairs of a region, ending with the one that reaches `max_bytes`; the range is cut to the
/// region's own. Also tells whether there is nothing behind them.
///
/// # Errors
/// `Invalid` with the engine's words when reading fails.
pub fn scan(
    snapshot: &RegionSnapshot,
    family: ColumnFamily,
    options: IterRange,
    limit: usize,
    max_bytes: usize,
    reverse: bool,
) -> Result<(Vec<Pair>, bool), RequestError> {
    let range = options.range.intersect(&snapshot.user_range(family));
    let (mut pairs, mut bytes) = (Vec::new(), 0);
    if range.is_empty() {
        return Ok((pairs, true));
    }
    let mut iter = snapshot.data.iter(Family::User(family), IterRange { range, ..options }).map_err(failed)?;
    let mut valid = if reverse { iter.seek_to_last() } else { iter.seek_to_first() }.map_err(failed)?;
    while valid && pairs.len() < limit && bytes < max_bytes {
        bytes += iter.key().len() + iter.value().len();
        pairs.push((Bytes::copy_from_slice(iter.key()), Bytes::copy_from_slice(iter.value())));
        valid = if reverse { iter.prev() } else { iter.next() }.map_err(failed)?;
    }
    Ok((pairs, !valid))
}

fn failed(error: engine::EngineError) -> RequestError {
    RequestError::Invalid { reason: format!("reading failed: {error}") }
}
