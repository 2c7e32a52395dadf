//! The changes that wait for the committer, in order.
//!
//! Invariant: what is pushed after [`Queue::close`] is refused, and what was pushed before it is taken.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pushgrid_store::{ErrorKind, StoreError};
use tokio::sync::Semaphore;

use crate::write::Work;

/// The longest that lazy changes wait for an eager one to join.
const LAZY: Duration = Duration::from_millis(10);

/// When lazy changes that failed are tried again.
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
    /// A permit for each octet that may wait.
    room: Semaphore,
    capacity: u32,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// How many of the entries somebody waits for.
    eager: usize,
    /// When the lazy entries are to be taken though no eager one has come.
    due: Option<Instant>,
    sleep: Sleep,
    closed: bool,
}

/// What the committer is doing.
#[derive(Debug, Default, PartialEq, Eq)]
enum Sleep {
    #[default]
    Awake,
    /// It waits to be woken, at most until then.
    Until(Option<Instant>),
}

/// A change in the queue.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) work: Box<dyn Work>,
    /// Permits of the queue that it holds.
    octets: u32,
}

impl Queue {
    pub(crate) fn new(octets: usize) -> Self {
        let capacity = u32::try_from(octets).unwrap_or(u32::MAX).max(1);
        let permits = usize::try_from(capacity).expect("32 bits fit a size");
        let room = Semaphore::new(permits.min(Semaphore::MAX_PERMITS));
        Self { state: Mutex::default(), ready: Condvar::new(), room, capacity }
    }

    /// Adds a change of `octets`, if there is room for it at once.
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

    /// Adds a change of `octets`, when there is room for it.
    pub(crate) async fn push(&self, work: Box<dyn Work>, octets: usize) -> Result<(), StoreError> {
        let octets = self.permits(octets);
        let permits = self.room.acquire_many(octets).await.map_err(|_| closed())?;
        permits.forget();
        self.add(Entry { work, octets })
    }

    /// Adds a change at once, whether or not there is room. For those whose number is bounded otherwise.
    pub(crate) fn push_anyway(&self, work: Box<dyn Work>) -> Result<(), StoreError> {
        self.add(Entry { work, octets: 0 })
    }

    fn permits(&self, octets: usize) -> u32 {
        u32::try_from(octets).unwrap_or(u32::MAX).min(self.capacity)
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

    /// Adds changes that failed and are to be tried again, in a while. The committer itself calls this.
    pub(crate) fn put_back(&self, works: Vec<Box<dyn Work>>) {
        let mut state = self.lock();
        // In the next life these messages come again.
        if !state.closed {
            for work in works {
                state.add(Entry { work, octets: 0 }, AGAIN);
            }
        }
    }

    /// The next changes for one transaction, in order. Waits until there are some; empty when the queue is closed
    /// and all have been taken.
    ///
    /// Lazy changes mostly come soon after an eager one, so for that long the committer sleeps with an alarm set:
    /// whoever adds a lazy change then need not wake it, only to have it sleep again.
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
            state = match alarm {
                None => self.ready.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(alarm) => {
                    let woken = self.ready.wait_timeout(state, alarm.saturating_duration_since(now));
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.sleep = Sleep::Awake;
        }
        state.take_batch()
    }

    /// Gives the room of taken changes to others.
    pub(crate) fn finished(&self, taken: &[Entry]) {
        self.room.add_permits(taken.iter().map(|entry| usize::try_from(entry.octets).unwrap_or(0)).sum());
    }

    /// Refuses further changes.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.ready.notify_one();
    }

    /// Whether changes are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.room.is_closed()
    }

    /// Drops what nobody will take, so that whoever waits for it is told.
    pub(crate) fn abandon(&self) {
        let abandoned = std::mem::take(&mut self.lock().entries);
        drop(abandoned);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Says whether the committer is to be woken.
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
            octets += usize::try_from(entry.octets).unwrap_or(usize::MAX);
            if octets >= BATCH_OCTETS {
                break;
            }
        }
        let batch: Vec<_> = self.entries.drain(..count).collect();
        self.eager -= batch.iter().filter(|entry| !entry.work.is_lazy()).count();
        // What is left has waited long enough: it is taken right after this batch.
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
