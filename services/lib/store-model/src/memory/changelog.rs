use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_types::{LeaderEpoch, Partition, Position};

use super::MAX_PENDING;
use pushgrid_store::{
    Change, Changelog, ChangelogRecord, Entry, ErrorKind, History, Reading, RecordKey, StoreError,
    Unreadable, UnreadableCause,
};

/// The model of [`Changelog`], with faults to play. Cheap to clone: clones are the same changelog.
#[derive(Debug, Clone, Default)]
pub struct MemoryChangelog(Arc<Mutex<State>>);

/// Way of failing for an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFault {
    /// As [`ErrorKind::Unavailable`]: nothing was written.
    Unavailable,
    /// As [`ErrorKind::Unknown`], after at most this many changes, the first ones, were written all the same.
    Unknown {
        /// Number of changes written before the failure.
        written: usize,
    },
}

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<Partition, Vec<Record>>,
    label: u8,
    faults: VecDeque<AppendFault>,
    down: bool,
}

#[derive(Debug)]
struct Record {
    content: ChangelogRecord,
    /// Dropped by compaction.
    forgotten: bool,
}

impl MemoryChangelog {
    /// An empty changelog.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty changelog with an identity of its own for each label.
    pub fn labelled(label: u8) -> Self {
        let changelog = Self::default();
        changelog.lock().label = label;
        changelog
    }

    /// Writes an unreadable record, as a stranger or a newer release would. Answers its position.
    pub fn write_unreadable(
        &self,
        partition: Partition,
        key: Option<RecordKey>,
        cause: UnreadableCause,
    ) -> Position {
        let mut state = self.lock();
        let position = state.end(partition);
        state.put(
            partition,
            ChangelogRecord::Unreadable(Unreadable { position, key, cause, is_tombstone: false }),
        );
        position
    }

    /// The next append fails like this; several calls queue up.
    pub fn fail_next(&self, fault: AppendFault) {
        self.lock().faults.push_back(fault);
    }

    /// Takes the model down, or up again: while down every call fails as [`ErrorKind::Unavailable`].
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Forgets records undone by later ones, as compaction does: of the records before `to` the last of each
    /// key stays. Even the last is forgotten if it is an end and stands before `ends`. Claims stay for ever.
    pub fn compact(&self, partition: Partition, to: Position, ends: Position) {
        let mut state = self.lock();
        let mut seen = HashSet::new();
        let records = state.partitions.entry(partition).or_default();
        for record in records.iter_mut().rev().filter(|record| record.content.position() < to) {
            let Some((key, is_end)) = key(&record.content) else { continue };
            record.forgotten |= !seen.insert(key) || (is_end && record.content.position() < ends);
        }
    }

    /// Every change ever written, dropped by compaction or not.
    pub fn history(&self, partition: Partition) -> Vec<Entry> {
        let state = self.lock();
        let records = state.partitions.get(&partition).into_iter().flatten();
        let entries = records.filter_map(|record| match &record.content {
            ChangelogRecord::Entry(entry) => Some(entry.clone()),
            ChangelogRecord::Unreadable(_) => None,
        });
        entries.collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// The compaction key of a record, and whether the record is a tombstone.
fn key(record: &ChangelogRecord) -> Option<(RecordKey, bool)> {
    match record {
        ChangelogRecord::Entry(Entry { change, .. }) => {
            let is_end = matches!(change, Change::Unsubscribed(_) | Change::Ended { .. });
            Some((RecordKey::of(change)?, is_end))
        }
        ChangelogRecord::Unreadable(unreadable) => Some((unreadable.key?, false)),
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

    fn write(&mut self, partition: Partition, by: Option<LeaderEpoch>, change: Change) {
        let position = self.end(partition);
        let by = by.unwrap_or(LeaderEpoch(position.0 + 1));
        self.put(partition, ChangelogRecord::Entry(Entry { position, by, change }));
    }

    fn put(&mut self, partition: Partition, content: ChangelogRecord) {
        self.partitions.entry(partition).or_default().push(Record { content, forgotten: false });
    }
}

#[async_trait]
impl Changelog for MemoryChangelog {
    async fn claim(&self, partition: Partition) -> Result<LeaderEpoch, StoreError> {
        let mut state = self.lock();
        state.check_up()?;
        state.write(partition, None, Change::Claimed);
        Ok(LeaderEpoch(state.end(partition).0))
    }

    async fn append(
        &self,
        partition: Partition,
        by: LeaderEpoch,
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

    async fn history(&self, partition: Partition) -> Result<History, StoreError> {
        let state = self.lock();
        state.check_up()?;
        let [high, low] = partition.0.to_be_bytes();
        let mut history = History([1; History::SIZE]);
        history.0[..3].copy_from_slice(&[state.label, high, low]);
        Ok(history)
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
    async fn next(&mut self, limit: usize) -> Result<Vec<ChangelogRecord>, StoreError> {
        let state = self.changelog.lock();
        state.check_up()?;
        let records = state.partitions.get(&self.partition).map_or(&[][..], Vec::as_slice);
        let ahead = records.iter().filter(|it| (self.at..self.end).contains(&it.content.position()));
        let next: Vec<_> =
            ahead.filter(|it| !it.forgotten).take(limit.max(1)).map(|it| it.content.clone()).collect();
        self.at = next.last().map_or(self.end, |last| Position(last.position().0 + 1));
        Ok(next)
    }

    fn end(&self) -> Position {
        self.end
    }
}
