//! What engines do by themselves when a bound is met.

use super::*;

#[test]
fn a_full_write_buffer_is_flushed() {
    let disk = MemDisk::new(MemOptions { write_buffer_bytes: 10_000, ..MemOptions::default() });
    let state = disk.open_state().unwrap();
    for round in 1..=100 {
        batch(&state, |batch| {
            batch.set_round(WRITER, Round(round));
            batch.put(DATA, format!("{round:03}"), vec![0_u8; 1_000]);
        });
        assert!(state.statistics().unflushed_bytes <= 10_000);
    }
    assert!(state.persisted_round(WRITER).unwrap() >= Round(90));
    assert!(state.persisted_round(WRITER).unwrap() < Round(100));
    state.flush().unwrap();
    disk.inject(FaultPoint::StateFlush, 1, Fault::Io);
    batch(&state, |batch| batch.put(DATA, "large", vec![0_u8; 20_000]));
    assert_eq!(disk.unflushed_state_batches(), 1, "a batch that is larger than the buffer is taken all the same");
}

#[test]
fn a_flush_by_itself_that_fails_refuses_the_batch() {
    let disk = MemDisk::new(MemOptions { write_buffer_bytes: 10, ..MemOptions::default() });
    let state = disk.open_state().unwrap();
    put_all(&state, DATA, &[("a", "12345")]);
    disk.inject(FaultPoint::StateFlush, 1, Fault::Io);
    let mut change = crate::StateBatch::default();
    change.put(DATA, "b", "12345");
    assert!(state.write(&change).is_err());
    assert_eq!(keys(&state, DATA), "a");
}

#[test]
fn old_buffered_writes_become_durable_by_themselves() {
    let disk = MemDisk::new(MemOptions { max_unsynced_writes: 2, ..MemOptions::default() });
    let log = disk.open_log().unwrap();
    (6..10).for_each(|index| try_append(&log, index, index + 1, Durability::Buffered).unwrap());
    assert_eq!(disk.unsynced_log_writes(), 2);
    disk.crash_at(CrashPoint::OLDEST);
    assert_eq!(bounds(&disk.open_log().unwrap(), 1), Some((6, 7)));
}
