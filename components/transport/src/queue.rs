//! Messages that wait for one store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use region::RegionMessage;
use tokio::sync::Notify;

use crate::config::TransportConfig;
use crate::wire;

/// A bounded queue with many pushing threads and one task that takes whole frames.
pub(crate) struct SendQueue {
    max_messages: usize,
    max_bytes: usize,
    frame_messages: usize,
    frame_bytes: usize,
    waiting: Mutex<Waiting>,
    /// Whether something was pushed since the task was last woken.
    unflushed: AtomicBool,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    messages: VecDeque<(RegionMessage, usize)>,
    bytes: usize,
}

/// The queue holds as much as it may.
#[derive(Debug, PartialEq)]
pub(crate) struct Full(pub(crate) RegionMessage);

impl SendQueue {
    pub(crate) fn new(config: &TransportConfig) -> Self {
        Self {
            max_messages: config.queue_messages,
            max_bytes: config.queue_bytes,
            frame_messages: config.frame_messages.max(1),
            frame_bytes: config.full_frame_bytes(),
            waiting: Mutex::default(),
            unflushed: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// Adds a message at the end. One that is larger than the bound passes when it is alone.
    pub(crate) fn push(&self, message: RegionMessage) -> Result<(), Box<Full>> {
        let size = wire::size(&message);
        let mut waiting = self.waiting.lock();
        let has_room = waiting.messages.len() < self.max_messages && waiting.bytes + size <= self.max_bytes;
        if !has_room && !waiting.messages.is_empty() {
            return Err(Box::new(Full(message)));
        }
        waiting.messages.push_back((message, size));
        waiting.bytes += size;
        let fills_a_frame = waiting.bytes >= self.frame_bytes;
        drop(waiting);
        self.unflushed.store(true, Ordering::Release);
        if fills_a_frame {
            self.flush();
        }
        Ok(())
    }

    /// Wakes the task that takes frames if there is something new for it.
    pub(crate) fn flush(&self) {
        if self.unflushed.swap(false, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// The next frame: at least one message. Waits for a flush when there is none. Loses nothing when it is cancelled.
    pub(crate) async fn next_frame(&self) -> Vec<RegionMessage> {
        loop {
            let frame = self.take_frame();
            if !frame.is_empty() {
                return frame;
            }
            self.wake.notified().await;
        }
    }

    /// Waits until there is a message.
    pub(crate) async fn not_empty(&self) {
        while self.waiting.lock().messages.is_empty() {
            self.wake.notified().await;
        }
    }

    /// Removes everything and gives it back.
    pub(crate) fn clear(&self) -> Vec<RegionMessage> {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.messages.into_iter().map(|(message, _)| message).collect()
    }

    fn take_frame(&self) -> Vec<RegionMessage> {
        let mut waiting = self.waiting.lock();
        let (mut count, mut bytes) = (0, 0);
        for (_, size) in waiting.messages.iter().take(self.frame_messages) {
            if bytes >= self.frame_bytes {
                break;
            }
            count += 1;
            bytes += size;
        }
        waiting.bytes -= bytes;
        waiting.messages.drain(..count).map(|(message, _)| message).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(region: u64, bytes: usize) -> RegionMessage {
        let mut raft = RegionMessage::parse_raft(&[]).expect("an empty message has all defaults");
        raft.context = vec![0; bytes].into();
        RegionMessage {
            region: region.into(),
            from: Default::default(),
            to: Default::default(),
            epoch: Default::default(),
            raft,
            note: None,
            range: None,
        }
    }

    fn queue(config: TransportConfig) -> SendQueue {
        SendQueue::new(&config)
    }

    fn regions(frame: &[RegionMessage]) -> Vec<u64> {
        frame.iter().map(|message| message.region.0).collect()
    }

    #[test]
    fn both_bounds_hold() {
        let by_count = queue(TransportConfig { queue_messages: 2, ..Default::default() });
        assert_eq!([1, 2].map(|region| by_count.push(message(region, 0))), [Ok(()), Ok(())]);
        assert_eq!(by_count.push(message(3, 0)), Err(Box::new(Full(message(3, 0)))));

        let by_bytes = queue(TransportConfig { queue_bytes: 3000, ..Default::default() });
        assert_eq!([1, 2].map(|region| by_bytes.push(message(region, 1000))), [Ok(()), Ok(())]);
        assert!(by_bytes.push(message(3, 1000)).is_err());
        assert_eq!(regions(&by_bytes.clear()), [1, 2]);
        assert_eq!(by_bytes.push(message(4, 9000)), Ok(()), "alone, a large one passes");
        assert!(by_bytes.push(message(5, 0)).is_err());
    }

    #[tokio::test]
    async fn frames_keep_the_order_and_their_bounds() {
        let queue = queue(TransportConfig { frame_messages: 3, frame_bytes: 5000, ..Default::default() });
        for region in 1..=4 {
            queue.push(message(region, 0)).expect("there is room");
        }
        queue.push(message(5, 5000)).expect("there is room");
        queue.push(message(6, 0)).expect("there is room");
        assert_eq!(regions(&queue.next_frame().await), [1, 2, 3]);
        assert_eq!(regions(&queue.next_frame().await), [4, 5]);
        assert_eq!(regions(&queue.next_frame().await), [6]);
        assert_eq!(queue.waiting.lock().bytes, 0, "what was taken is no longer counted");
    }

    #[tokio::test]
    async fn a_flush_before_the_wait_is_not_lost() {
        let queue = queue(TransportConfig::default());
        let mut frame = std::pin::pin!(queue.next_frame());
        assert!(futures::poll!(&mut frame).is_pending());
        queue.push(message(1, 0)).expect("there is room");
        queue.flush();
        assert_eq!(regions(&frame.await), [1]);
    }
}
