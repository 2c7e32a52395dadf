mod held;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter::once;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_types::{
    ChannelId, LeaderEpoch, Message, MessageId, Partition, Position, ReplaceKey, SubscriptionRef, Timestamp,
    UserAgentId,
};

use held::{Held, Step};
use pushgrid_store::{
    Change, ErrorKind, History, Page, PageLimit, PageStart, ReadBarrier, Stamp, StoreError, StoredMessage,
    Subscription, SweepPlace, Usage, View, ViewError,
};

/// Number of last steps that can be lost one by one.
const STEPS: usize = 1024;

/// The model of [`View`], with faults to play. Cheap to clone: clones are the same view.
#[derive(Debug, Clone, Default)]
pub struct MemoryView(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    partitions: BTreeMap<Partition, Share>,
    down: bool,
    unanswered: usize,
    applies: u64,
    /// Further attempts, by user agent, to be failed at a restoration.
    unrestorable: BTreeMap<UserAgentId, usize>,
    /// Further attempts, by user agent, to be broken off before the last piece of a restoration.
    broken_off: BTreeMap<UserAgentId, usize>,
}

/// One partition, with its present state and the steps to it.
#[derive(Debug, Default)]
struct Share {
    held: Held,
    /// State before the steps.
    before: Held,
    steps: VecDeque<Step>,
}

impl Share {
    fn take(&mut self, step: Step) {
        self.held.play(&step);
        self.steps.push_back(step);
        if self.steps.len() > STEPS
            && let Some(oldest) = self.steps.pop_front()
        {
            self.before.play(&oldest);
        }
    }

    fn check(&self, barrier: ReadBarrier) -> Result<(), ViewError> {
        if self.held.leader_epoch > barrier.leader_epoch {
            return Err(ViewError::Fenced);
        }
        if self.held.position < barrier.position {
            return Err(ViewError::Behind(self.held.position));
        }
        Ok(())
    }
}

impl MemoryView {
    /// An empty view.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all partitions, leader epochs included.
    pub fn lose_everything(&self) {
        self.lock().partitions.clear();
    }

    /// Forgets the last `steps`, leader epochs included: each call with a change is one. At most the last
    /// 1024 can be forgotten.
    pub fn lose_last(&self, partition: Partition, steps: usize) {
        let mut state = self.lock();
        let share = state.partitions.entry(partition).or_default();
        let kept = share.steps.len().saturating_sub(steps);
        share.steps.truncate(kept);
        share.held = share.before.clone();
        share.steps.iter().for_each(|step| share.held.play(step));
    }

    /// From now on [`Self::lose_last`] does not go back behind this moment. Answers where the view is.
    pub fn save(&self, partition: Partition) -> Position {
        let mut state = self.lock();
        let share = state.partitions.entry(partition).or_default();
        share.steps.clear();
        share.before = share.held.clone();
        share.held.position
    }

    /// Takes the model down, or up again: while down every call fails as [`ErrorKind::Unavailable`].
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// The next `calls` of [`View::apply`] take place, and fail as [`ErrorKind::Unknown`] all the same.
    pub fn lose_answers(&self, calls: usize) {
        self.lock().unanswered = calls;
    }

    /// Makes the state of a user agent unreadable, and fails the next `restores` attempts at a restoration.
    pub fn spoil(&self, partition: Partition, user_agent: UserAgentId, restores: usize) {
        let mut state = self.lock();
        state.unrestorable.insert(user_agent, restores);
        state.partitions.entry(partition).or_default().take(Step::SetAside(user_agent));
    }

    /// The last piece of the next `restores` tries to restore a user agent fails as
    /// [`ErrorKind::Unavailable`].
    pub fn break_off(&self, user_agent: UserAgentId, restores: usize) {
        self.lock().broken_off.insert(user_agent, restores);
    }

    /// Tells whether readers other than the owner may trust a negative answer.
    pub fn is_complete(&self, partition: Partition) -> bool {
        self.lock().partitions.get(&partition).is_some_and(|share| share.held.complete)
    }

    /// Number of calls of [`View::apply`] that changed something.
    pub fn applies(&self) -> u64 {
        self.lock().applies
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Answer of `ask`, if the read barrier holds.
    fn ask<T>(&self, barrier: ReadBarrier, ask: impl FnOnce(&Held) -> T) -> Result<T, ViewError> {
        self.ask_of(barrier, std::iter::empty(), ask)
    }

    /// Answer of `ask` about user agents none of whom is set aside.
    fn ask_of<T>(
        &self,
        barrier: ReadBarrier,
        user_agents: impl Iterator<Item = UserAgentId>,
        ask: impl FnOnce(&Held) -> T,
    ) -> Result<T, ViewError> {
        let mut state = self.lock();
        let share = state.share(barrier.partition)?;
        share.check(barrier)?;
        let aside: BTreeSet<_> = user_agents.filter(|of| share.held.aside.contains(of)).collect();
        if aside.is_empty() {
            Ok(ask(&share.held))
        } else {
            Err(ViewError::Unreadable(aside.into_iter().collect()))
        }
    }
}

impl State {
    fn share(&mut self, partition: Partition) -> Result<&mut Share, ViewError> {
        if self.down {
            return Err(StoreError::plain(ErrorKind::Unavailable).into());
        }
        Ok(self.partitions.entry(partition).or_default())
    }
}

#[async_trait]
impl View for MemoryView {
    async fn begin(&self, partition: Partition, leader_epoch: LeaderEpoch) -> Result<Position, ViewError> {
        let mut state = self.lock();
        let share = state.share(partition)?;
        if share.held.leader_epoch > leader_epoch {
            return Err(ViewError::Fenced);
        }
        if share.held.leader_epoch < leader_epoch {
            share.take(Step::Begun(leader_epoch));
        }
        Ok(share.held.position)
    }

    async fn stamp(&self, partition: Partition) -> Result<Option<Stamp>, ViewError> {
        let mut state = self.lock();
        let held = &state.share(partition)?.held;
        let stamp = Stamp { history: held.history, leader_epoch: held.leader_epoch, position: held.position };
        Ok((held.leader_epoch > LeaderEpoch(0)).then_some(stamp))
    }

    async fn sign(
        &self,
        partition: Partition,
        leader_epoch: LeaderEpoch,
        history: History,
    ) -> Result<(), ViewError> {
        let mut state = self.lock();
        let share = state.share(partition)?;
        if share.held.leader_epoch > leader_epoch {
            return Err(ViewError::Fenced);
        }
        if share.held.leader_epoch > LeaderEpoch(0) && share.held.history != Some(history) {
            share.take(Step::Signed(history));
        }
        Ok(())
    }

    async fn discard(
        &self,
        partition: Partition,
        leader_epoch: LeaderEpoch,
        history: History,
    ) -> Result<(), ViewError> {
        let mut state = self.lock();
        let share = state.share(partition)?;
        *share = Share::default();
        share.take(Step::Begun(leader_epoch));
        share.take(Step::Signed(history));
        Ok(())
    }

    async fn apply(&self, barrier: ReadBarrier, changes: &[Change], to: Position) -> Result<(), ViewError> {
        let mut state = self.lock();
        let share = state.share(barrier.partition)?;
        if share.held.leader_epoch > barrier.leader_epoch {
            return Err(ViewError::Fenced);
        }
        if share.held.position == to {
            return Ok(());
        }
        if share.held.position != barrier.position {
            return Err(ViewError::Behind(share.held.position));
        }
        share.take(Step::Told { by: barrier.leader_epoch, changes: changes.to_vec(), to });
        state.applies += 1;
        if state.unanswered > 0 {
            state.unanswered -= 1;
            return Err(StoreError::plain(ErrorKind::Unknown).into());
        }
        Ok(())
    }

    async fn complete(&self, barrier: ReadBarrier) -> Result<Vec<UserAgentId>, ViewError> {
        let mut state = self.lock();
        let share = state.share(barrier.partition)?;
        share.check(barrier)?;
        if !share.held.complete {
            share.take(Step::Completed);
        }
        Ok(share.held.aside.iter().copied().collect())
    }

    async fn set_aside(&self, barrier: ReadBarrier, user_agents: &[UserAgentId]) -> Result<(), ViewError> {
        let mut state = self.lock();
        let share = state.share(barrier.partition)?;
        share.check(barrier)?;
        for user_agent in user_agents {
            share.take(Step::SetAside(*user_agent));
        }
        Ok(())
    }

    async fn restore(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        changes: &[Change],
        whole: bool,
    ) -> Result<(), ViewError> {
        let mut state = self.lock();
        let share = state.share(barrier.partition)?;
        share.check(barrier)?;
        if share.held.position != barrier.position {
            return Err(ViewError::Behind(share.held.position));
        }
        if !share.held.aside.contains(&user_agent) {
            return Ok(());
        }
        if whole && let Some(left) = state.broken_off.get_mut(&user_agent).filter(|left| **left > 0) {
            *left -= 1;
            return Err(StoreError::plain(ErrorKind::Unavailable).into());
        }
        if let Some(left) = state.unrestorable.get_mut(&user_agent).filter(|left| **left > 0) {
            *left -= 1;
            state.share(barrier.partition)?.take(Step::SetAside(user_agent));
            return Err(ViewError::Unreadable(vec![user_agent]));
        }
        let restored = Step::Restored { user_agent, changes: changes.to_vec(), whole };
        state.share(barrier.partition)?.take(restored);
        Ok(())
    }

    async fn find(
        &self,
        barrier: ReadBarrier,
        channels: &[(UserAgentId, ChannelId)],
    ) -> Result<Vec<Option<Subscription>>, ViewError> {
        let whose = channels.iter().map(|(of, _)| *of);
        self.ask_of(barrier, whose, |held| {
            channels.iter().map(|it| held.subscriptions.get(it).cloned()).collect()
        })
    }

    async fn alive(&self, barrier: ReadBarrier, ids: &[SubscriptionRef]) -> Result<Vec<bool>, ViewError> {
        self.ask_of(barrier, ids.iter().map(|id| id.user_agent), |held| {
            let present = |id: &SubscriptionRef| held.subscriptions.get(&(id.user_agent, id.channel));
            ids.iter().map(|id| present(id).is_some_and(|there| there.id == *id)).collect()
        })
    }

    async fn count(&self, barrier: ReadBarrier, user_agent: UserAgentId) -> Result<usize, ViewError> {
        self.ask_of(barrier, once(user_agent), |held| held.count(user_agent))
    }

    async fn all(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
    ) -> Result<Vec<Subscription>, ViewError> {
        self.ask_of(barrier, once(user_agent), |held| held.all(user_agent).collect())
    }

    async fn sweep(
        &self,
        barrier: ReadBarrier,
        from: Option<SweepPlace>,
    ) -> Result<(Vec<Subscription>, Option<SweepPlace>), ViewError> {
        self.ask(barrier, |held| held.sweep(from.as_ref()))
    }

    async fn webhooks(
        &self,
        barrier: ReadBarrier,
        after: Option<UserAgentId>,
        limit: usize,
    ) -> Result<Vec<UserAgentId>, ViewError> {
        self.ask(barrier, |held| held.webhooks(after, limit))
    }

    async fn message(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        id: MessageId,
    ) -> Result<Option<Message>, ViewError> {
        self.ask_of(barrier, once(user_agent), |held| held.message(user_agent, id))
    }

    async fn stored(
        &self,
        barrier: ReadBarrier,
        ids: &[(UserAgentId, MessageId)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError> {
        let whose = ids.iter().map(|(of, _)| *of);
        self.ask_of(barrier, whose, |held| ids.iter().map(|(of, id)| held.stored(*of, *id)).collect())
    }

    async fn in_topic(
        &self,
        barrier: ReadBarrier,
        topics: &[(UserAgentId, ChannelId, ReplaceKey)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError> {
        self.ask_of(barrier, topics.iter().map(|(of, _, _)| *of), |held| {
            topics.iter().map(|(of, on, topic)| held.in_topic(*of, *on, topic)).collect()
        })
    }

    async fn in_channel(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<Vec<StoredMessage>, ViewError> {
        self.ask_of(barrier, once(user_agent), |held| held.in_channel(user_agent, channel))
    }

    async fn due(
        &self,
        barrier: ReadBarrier,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<StoredMessage>, ViewError> {
        self.ask(barrier, |held| held.due(now, limit))
    }

    async fn page(
        &self,
        barrier: ReadBarrier,
        user_agent: UserAgentId,
        start: PageStart,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Page, ViewError> {
        self.ask_of(barrier, once(user_agent), |held| held.page(user_agent, &start, now, limit))
    }

    async fn usage(&self, barrier: ReadBarrier, user_agent: UserAgentId) -> Result<Usage, ViewError> {
        self.ask_of(barrier, once(user_agent), |held| held.usage(user_agent))
    }

    async fn waiting(&self, barrier: ReadBarrier) -> Result<u64, ViewError> {
        self.ask(barrier, Held::waiting)
    }
}
