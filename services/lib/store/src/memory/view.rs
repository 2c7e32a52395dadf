mod held;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use pushgrid_types::{
    ChannelId, Message, MessageId, Partition, Position, Sequence, SubscriptionRef, Tenure, Timestamp, Topic,
    UserAgentId,
};

use crate::{
    Change, ErrorKind, Footing, PageLimit, StoreError, StoredMessage, Subscription, Usage, View, ViewError,
};
use held::{Held, Step};

/// How many of the last steps can be lost one by one.
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
}

/// One partition, as it is and as it came to be.
#[derive(Debug, Default)]
struct Share {
    held: Held,
    /// What it was before the steps.
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

    fn check(&self, footing: Footing) -> Result<(), ViewError> {
        if self.held.tenure > footing.tenure {
            return Err(ViewError::Fenced);
        }
        if self.held.position < footing.position {
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

    /// Forgets all partitions, tenures included.
    pub fn lose_everything(&self) {
        self.lock().partitions.clear();
    }

    /// Forgets the last `steps` of what it was told, tenures included: each call that changed something is one. At
    /// most the last 1024 can be forgotten.
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

    /// While it is down every call fails as [`ErrorKind::Unavailable`].
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// The next `calls` of [`View::apply`] take place, and fail as [`ErrorKind::Unknown`] all the same.
    pub fn lose_answers(&self, calls: usize) {
        self.lock().unanswered = calls;
    }

    /// Whether others than the owner may believe it when it says no.
    pub fn is_complete(&self, partition: Partition) -> bool {
        self.lock().partitions.get(&partition).is_some_and(|share| share.held.complete)
    }

    /// How many calls of [`View::apply`] have changed something.
    pub fn applies(&self) -> u64 {
        self.lock().applies
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `ask` finds, if the footing holds.
    fn ask<T>(&self, footing: Footing, ask: impl FnOnce(&Held) -> T) -> Result<T, ViewError> {
        let mut state = self.lock();
        let share = state.share(footing.partition)?;
        share.check(footing)?;
        Ok(ask(&share.held))
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
    async fn begin(&self, partition: Partition, tenure: Tenure) -> Result<Position, ViewError> {
        let mut state = self.lock();
        let share = state.share(partition)?;
        if share.held.tenure > tenure {
            return Err(ViewError::Fenced);
        }
        if share.held.tenure < tenure {
            share.take(Step::Begun(tenure));
        }
        Ok(share.held.position)
    }

    async fn apply(&self, footing: Footing, changes: &[Change], to: Position) -> Result<(), ViewError> {
        let mut state = self.lock();
        let share = state.share(footing.partition)?;
        if share.held.tenure > footing.tenure {
            return Err(ViewError::Fenced);
        }
        if share.held.position == to {
            return Ok(());
        }
        if share.held.position != footing.position {
            return Err(ViewError::Behind(share.held.position));
        }
        share.take(Step::Told { by: footing.tenure, changes: changes.to_vec(), to });
        state.applies += 1;
        if state.unanswered > 0 {
            state.unanswered -= 1;
            return Err(StoreError::plain(ErrorKind::Unknown).into());
        }
        Ok(())
    }

    async fn complete(&self, footing: Footing) -> Result<(), ViewError> {
        let mut state = self.lock();
        let share = state.share(footing.partition)?;
        share.check(footing)?;
        if !share.held.complete {
            share.take(Step::Completed);
        }
        Ok(())
    }

    async fn find(
        &self,
        footing: Footing,
        channels: &[(UserAgentId, ChannelId)],
    ) -> Result<Vec<Option<Subscription>>, ViewError> {
        self.ask(footing, |held| channels.iter().map(|it| held.subscriptions.get(it).copied()).collect())
    }

    async fn alive(&self, footing: Footing, ids: &[SubscriptionRef]) -> Result<Vec<bool>, ViewError> {
        self.ask(footing, |held| {
            let present = |id: &SubscriptionRef| held.subscriptions.get(&(id.user_agent, id.channel));
            ids.iter().map(|id| present(id).is_some_and(|there| there.id == *id)).collect()
        })
    }

    async fn count(&self, footing: Footing, user_agent: UserAgentId) -> Result<usize, ViewError> {
        self.ask(footing, |held| held.count(user_agent))
    }

    async fn stored(
        &self,
        footing: Footing,
        ids: &[(UserAgentId, MessageId)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError> {
        self.ask(footing, |held| ids.iter().map(|(of, id)| held.stored(*of, *id)).collect())
    }

    async fn in_topic(
        &self,
        footing: Footing,
        topics: &[(UserAgentId, ChannelId, Topic)],
    ) -> Result<Vec<Option<StoredMessage>>, ViewError> {
        self.ask(footing, |held| {
            topics.iter().map(|(of, on, topic)| held.in_topic(*of, *on, topic)).collect()
        })
    }

    async fn in_channel(
        &self,
        footing: Footing,
        user_agent: UserAgentId,
        channel: ChannelId,
    ) -> Result<Vec<StoredMessage>, ViewError> {
        self.ask(footing, |held| held.in_channel(user_agent, channel))
    }

    async fn due(
        &self,
        footing: Footing,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(UserAgentId, StoredMessage)>, ViewError> {
        self.ask(footing, |held| held.due(now, limit))
    }

    async fn page(
        &self,
        footing: Footing,
        user_agent: UserAgentId,
        after: Sequence,
        now: Timestamp,
        limit: PageLimit,
    ) -> Result<Vec<Message>, ViewError> {
        self.ask(footing, |held| held.page(user_agent, after, now, limit))
    }

    async fn usage(&self, footing: Footing, user_agent: UserAgentId) -> Result<Usage, ViewError> {
        self.ask(footing, |held| held.usage(user_agent))
    }

    async fn waiting(&self, footing: Footing) -> Result<u64, ViewError> {
        self.ask(footing, Held::waiting)
    }
}
