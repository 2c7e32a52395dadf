//! Queue of messages from the reader of the log to the consumer, within bounds. The reading is `reader`, the
//! handing out `consumer`.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use pushgrid_types::{Message, Sequence};
use tokio::sync::Notify;

use crate::Tuning;
use crate::tracker::Tracker;

/// Messages read from the log and not yet handed out.
#[derive(Debug)]
pub(crate) struct Feed {
    queue: Mutex<Queue>,
    /// Wakes the consumer.
    arrived: Notify,
    /// Wakes the reader.
    room: Notify,
    messages: usize,
    octets: usize,
    window: usize,
}

/// Content of a [`Feed`], under its lock.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    messages: VecDeque<Arc<Message>>,
    octets: usize,
}

impl Feed {
    pub(crate) fn new(tuning: &Tuning) -> Self {
        Self {
            queue: Mutex::default(),
            arrived: Notify::new(),
            room: Notify::new(),
            messages: tuning.prefetch,
            octets: tuning.prefetch_octets,
            window: tuning.window,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Wakes the consumer: messages have arrived, or the partition has stopped.
    pub(crate) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Returns after [`Self::wake`].
    pub(crate) async fn woken(&self) {
        self.arrived.notified().await;
    }

    /// Oldest open message while the window is full: the log is read no further before messages end.
    pub(crate) fn full(&self, tracker: &Tracker) -> Option<Sequence> {
        tracker.full(self.window)
    }

    /// Wakes the reader if the tracker was full, and may not be now.
    pub(crate) fn was_full(&self, was_full: bool) {
        if was_full {
            self.make_room();
        }
    }

    /// Wakes the reader: messages were handed out, or have ended.
    pub(crate) fn make_room(&self) {
        self.room.notify_one();
    }

    /// Returns after [`Self::make_room`].
    pub(crate) async fn room_made(&self) {
        self.room.notified().await;
    }

    /// Room in messages; zero while the octets are at their bound.
    pub(crate) fn room(&self) -> usize {
        let queue = self.lock();
        if queue.octets >= self.octets { 0 } else { self.messages.saturating_sub(queue.messages.len()) }
    }
}

impl Queue {
    pub(crate) fn extend(&mut self, batch: Vec<Arc<Message>>) {
        self.octets += batch.iter().map(|it| it.weight()).sum::<usize>();
        self.messages.extend(batch);
    }

    pub(crate) fn pop(&mut self) -> Option<Arc<Message>> {
        let message = self.messages.pop_front()?;
        self.octets -= message.weight();
        Some(message)
    }

    /// Sequence of the next message.
    pub(crate) fn next(&self) -> Option<Sequence> {
        self.messages.front().map(|message| message.sequence)
    }
}
