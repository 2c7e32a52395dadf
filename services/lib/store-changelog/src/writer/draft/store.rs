use std::sync::Arc;

use pushgrid_store::{Change, ErrorKind, StoreError, Stored, StoredMessage};
use pushgrid_types::{Message, Outcome};

use super::{Draft, Fresh};
use crate::tracker::REPEAT;

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

    /// A message that has ended before is judged like any other, and nothing is changed: so a call that is repeated
    /// gets the answers of the first.
    fn store(&mut self, message: &Arc<Message>) -> Stored {
        let to = message.to;
        match self.stored(to.user_agent, message.id) {
            Some(waits) if waits.sequence == message.sequence => {
                if self.start(message) {
                    self.entered.moved.push(message.sequence);
                }
                return Stored::Kept;
            }
            Some(_) => {
                // The log has the same message twice. One waits, and that is enough.
                if self.start(message) {
                    self.entered.repeats.push(message.sequence);
                }
                return Stored::Ended(REPEAT);
            }
            None => {}
        }
        let subscription = self.subscription(to.user_agent, to.channel);
        if subscription.is_none_or(|subscription| subscription.id != to) {
            return self.end_on_arrival(message, Outcome::Unsubscribed);
        }
        let topic = message.topic.as_ref();
        let rival = topic.and_then(|topic| self.in_topic(to.user_agent, to.channel, topic));
        if rival.is_some_and(|rival| rival.sequence > message.sequence) {
            return self.end_on_arrival(message, Outcome::Replaced);
        }
        if self.start(message) {
            // The older one first: if only that is written, the newer one is still in the log.
            if let Some(rival) = rival {
                self.end(to.user_agent, rival, Outcome::Replaced);
            }
            self.keep(message);
        }
        Stored::Kept
    }

    fn start(&self, message: &Message) -> bool {
        self.core.tracker().start_moving(message.sequence)
    }

    fn record(&self, message: &Message) -> StoredMessage {
        let since = self.core.ground.tenure;
        StoredMessage { id: message.id, sequence: message.sequence, since }
    }

    fn keep(&mut self, message: &Arc<Message>) {
        let (to, stored) = (message.to, self.record(message));
        let fresh = Fresh { index: self.changes.len(), of: to.user_agent, on: to.channel, stored };
        self.fresh.insert(message.sequence, fresh);
        self.known.stored.insert((to.user_agent, message.id), stored);
        if let Some(topic) = message.topic.clone() {
            self.known.topics.insert((to.user_agent, to.channel, topic), stored);
        }
        self.entered.moved.push(message.sequence);
        self.changes.push(Change::Stored { message: Arc::clone(message), since: stored.since });
    }

    /// Written down, for after a crash what has taken its place may be gone as well.
    fn end_on_arrival(&mut self, message: &Message, outcome: Outcome) -> Stored {
        if self.start(message) {
            let stored = self.record(message);
            self.entered.moved.push(message.sequence);
            self.end(message.to.user_agent, stored, outcome);
        }
        Stored::Ended(outcome)
    }
}
