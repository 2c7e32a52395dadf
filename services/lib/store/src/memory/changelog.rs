use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pushgrid_types::{ChannelId, Incarnation, MessageId, Partition, Position, Tenure, UserAgentId};

use super::MAX_PENDING;
use crate::{Change, Changelog, Entry, ErrorKind, Reading, StoreError};

/// The model of [`Changelog`], with faults to play. Cheap to clone: clones are the same changelog.
#[derive(Debug, Clone, Default)]
pub struct MemoryChangelog(Arc<Mutex<State>>);

/// How an append is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFault {
    /// As [`ErrorKind::Unavailable`]: nothing was written.
    Unavailable,
    /// As [`ErrorKind::Unknown`], after at most this many changes, the first ones, were written all the same.
    Unknown {
        /// How many.
        written: usize,
    },
}

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<Partition, Vec<Record>>,
    faults: VecDeque<AppendFault>,
    down: bool,
}

#[derive(Debug)]
struct Record {
    entry: Entry,
    /// Compaction has forgotten it.
    forgotten: bool,
}

/// What compaction goes by: a later record takes the place of an earlier one with the same key, whoever wrote it.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Subscription(UserAgentId, ChannelId, Incarnation),
    Message(UserAgentId, MessageId, Tenure),
}

impl MemoryChangelog {
    /// An empty changelog.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next append fails like this; several calls queue up.
    pub fn fail_next(&self, fault: AppendFault) {
        self.lock().faults.push_back(fault);
    }

    /// While it is down every call fails as [`ErrorKind::Unavailable`].
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Forgets what later records have undone, as compaction does: of the records before `to` the last of each key
    /// stays, and not even that if it ends something and stands before `ends`. Claims stay for ever.
    pub fn compact(&self, partition: Partition, to: Position, ends: Position) {
        let mut state = self.lock();
        let mut seen = HashSet::new();
        let records = state.partitions.entry(partition).or_default();
        for record in records.iter_mut().rev().filter(|record| record.entry.position < to) {
            let Some((key, is_end)) = key(&record.entry.change) else { continue };
            record.forgotten |= !seen.insert(key) || (is_end && record.entry.position < ends);
        }
    }

    /// Everything that was ever written, also what compaction has forgotten.
    pub fn history(&self, partition: Partition) -> Vec<Entry> {
        let state = self.lock();
        state.partitions.get(&partition).into_iter().flatten().map(|record| record.entry.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of a change, and whether it ends something. A claim has a key of its own.
fn key(change: &Change) -> Option<(Key, bool)> {
    match change {
        Change::Claimed => None,
        Change::Subscribed(made) => {
            Some((Key::Subscription(made.id.user_agent, made.id.channel, made.id.incarnation), false))
        }
        Change::Unsubscribed(id) => {
            Some((Key::Subscription(id.user_agent, id.channel, id.incarnation), true))
        }
        Change::Stored { message, since } => {
            Some((Key::Message(message.to.user_agent, message.id, *since), false))
        }
        Change::Ended { user_agent, stored, .. } => {
            Some((Key::Message(*user_agent, stored.id, stored.since), true))
        }
    }
}

impl State {
    fn check_up(&self) -> Result<(), StoreError> {
        if self.down { Err(StoreError::plain(ErrorKind::Unavailable)) } else { Ok(()) }
    }

    fn end(&self, partition: Partition) -> Position {
        let records = self.partitions.get(&partition).map_or(0, Vec::len);
        Position(u64::try_from(records).expect("a count of things in memory fits 64 bits"))
    }

    fn write(&mut self, partition: Partition, by: Option<Tenure>, change: Change) {
        let position = self.end(partition);
        let by = by.unwrap_or(Tenure(position.0 + 1));
        let record = Record { entry: Entry { position, by, change }, forgotten: false };
        self.partitions.entry(partition).or_default().push(record);
    }
}

#[async_trait]
impl Changelog for MemoryChangelog {
    async fn claim(&self, partition: Partition) -> Result<Tenure, StoreError> {
        let mut state = self.lock();
        state.check_up()?;
        state.write(partition, None, Change::Claimed);
        Ok(Tenure(state.end(partition).0))
    }

    async fn append(
        &self,
        partition: Partition,
        by: Tenure,
        changes: Vec<Change>,
    ) -> Result<Position, StoreError> {
        let mut state = self.lock();
        state.check_up()?;
        let held = state.partitions.get(&partition).map_or(0, Vec::len);
        if held + changes.len() > MAX_PENDING {
            return Err(StoreError::plain(ErrorKind::Unavailable));
        }
        let fault = state.faults.pop_front();
        let written = match fault {
            None => usize::MAX,
            Some(AppendFault::Unavailable) => 0,
            Some(AppendFault::Unknown { written }) => written,
        };
        for change in changes.into_iter().take(written) {
            state.write(partition, Some(by), change);
        }
        match fault {
            None => Ok(state.end(partition)),
            Some(AppendFault::Unavailable) => Err(StoreError::plain(ErrorKind::Unavailable)),
            Some(AppendFault::Unknown { .. }) => Err(StoreError::plain(ErrorKind::Unknown)),
        }
    }

    async fn read(&self, partition: Partition, from: Position) -> Result<Box<dyn Reading>, StoreError> {
        let state = self.lock();
        state.check_up()?;
        let end = state.end(partition);
        Ok(Box::new(MemoryReading { changelog: self.clone(), partition, at: from, end }))
    }
}

#[derive(Debug)]
struct MemoryReading {
    changelog: MemoryChangelog,
    partition: Partition,
    at: Position,
    end: Position,
}

#[async_trait]
impl Reading for MemoryReading {
    async fn next(&mut self, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let state = self.changelog.lock();
        state.check_up()?;
        let records = state.partitions.get(&self.partition).map_or(&[][..], Vec::as_slice);
        let ahead = records.iter().filter(|it| (self.at..self.end).contains(&it.entry.position));
        let next: Vec<_> =
            ahead.filter(|it| !it.forgotten).take(limit.max(1)).map(|it| it.entry.clone()).collect();
        self.at = next.last().map_or(self.end, |last| Position(last.position.0 + 1));
        Ok(next)
    }

    fn end(&self) -> Position {
        self.end
    }
}
