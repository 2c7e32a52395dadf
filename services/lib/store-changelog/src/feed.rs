//! From the log to the consumer: a task reads ahead, so that the account knows what was accepted, within bounds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pushgrid_store::{ErrorKind, LogConsumer, LogReader, StoreError};
use pushgrid_types::{Message, Outcome, Sequence};
use tokio::sync::Notify;

use crate::core::{Core, closed};
use crate::tracker::Read;
use crate::{Stop, Tuning};

/// What was read and is to be handed out.
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

#[derive(Debug, Default)]
struct Queue {
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

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the consumer, for there is something else to see than messages.
    pub(crate) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// The window of the tracker was this long, and may be shorter now.
    pub(crate) fn window_was(&self, len: usize) {
        if len >= self.window {
            self.room.notify_one();
        }
    }

    fn add(&self, messages: Vec<Arc<Message>>) {
        let mut queue = self.lock();
        queue.octets += messages.iter().map(|it| it.weight()).sum::<usize>();
        queue.messages.extend(messages);
        drop(queue);
        self.arrived.notify_one();
    }

    /// How many more messages there is room for; zero when there is none.
    fn room(&self) -> usize {
        let queue = self.lock();
        if queue.octets >= self.octets { 0 } else { self.messages.saturating_sub(queue.messages.len()) }
    }
}

/// Reads the log until it is given to another, or fails; then it waits for the end of the partition.
pub(crate) async fn read(core: Arc<Core>, mut reader: Box<dyn LogReader>) -> Stop {
    let mut pause = core.ground.pause();
    loop {
        let room = core.feed.room();
        let window = core.tracker().len();
        if room == 0 || window >= core.feed.window {
            core.feed.room.notified().await;
            continue;
        }
        let batch = match reader.next(room.min(core.ground.tuning.batch)).await {
            Ok(batch) => batch,
            Err(error) => match core.ground.after(error, &mut pause, "read the log").await {
                Ok(()) => continue,
                Err(halt) => return halt.stop(),
            },
        };
        if batch.is_empty() {
            // There is a next owner, or will be. What is under way here is finished and committed by whoever closes the
            // partition; if that comes too late, the commit or the view says so.
            return core.stopped().await;
        }
        pause = core.ground.pause();
        let new = core.enter(batch);
        if !new.is_empty() {
            core.feed.add(new);
        }
    }
}

impl Core {
    /// Enters what was read, and answers what is to be handed out.
    fn enter(&self, mut batch: Vec<Arc<Message>>) -> Vec<Arc<Message>> {
        let read = batch.len();
        let mut tracker = self.tracker();
        batch.retain(|message| match tracker.read(message.sequence) {
            Read::New => {
                self.ledger.accept(1);
                true
            }
            Read::DealtWith | Read::Again => false,
        });
        drop(tracker);
        if batch.len() < read {
            // What is passed over moves the beginning of the window.
            self.commit.notify_one();
        }
        batch
    }
}

/// The router's side of the log of one partition.
#[derive(Debug)]
pub(crate) struct Consumer {
    core: Arc<Core>,
}

impl Consumer {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The next messages that nothing has become of meanwhile.
    fn take(&self, limit: usize) -> Vec<Arc<Message>> {
        let mut queue = self.core.feed.lock();
        let tracker = self.core.tracker();
        let mut taken = Vec::new();
        while taken.len() < limit.max(1)
            && let Some(message) = queue.messages.pop_front()
        {
            queue.octets -= message.weight();
            if tracker.is_open(message.sequence) {
                taken.push(message);
            }
        }
        drop((tracker, queue));
        self.core.feed.room.notify_one();
        taken
    }
}

#[async_trait]
impl LogConsumer for Consumer {
    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        loop {
            match self.core.has_stopped() {
                None => {}
                Some(Stop::Failed) => return Err(closed()),
                Some(Stop::Corrupt) => return Err(StoreError::plain(ErrorKind::Corrupt)),
                Some(Stop::Fenced | Stop::Lost | Stop::Closed | Stop::Abandoned) => return Ok(Vec::new()),
            }
            let batch = self.take(limit);
            if !batch.is_empty() {
                return Ok(batch);
            }
            self.core.feed.arrived.notified().await;
        }
    }

    /// No I/O: the tracker knows of it, and the next commit has it.
    fn settle(&self, ended: Vec<(Sequence, Outcome)>) {
        let core = &self.core;
        if core.has_stopped().is_some() {
            return;
        }
        let mut tracker = core.tracker();
        let window = tracker.len();
        for (sequence, outcome) in ended {
            if tracker.settle(sequence, outcome) {
                core.ledger.end(outcome, 1);
            }
        }
        drop(tracker);
        core.feed.window_was(window);
        core.commit.notify_one();
    }
}
