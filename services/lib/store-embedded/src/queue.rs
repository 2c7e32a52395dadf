//! Queue of changes for the committer, in order.
//!
//! Invariant: a change pushed after [`Queue::close`] is refused, and one pushed before is taken.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use pushgrid_store::{ErrorKind, StoreError};
use pushgrid_types::cast::{fitting, saturating};
use tokio::sync::Semaphore;

use crate::write::Work;

/// Longest wait of lazy changes for an eager one to join.
const LAZY: Duration = Duration::from_millis(10);

/// Backoff before failed lazy changes are retried.
const AGAIN: Duration = Duration::from_secs(1);

/// Changes in one transaction: more would keep the first of them waiting, and save little.
const BATCH: usize = 1024;

/// Octets in one transaction, for the same reason.
const BATCH_OCTETS: usize = 4 << 20;

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Wakes the committer.
    ready: Condvar,
    /// One permit for each octet of capacity.
    room: Semaphore,
    capacity: u32,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// Number of entries with a waiting caller.
    eager: usize,
    /// Time at which lazy entries are taken even without an eager one.
    due: Option<Instant>,
    sleep: Sleep,
    closed: bool,
}

/// State of the committer.
#[derive(Debug, Default, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    /// Asleep until woken, at the latest at this time.
    Until(Option<Instant>),
}

/// Change in the queue.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) work: Box<dyn Work>,
    /// Permits of the queue held by the change.
    octets: u32,
}

impl Queue {
    pub(crate) fn new(octets: usize) -> Self {
        let capacity = saturating::<u32>(octets).max(1);
        let permits = fitting::<usize>(capacity);
        let room = Semaphore::new(permits.min(Semaphore::MAX_PERMITS));
        Self { state: Mutex::default(), ready: Condvar::new(), room, capacity }
    }

    /// Adds a change of `octets`, or refuses it at once without room.
    pub(crate) fn offer(&self, work: Box<dyn Work>, octets: usize) -> Result<(), StoreError> {
        let octets = self.permits(octets);
        match self.room.try_acquire_many(octets) {
            Ok(permits) => permits.forget(),
            Err(tokio::sync::TryAcquireError::Closed) => return Err(closed()),
            Err(tokio::sync::TryAcquireError::NoPermits) => {
                return Err(StoreError::new(ErrorKind::Unavailable, "too many changes wait to be written"));
            }
        }
        self.add(Entry { work, octets })
    }

    /// Adds a change of `octets`, once there is room.
    pub(crate) async fn push(&self, work: Box<dyn Work>, octets: usize) -> Result<(), StoreError> {
        let octets = self.permits(octets);
        let permits = self.room.acquire_many(octets).await.map_err(|_| closed())?;
        permits.forget();
        self.add(Entry { work, octets })
    }

    /// Adds a change at once, with or without room. For callers whose changes are bounded otherwise.
    pub(crate) fn push_anyway(&self, work: Box<dyn Work>) -> Result<(), StoreError> {
        self.add(Entry { work, octets: 0 })
    }

    fn permits(&self, octets: usize) -> u32 {
        saturating::<u32>(octets).min(self.capacity)
    }

    fn add(&self, entry: Entry) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.closed {
            return Err(closed());
        }
        let wakes = state.add(entry, LAZY);
        drop(state);
        if wakes {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Puts failed changes back, to be retried after a backoff. Called by the committer.
    pub(crate) fn put_back(&self, works: Vec<Box<dyn Work>>) {
        let mut state = self.lock();
        // The next life redelivers these messages.
        if !state.closed {
            for work in works {
                state.add(Entry { work, octets: 0 }, AGAIN);
            }
        }
    }

    /// Takes the next changes for one transaction, in order. Blocks until there are some; empty once the queue is
    /// closed and drained.
    ///
    /// Lazy changes mostly come soon after an eager one, so for that long the committer sleeps with an alarm set: a
    /// lazy change then need not wake the committer for nothing.
    pub(crate) fn take(&self) -> Vec<Entry> {
        let mut state = self.lock();
        let mut alarm = Some(Instant::now() + LAZY);
        while !state.closed && state.eager == 0 && state.entries.len() < BATCH {
            let now = Instant::now();
            if state.due.is_some_and(|due| due <= now) {
                break;
            }
            alarm = state.due.or(alarm.filter(|alarm| *alarm > now));
            state.sleep = Sleep::Until(alarm);
            match alarm {
                None => self.ready.wait(&mut state),
                Some(alarm) => _ = self.ready.wait_until(&mut state, alarm),
            }
            state.sleep = Sleep::Awake;
        }
        state.take_batch()
    }

    /// Returns the permits of taken changes.
    pub(crate) fn finished(&self, taken: &[Entry]) {
        self.room.add_permits(taken.iter().map(|entry| saturating::<usize>(entry.octets)).sum());
    }

    /// Refuses further changes.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.ready.notify_one();
    }

    /// True once changes are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.room.is_closed()
    }

    /// Drops the remaining changes, which tells the waiters.
    pub(crate) fn abandon(&self) {
        let abandoned = std::mem::take(&mut self.lock().entries);
        drop(abandoned);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Adds an entry. True if the committer is to be woken.
    fn add(&mut self, entry: Entry, patience: Duration) -> bool {
        let lazy = entry.work.is_lazy();
        self.entries.push_back(entry);
        if !lazy {
            self.eager += 1;
            return self.sleep != Sleep::Awake;
        }
        let due = Instant::now() + patience;
        if self.due.is_none_or(|before| due < before) {
            self.due = Some(due);
        }
        match self.sleep {
            Sleep::Awake => false,
            Sleep::Until(alarm) => alarm.is_none_or(|alarm| due < alarm),
        }
    }

    fn take_batch(&mut self) -> Vec<Entry> {
        let mut octets = 0;
        let mut count = 0;
        for entry in self.entries.iter().take(BATCH) {
            count += 1;
            octets += saturating::<usize>(entry.octets);
            if octets >= BATCH_OCTETS {
                break;
            }
        }
        let batch: Vec<_> = self.entries.drain(..count).collect();
        self.eager -= batch.iter().filter(|entry| !entry.work.is_lazy()).count();
        // The rest has waited long enough, and is taken right after this batch.
        self.due = if self.entries.is_empty() { None } else { Some(Instant::now()) };
        batch
    }
}

fn closed() -> StoreError {
    StoreError::plain(ErrorKind::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::{Flush, SettleLogged, job};

    fn lazy() -> Box<dyn Work> {
        Box::new(SettleLogged(Vec::new()))
    }

    #[test]
    fn a_closed_queue_refuses_what_comes_and_gives_out_what_it_has() {
        let queue = Queue::new(100);
        queue.push_anyway(lazy()).unwrap();
        queue.close();
        assert_eq!(queue.push_anyway(lazy()).unwrap_err().kind, ErrorKind::Closed);
        assert_eq!(queue.offer(job(Flush).0, 1).unwrap_err().kind, ErrorKind::Closed);
        queue.put_back(vec![lazy()]);
        assert_eq!(queue.take().len(), 1);
        assert!(queue.take().is_empty(), "nothing was added after the close, and nobody is kept waiting");
    }

    #[test]
    fn what_failed_is_taken_again_with_what_comes_next_and_after_what_was_there() {
        let queue = Queue::new(100);
        queue.put_back(vec![lazy(), lazy()]);
        queue.offer(job(Flush).0, 1).unwrap();
        let lazy: Vec<_> = queue.take().iter().map(|entry| entry.work.is_lazy()).collect();
        assert_eq!(lazy, [true, true, false]);
    }

    #[test]
    fn room_is_given_back_by_what_was_taken() {
        let queue = Queue::new(100);
        queue.offer(job(Flush).0, 60).unwrap();
        assert_eq!(queue.offer(job(Flush).0, 60).unwrap_err().kind, ErrorKind::Unavailable);
        let taken = queue.take();
        queue.finished(&taken);
        queue.offer(job(Flush).0, 1000).expect("what is larger than the queue takes all of it");
    }

    #[test]
    fn a_batch_is_bounded() {
        let queue = Queue::new(BATCH_OCTETS * 4);
        for _ in 0..3 {
            queue.offer(job(Flush).0, BATCH_OCTETS / 2).unwrap();
        }
        assert_eq!(queue.take().len(), 2, "in octets");
        for _ in 0..BATCH {
            queue.push_anyway(lazy()).unwrap();
        }
        assert_eq!(queue.take().len(), BATCH, "in changes, the one that was left among them");
        assert_eq!(queue.take().len(), 1, "what is left is not kept waiting");
    }
}
