use std::convert::Infallible;
use std::sync::Arc;

use pushgrid_mailbox::{Cause, Change, Decision, Facts, Place, REPEAT, judge};
use pushgrid_store::{self as store, ErrorKind, StoreError, Stored, StoredMessage};
use pushgrid_types::{Message, Outcome, ReplaceKey, Sequence, SubscriptionRef};

use super::{Draft, Fresh};

impl Draft<'_> {
    pub(super) fn store_all(&mut self, messages: &[Arc<Message>]) -> Result<Vec<Stored>, StoreError> {
        let were_read = {
            let tracker = self.core.tracker();
            messages.iter().all(|message| tracker.was_read(message.sequence))
        };
        if !were_read {
            return Err(StoreError::new(ErrorKind::Corrupt, "a message to store was never in the log"));
        }
        Ok(messages.iter().map(|message| self.store(message)).collect())
    }

    fn store(&mut self, message: &Arc<Message>) -> Stored {
        let to = message.to;
        if self.known.aside.contains(&to.user_agent) {
            // What waits already is not known. It is judged when the user agent is restored.
            if self.start(message) {
                self.keep(message);
            }
            return Stored::Kept;
        }
        let Ok(Decision { answer, change }) = judge(message, self);
        match change {
            Some(Change::Keep { replaces }) => {
                if let Some(older) = replaces {
                    self.end(older, Cause::Replaced);
                }
                self.keep(message);
            }
            Some(Change::Moved) => self.entered.moved.push(message.sequence),
            Some(Change::End(outcome)) => self.end_on_arrival(message, outcome),
            Some(Change::EndRepeat) => {
                self.entered.repeats.push(message.sequence);
                self.tell(store::End::of(message, REPEAT));
            }
            None => {}
        }
        answer
    }

    fn start(&self, message: &Message) -> bool {
        self.core.tracker().start_moving(message.sequence)
    }

    fn record(&self, message: &Message) -> StoredMessage {
        StoredMessage::of(message, self.core.context.leader_epoch)
    }

    fn keep(&mut self, message: &Arc<Message>) {
        let (to, stored) = (message.to, self.record(message));
        let fresh = Fresh { index: self.changes.len(), stored };
        self.fresh.insert(message.sequence, fresh);
        self.known.stored.insert((to.user_agent, message.id), stored);
        if let Some(topic) = message.topic.clone() {
            self.known.topics.insert((to.user_agent, to.channel, topic), stored);
        }
        self.entered.moved.push(message.sequence);
        self.changes.push(store::Change::Stored { message: Arc::clone(message), since: stored.since });
    }

    /// Ends a message on arrival. Written down, because after a crash the message in its place may be gone as
    /// well.
    fn end_on_arrival(&mut self, message: &Message, outcome: Outcome) {
        let stored = self.record(message);
        self.entered.moved.push(message.sequence);
        self.end_as(stored, outcome);
    }
}

/// The answers of the view, and the changes of the cycle since.
impl Facts for Draft<'_> {
    type Stored = StoredMessage;
    type Error = Infallible;

    /// Takes the message for this cycle, if it is in the log.
    fn place(&mut self, message: &Message) -> Result<Place, Infallible> {
        let in_mailbox = self.stored(message.to.user_agent, message.id).map(|stored| stored.sequence);
        Ok(Place { in_log: self.start(message), in_mailbox })
    }

    fn is_alive(&mut self, subscription: SubscriptionRef) -> Result<bool, Infallible> {
        let there = self.subscription(subscription.user_agent, subscription.channel);
        let is_present = there.is_some_and(|there| there.id == subscription);
        Ok(is_present || self.core.context.unreadable.has_newer(&subscription))
    }

    fn in_topic(
        &mut self,
        subscription: SubscriptionRef,
        topic: &ReplaceKey,
    ) -> Result<Option<(Sequence, StoredMessage)>, Infallible> {
        let SubscriptionRef { user_agent, channel, .. } = subscription;
        Ok(self.waiting_in_topic(user_agent, channel, topic).map(|stored| (stored.sequence, stored)))
    }
}
