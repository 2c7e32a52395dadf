use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;

use futures_util::future::try_join_all;
use pushgrid_store::{ReadBarrier, StoredMessage, Subscription, View, ViewError};
use pushgrid_types::{ChannelId, MessageId, ReplaceKey, Timestamp, UserAgentId};

use crate::operation::Operation;

type Channel = (UserAgentId, ChannelId);
type OfTopic = (UserAgentId, ChannelId, ReplaceKey);

/// Questions of the operations of a cycle, each once.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Channels, for the subscription of each.
    channels: Vec<Channel>,
    /// Ids, for the message waiting under each.
    ids: Vec<(UserAgentId, MessageId)>,
    /// Topics, for the message waiting in each.
    topics: Vec<OfTopic>,
    /// Channels, for all messages waiting in each.
    whole: Vec<Channel>,
    /// Instants and limits, for the expired messages.
    due: Vec<(Timestamp, usize)>,
}

/// The answers.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) subscriptions: HashMap<Channel, Subscription>,
    pub(super) stored: HashMap<(UserAgentId, MessageId), StoredMessage>,
    pub(super) topics: HashMap<OfTopic, StoredMessage>,
    pub(super) whole: HashMap<Channel, Vec<StoredMessage>>,
    /// In the order of the operations.
    pub(super) due: VecDeque<Vec<StoredMessage>>,
    /// User agents left out of the questions.
    pub(super) aside: BTreeSet<UserAgentId>,
}

impl Questions {
    /// Those about `aside` are left out.
    pub(super) fn of(operations: &[Operation], aside: &BTreeSet<UserAgentId>) -> Self {
        let mut questions = Self::default();
        for operation in operations {
            questions.add(operation, aside);
        }
        once(&mut questions.channels);
        once(&mut questions.ids);
        once(&mut questions.topics);
        once(&mut questions.whole);
        questions
    }

    fn add(&mut self, operation: &Operation, aside: &BTreeSet<UserAgentId>) {
        match operation {
            Operation::Store { messages, .. } => {
                for message in messages.iter().filter(|message| !aside.contains(&message.to.user_agent)) {
                    let to = message.to;
                    self.channels.push((to.user_agent, to.channel));
                    self.ids.push((to.user_agent, message.id));
                    self.topics.extend(message.topic.clone().map(|topic| (to.user_agent, to.channel, topic)));
                }
            }
            Operation::Settle { user_agent, ended, .. } => {
                self.ids.extend(ended.iter().map(|(id, _)| (*user_agent, *id)));
            }
            Operation::Expire { now, limit, .. } => self.due.push((*now, *limit)),
            Operation::Put { new, .. } => {
                let channel = (new.id.user_agent, new.id.channel);
                self.channels.push(channel);
                self.whole.push(channel);
            }
            Operation::Remove { user_agent, channel, .. } => {
                self.channels.push((*user_agent, *channel));
                self.whole.push((*user_agent, *channel));
            }
            Operation::Flush { .. } => {}
        }
    }

    /// Asks all questions at the same time.
    pub(super) async fn ask(&self, view: &dyn View, barrier: ReadBarrier) -> Result<Known, ViewError> {
        let subscriptions = async {
            if self.channels.is_empty() { Ok(Vec::new()) } else { view.find(barrier, &self.channels).await }
        };
        let stored = async {
            if self.ids.is_empty() { Ok(Vec::new()) } else { view.stored(barrier, &self.ids).await }
        };
        let topics = async {
            if self.topics.is_empty() { Ok(Vec::new()) } else { view.in_topic(barrier, &self.topics).await }
        };
        let whole = try_join_all(self.whole.iter().map(|(of, on)| view.in_channel(barrier, *of, *on)));
        let due = try_join_all(self.due.iter().map(|(now, limit)| view.due(barrier, *now, *limit)));
        let (subscriptions, stored, topics, whole, due) =
            tokio::try_join!(subscriptions, stored, topics, whole, due)?;
        Ok(Known {
            subscriptions: pairs(&self.channels, subscriptions),
            stored: pairs(&self.ids, stored),
            topics: pairs(&self.topics, topics),
            whole: self.whole.iter().copied().zip(whole).collect(),
            due: due.into(),
            aside: BTreeSet::new(),
        })
    }
}

/// Removes repeated questions.
fn once<T: Eq + Hash + Clone>(questions: &mut Vec<T>) {
    let mut seen = HashSet::with_capacity(questions.len());
    questions.retain(|question| seen.insert(question.clone()));
}

fn pairs<Q: Eq + Hash + Clone, A>(questions: &[Q], answers: Vec<Option<A>>) -> HashMap<Q, A> {
    let answered = questions.iter().zip(answers);
    answered.filter_map(|(question, answer)| Some((question.clone(), answer?))).collect()
}
