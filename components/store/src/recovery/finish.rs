//! What a restart finishes before any peer goes on: snapshots that were being applied, removals, and keys that nobody owns
//! (D8, D9, D10).

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::{Durability, Family, Gone, LogBatch, LogOp, SnapshotMarker, StateBatch, StateEngine, meta};
use slog::{Logger, error, info};
use snapshot::{Direction, ReceiveStep, Received, Recovery, SnapshotKey, sweep};
use types::{KeyRange, PeerId};

use crate::error::StoreError;
use crate::lifecycle::{StateWriter, clear, holds_keys, install};
use crate::shared::Engines;

/// Bytes that are checked between two looks, about.
const STEP_BYTES: usize = 8 << 20;

/// What finishing left.
#[derive(Default)]
pub(crate) struct Finished {
    /// Snapshots whose files are damaged: their peers stay fenced (D10).
    pub(crate) fenced: Vec<SnapshotMarker>,
    /// Where the numbers of snapshots go on.
    pub(crate) next_number: u64,
}

/// Finishes what a crash interrupted.
pub(crate) fn finish(engines: &Engines, logger: &Logger) -> Result<Finished, StoreError> {
    let mut writer = StateWriter::open(Arc::clone(&engines.state))?;
    let gone = meta::read_gone(&*engines.state)?;
    let mut finished = finish_snapshots(engines, &gone, &mut writer, logger)?;
    finish_removals(engines, &gone, &mut writer, &mut finished.fenced, logger)?;
    clear_unowned(&*engines.state, &mut writer, &finished.fenced, logger)?;
    Ok(finished)
}

/// Does again what a marker in L says was begun, and sweeps away the files that no marker names. A peer that was told to go
/// behind its marker gets nothing any more: its removal goes on.
fn finish_snapshots(
    engines: &Engines,
    gone: &[Gone],
    writer: &mut StateWriter,
    logger: &Logger,
) -> Result<Finished, StoreError> {
    let goes =
        |marker: &SnapshotMarker| gone.iter().any(|gone| (gone.region, gone.peer) == (marker.region(), marker.peer));
    let (going, markers): (Vec<_>, Vec<_>) = engines.log.markers()?.into_iter().partition(goes);
    let needed: BTreeSet<SnapshotKey> = markers.iter().map(key).collect();
    let swept = sweep(&*engines.files, &needed)?;
    let mut finished = Finished { fenced: going, next_number: swept.next_number };
    let mut done = Vec::new();
    for marker in markers {
        let region = marker.region();
        match reopen(engines, &marker) {
            Ok(mut received) => {
                install(writer, &marker, &mut received)?;
                info!(logger, "snapshot applied again"; "region" => region.0, "index" => marker.index.0);
                done.push((region, received));
            }
            Err(cause) => {
                error!(logger, "the files of a snapshot that was being applied are damaged: its peer is silent until another comes";
                    "region" => region.0, "index" => marker.index.0, "cause" => cause);
                finished.fenced.push(marker);
            }
        }
    }
    if !done.is_empty() {
        writer.fence()?;
        let drops = done.iter().map(|(region, _)| LogOp::DropMarker { region: *region });
        engines.log.write(LogBatch { ops: drops.collect() }, Durability::Synced)?;
        for (_, received) in done {
            received.remove()?;
        }
    }
    Ok(finished)
}

fn key(marker: &SnapshotMarker) -> SnapshotKey {
    let (region, index, number) = (marker.region(), marker.index, marker.number);
    SnapshotKey { direction: Direction::Incoming, region, index, number }
}

/// The files of a marker, checked. What is wrong with them, if so, in words.
fn reopen(engines: &Engines, marker: &SnapshotMarker) -> Result<Received, String> {
    let words = |error: snapshot::ReceiveError| error.to_string();
    let (state, files) = (Arc::clone(&engines.state), Arc::clone(&engines.files));
    let mut recovery = Recovery::open(state, files, key(marker)).map_err(words)?;
    loop {
        if let ReceiveStep::Received(received) = recovery.step(STEP_BYTES).map_err(words)? {
            return Ok(received);
        }
    }
}

/// Goes on with removals behind their fence: what S holds when it is opened is durable.
fn finish_removals(
    engines: &Engines,
    gone: &[Gone],
    writer: &mut StateWriter,
    fenced: &mut Vec<SnapshotMarker>,
    logger: &Logger,
) -> Result<(), StoreError> {
    if gone.is_empty() {
        return Ok(());
    }
    let mut forgotten = LogBatch::default();
    let mut cleared = StateBatch::default();
    for gone in gone {
        let known = engines.log.region(gone.region)?.and_then(|log| log.lifecycle);
        if known.is_some_and(|known| known.peer == Some(gone.peer)) {
            let next_peer = PeerId(gone.peer.0 + 1);
            forgotten.ops.push(LogOp::Remove { region: gone.region, next_peer });
            // It may have been fenced. What its marker kept is nobody's then.
            forgotten.ops.push(LogOp::DropMarker { region: gone.region });
            fenced.retain(|marker| marker.region() != gone.region);
        }
        clear(&mut cleared, &gone.range);
        cleared.delete(Family::Meta, meta::gone_key(gone.region, gone.peer));
        info!(logger, "removal of a peer finished"; "region" => gone.region.0, "peer" => gone.peer.0);
    }
    if !forgotten.is_empty() {
        engines.log.write(forgotten, Durability::Synced)?;
    }
    writer.write(cleared)?;
    Ok(())
}

/// Clears keys that no region of S owns: of children that this store had no place for, and of snapshots that came to
/// nothing. What a dormant child will own is still its parent's.
fn clear_unowned(
    state: &dyn StateEngine,
    writer: &mut StateWriter,
    fenced: &[SnapshotMarker],
    logger: &Logger,
) -> Result<(), StoreError> {
    let mut owned: Vec<KeyRange> =
        meta::read_regions(state)?.into_iter().map(|region| region.descriptor.range).collect();
    owned.extend(fenced.iter().flat_map(|marker| marker.clear.iter().cloned()));
    let mut batch = StateBatch::default();
    for gap in gaps(owned) {
        if holds_keys(state, &gap)? {
            info!(logger, "range that nobody owns cleared"; "range" => %gap);
            clear(&mut batch, &gap);
        }
    }
    if !batch.is_empty() {
        writer.write(batch)?;
    }
    Ok(())
}

/// What lies between the ranges, and around them.
fn gaps(mut owned: Vec<KeyRange>) -> Vec<KeyRange> {
    owned.sort_by(|left, right| left.start.cmp(&right.start));
    let mut gaps = Vec::new();
    let mut from = bytes::Bytes::new();
    for range in owned {
        if from < range.start {
            gaps.push(KeyRange::new(from.clone(), range.start.clone()));
        }
        if range.end.is_empty() {
            return gaps;
        }
        from = from.max(range.end);
    }
    gaps.push(KeyRange::new(from, ""));
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &'static str, end: &'static str) -> KeyRange {
        KeyRange::new(start, end)
    }

    #[test]
    fn gaps_are_what_nobody_owns() {
        assert_eq!(gaps(vec![]), [KeyRange::all()]);
        assert_eq!(gaps(vec![KeyRange::all()]), []);
        assert_eq!(gaps(vec![range("m", ""), range("", "c"), range("c", "f")]), [range("f", "m")]);
        assert_eq!(gaps(vec![range("b", "d"), range("c", "e")]), [range("", "b"), range("e", "")]);
    }
}
