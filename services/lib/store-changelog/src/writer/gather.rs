use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

use futures_util::future::try_join_all;
use pushgrid_store::{Footing, StoredMessage, Subscription, View, ViewError};
use pushgrid_types::{ChannelId, MessageId, Timestamp, Topic, UserAgentId};

use crate::operation::Operation;

type Channel = (UserAgentId, ChannelId);
type OfTopic = (UserAgentId, ChannelId, Topic);

/// What the operations of a cycle need to know, each question once.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Which subscription these have.
    channels: Vec<Channel>,
    /// What waits under these ids.
    ids: Vec<(UserAgentId, MessageId)>,
    /// What waits in these topics.
    topics: Vec<OfTopic>,
    /// All that waits in these.
    whole: Vec<Channel>,
    /// What is expired.
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
    pub(super) due: VecDeque<Vec<(UserAgentId, StoredMessage)>>,
}

impl Questions {
    pub(super) fn of(operations: &[Operation]) -> Self {
        let mut questions = Self::default();
        for operation in operations {
            questions.add(operation);
        }
        once(&mut questions.channels);
        once(&mut questions.ids);
        once(&mut questions.topics);
        once(&mut questions.whole);
        questions
    }

    fn add(&mut self, operation: &Operation) {
        match operation {
            Operation::Store { messages, .. } => {
                for message in messages {
                    let to = message.to;
                    self.channels.push((to.user_agent, to.channel));
                    self.ids.push((to.user_agent, message.id));
                    self.topics.extend(message.topic.clone().map(|topic| (to.user_agent, to.channel, topic)));
                }
            }
            Operation::Settle { user_agent, ended, .. } => {
                self.ids.extend(ended.iter().map(|(id, _)| (*user_agent, *id)));
            }
            Operation::Purge { user_agent, channel, .. } => self.whole.push((*user_agent, *channel)),
            Operation::Expire { now, limit, .. } => self.due.push((*now, *limit)),
            Operation::Put { new, .. } => {
                let channel = (new.id.user_agent, new.id.channel);
                self.channels.push(channel);
                self.whole.push(channel);
            }
            Operation::Remove { user_agent, channel, .. } => self.channels.push((*user_agent, *channel)),
            Operation::Flush { .. } => {}
        }
    }

    /// Asks them all at the same time.
    pub(super) async fn ask(&self, view: &dyn View, footing: Footing) -> Result<Known, ViewError> {
        let subscriptions = async {
            if self.channels.is_empty() { Ok(Vec::new()) } else { view.find(footing, &self.channels).await }
        };
        let stored = async {
            if self.ids.is_empty() { Ok(Vec::new()) } else { view.stored(footing, &self.ids).await }
        };
        let topics = async {
            if self.topics.is_empty() { Ok(Vec::new()) } else { view.in_topic(footing, &self.topics).await }
        };
        let whole = try_join_all(self.whole.iter().map(|(of, on)| view.in_channel(footing, *of, *on)));
        let due = try_join_all(self.due.iter().map(|(now, limit)| view.due(footing, *now, *limit)));
        let (subscriptions, stored, topics, whole, due) =
            tokio::try_join!(subscriptions, stored, topics, whole, due)?;
        Ok(Known {
            subscriptions: pairs(&self.channels, subscriptions),
            stored: pairs(&self.ids, stored),
            topics: pairs(&self.topics, topics),
            whole: self.whole.iter().copied().zip(whole).collect(),
            due: due.into(),
        })
    }
}

/// Leaves out what was there before.
fn once<T: Eq + Hash + Clone>(questions: &mut Vec<T>) {
    let mut seen = HashSet::with_capacity(questions.len());
    questions.retain(|question| seen.insert(question.clone()));
}

fn pairs<Q: Eq + Hash + Clone, A>(questions: &[Q], answers: Vec<Option<A>>) -> HashMap<Q, A> {
    let answered = questions.iter().zip(answers);
    answered.filter_map(|(question, answer)| Some((question.clone(), answer?))).collect()
}
