use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_types::{Message, Partition, Sequence};
use tokio::sync::Notify;

use super::MAX_PENDING;
use pushgrid_store::{Commit, ErrorKind, EventLog, LogReader, Offsets, Share, StoreError};

/// The model of one partition of a log shared by routers: [`EventLog`] on one side, [`Share`] on the other,
/// with faults to play. Keeps every accepted message, also after the end. Cheap to clone: clones are the same
/// log.
#[derive(Debug, Clone)]
pub struct MemoryPartitionLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    partition: Partition,
    state: Mutex<State>,
    /// Wakes readers when a message arrives or the owner changes.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: BTreeMap<Sequence, Arc<Message>>,
    /// Messages readable only by a newer release.
    newer: BTreeSet<Sequence>,
    /// The highest sequence given.
    last: u64,
    /// First sequence left; everything before has been forgotten.
    first: Sequence,
    /// Number of the owner's share: the last one made.
    owner: u64,
    committed: Option<Commit>,
    down: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn check_up(&self) -> Result<(), StoreError> {
        if self.down { Err(StoreError::plain(ErrorKind::Unavailable)) } else { Ok(()) }
    }
}

impl MemoryPartitionLog {
    /// The log of `partition`, empty.
    pub fn new(partition: Partition) -> Self {
        Self(Arc::new(Shared { partition, state: Mutex::default(), changed: Notify::new() }))
    }

    /// Makes the caller the owner: readers of earlier shares end, and commits by earlier shares are refused.
    pub fn share(&self) -> Share {
        let owner = {
            let mut state = self.0.lock();
            state.owner += 1;
            state.owner
        };
        self.0.changed.notify_waiters();
        Share {
            partition: self.0.partition,
            reader: Box::new(MemoryReader {
                shared: Arc::clone(&self.0),
                owner,
                next: Sequence(0),
                lost: Vec::new(),
                newer: Vec::new(),
            }),
            offsets: Arc::new(MemoryOffsets { shared: Arc::clone(&self.0), owner }),
        }
    }

    /// The last commit.
    pub fn committed(&self) -> Option<Commit> {
        self.0.lock().committed.clone()
    }

    /// Puts `commit` in the place of the last commit, as an operator with a tool would.
    pub fn set_committed(&self, commit: Option<Commit>) {
        self.0.lock().committed = commit;
    }

    /// The highest sequence given; zero before the first.
    pub fn last(&self) -> Sequence {
        Sequence(self.0.lock().last)
    }

    /// Takes a record of a newer release in.
    pub fn accept_newer(&self) -> Sequence {
        let sequence = {
            let mut state = self.0.lock();
            state.last += 1;
            let sequence = Sequence(state.last);
            state.newer.insert(sequence);
            sequence
        };
        self.0.changed.notify_waiters();
        sequence
    }

    /// Leaves so many sequences out.
    pub fn skip(&self, sequences: u64) {
        self.0.lock().last += sequences;
    }

    /// Loses everything before `first`, as a log does after its retention.
    pub fn forget(&self, first: Sequence) {
        let mut state = self.0.lock();
        state.first = state.first.max(first);
        state.messages = state.messages.split_off(&first);
    }

    /// Takes the model down, or up again: while down every call fails as [`ErrorKind::Unavailable`].
    pub fn set_down(&self, down: bool) {
        self.0.lock().down = down;
    }
}

#[async_trait]
impl EventLog for MemoryPartitionLog {
    async fn append(&self, message: Message) -> Result<Sequence, StoreError> {
        let sequence = {
            let mut state = self.0.lock();
            state.check_up()?;
            if state.messages.len() >= MAX_PENDING {
                return Err(StoreError::plain(ErrorKind::Unavailable));
            }
            state.last += 1;
            let sequence = Sequence(state.last);
            state.messages.insert(sequence, Arc::new(Message { sequence, ..message }));
            sequence
        };
        self.0.changed.notify_waiters();
        Ok(sequence)
    }
}

#[derive(Debug)]
struct MemoryReader {
    shared: Arc<Shared>,
    owner: u64,
    next: Sequence,
    lost: Vec<Range<Sequence>>,
    newer: Vec<Sequence>,
}

#[async_trait]
impl LogReader for MemoryReader {
    async fn seek(&mut self, from: Sequence) -> Result<Sequence, StoreError> {
        let state = self.shared.lock();
        state.check_up()?;
        self.next = from;
        Ok(Sequence(state.last + 1))
    }

    async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        loop {
            // Listening begins before looking: an append between the two is not missed.
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            {
                let state = self.shared.lock();
                if state.owner != self.owner {
                    return Ok(Vec::new());
                }
                state.check_up()?;
                if self.next < state.first {
                    self.lost.push(self.next..state.first);
                    self.next = state.first;
                }
                let ahead = state.messages.range(self.next..).take(limit.max(1));
                let batch: Vec<_> = ahead.map(|(_, message)| Arc::clone(message)).collect();
                if let Some(last) = batch.last() {
                    self.newer.extend(state.newer.range(self.next..last.sequence));
                    self.next = Sequence(last.sequence.0 + 1);
                    return Ok(batch);
                }
                let newer = self.newer.len();
                self.newer.extend(state.newer.range(self.next..));
                if self.newer.len() > newer {
                    self.next = Sequence(state.last + 1);
                    return Ok(batch);
                }
            }
            changed.await;
        }
    }

    fn take_lost(&mut self) -> Vec<Range<Sequence>> {
        std::mem::take(&mut self.lost)
    }

    fn newer(&mut self) -> Vec<Sequence> {
        std::mem::take(&mut self.newer)
    }
}

#[derive(Debug)]
struct MemoryOffsets {
    shared: Arc<Shared>,
    owner: u64,
}

#[async_trait]
impl Offsets for MemoryOffsets {
    async fn committed(&self) -> Result<Option<Commit>, StoreError> {
        let state = self.shared.lock();
        state.check_up()?;
        Ok(state.committed.clone())
    }

    async fn end(&self) -> Result<Sequence, StoreError> {
        let state = self.shared.lock();
        state.check_up()?;
        Ok(Sequence(state.last + 1))
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let mut state = self.shared.lock();
        state.check_up()?;
        if state.owner != self.owner {
            return Err(StoreError::plain(ErrorKind::Closed));
        }
        if commit.note.len() > Commit::MAX_NOTE || !commit.note.bytes().all(|octet| octet.is_ascii_graphic())
        {
            return Err(StoreError::new(ErrorKind::Corrupt, "a note is printable ascii of a bounded length"));
        }
        state.committed = Some(commit);
        Ok(())
    }
}
