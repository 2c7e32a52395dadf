//! Parts common to the checks: messages, subscriptions, and whole listings.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, Outcome, ReplaceKey, Restriction, Sequence,
    SubscriptionRef, Timestamp, Ttl, Urgency, UserAgentId,
};

use super::Parts;
use pushgrid_store::{End, Page, PageLimit, PageStart, Stored, Subscription};

/// Page limit above everything stored by a check.
pub(super) const ALL: PageLimit = PageLimit { messages: 1000, octets: 1 << 20 };

pub(super) fn user_agent(label: u8) -> UserAgentId {
    UserAgentId::from_octets([label; UserAgentId::SIZE])
}

pub(super) fn channel(label: u8) -> ChannelId {
    ChannelId::from_octets([label; ChannelId::SIZE])
}

/// First incarnation of a channel.
pub(super) fn subscription(of: u8, on: u8) -> SubscriptionRef {
    SubscriptionRef {
        user_agent: user_agent(of),
        channel: channel(on),
        incarnation: Incarnation::from_octets([1; Incarnation::SIZE]),
    }
}

/// Another incarnation of the same channel.
pub(super) fn reborn(id: SubscriptionRef) -> SubscriptionRef {
    SubscriptionRef { incarnation: Incarnation::from_octets([2; Incarnation::SIZE]), ..id }
}

pub(super) fn message_id(label: u64) -> MessageId {
    let mut octets = [0; MessageId::SIZE];
    octets[..8].copy_from_slice(&label.to_be_bytes());
    MessageId::from_octets(octets)
}

pub(super) fn topic(text: &str) -> ReplaceKey {
    text.parse().expect("the checks use valid topics")
}

/// Message with defaults: ten octets, a TTL of an hour.
pub(super) fn message(to: SubscriptionRef, label: u64, now: Timestamp) -> Message {
    let ttl = Ttl::from_secs(3600);
    Message {
        id: message_id(label),
        to,
        sequence: Sequence(0),
        accepted_at: now,
        ttl,
        expires_at: Message::expiry(now, ttl),
        urgency: Urgency::Normal,
        topic: None,
        receipt: None,
        content: Content { body: Bytes::from_static(b"0123456789"), ..Content::default() },
    }
}

/// The message with a TTL of `seconds`.
pub(super) fn living(seconds: u32, message: Message) -> Message {
    let ttl = Ttl::from_secs(seconds);
    Message { ttl, expires_at: Message::expiry(message.accepted_at, ttl), ..message }
}

/// The message with another urgency than the default.
pub(super) fn urgent(urgency: Urgency, message: Message) -> Message {
    Message { urgency, ..message }
}

/// The message with `octets` of body.
pub(super) fn sized(octets: usize, message: Message) -> Message {
    let content = Content { body: Bytes::from(vec![7; octets]), ..message.content.clone() };
    Message { content, ..message }
}

/// Polls once, and returns the result if ready.
pub(super) fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

impl Parts {
    /// Makes the subscription `id`.
    pub(super) async fn subscribe(&self, id: SubscriptionRef) -> Subscription {
        let new = Subscription {
            id,
            restriction: Restriction::Open,
            seen_at: self.now,
            is_noted: true,
            webhook: None,
        };
        let there = self.subscriptions.put(None, new.clone()).await.expect("put answers");
        assert_eq!(there, Some(new.clone()), "a subscription can be put where none is");
        new
    }

    /// Ends this life, and opens the next on the same state.
    pub(super) async fn reopened(self) -> Self {
        let Self { log, consumer, mailbox, subscriptions, ledger, ends: _, now: _, life } = self;
        drop((log, consumer, mailbox, subscriptions, ledger));
        life.reopen().await
    }

    /// Accepts `message`, and returns it with its sequence.
    pub(super) async fn accept(&self, message: Message) -> Arc<Message> {
        let sequence = self.log.append(message.clone()).await.expect("append answers");
        Arc::new(Message { sequence, ..message })
    }

    /// Accepts messages to `to` with these labels.
    pub(super) async fn accept_all(
        &self,
        to: SubscriptionRef,
        labels: impl IntoIterator<Item = u64>,
    ) -> Vec<Arc<Message>> {
        let mut accepted = Vec::new();
        for label in labels {
            accepted.push(self.accept(message(to, label, self.now)).await);
        }
        accepted
    }

    /// Moves one message to the mailbox.
    pub(super) async fn store(&self, message: &Arc<Message>) -> Stored {
        let answers = self.mailbox.store(vec![Arc::clone(message)]).await.expect("store answers");
        assert_eq!(answers.len(), 1, "store answers once for each message");
        answers[0]
    }

    /// Accepts messages to `to` with these labels and moves them to the mailbox.
    pub(super) async fn keep(
        &self,
        to: SubscriptionRef,
        labels: impl IntoIterator<Item = u64>,
    ) -> Vec<Arc<Message>> {
        let accepted = self.accept_all(to, labels).await;
        let answers = self.mailbox.store(accepted.clone()).await.expect("store answers");
        assert_eq!(answers, vec![Stored::Kept; accepted.len()], "messages of a live subscription are kept");
        accepted
    }

    /// Ends stored messages with one outcome each.
    pub(super) async fn settle(&self, of: u8, ended: &[(u64, Outcome)]) -> Vec<bool> {
        let ended = ended.iter().map(|(label, outcome)| (message_id(*label), *outcome)).collect();
        self.mailbox.settle(user_agent(of), ended).await.expect("settle answers")
    }

    /// Takes the next `count` messages of the log.
    pub(super) async fn hand_out(&mut self, count: usize) -> Vec<Arc<Message>> {
        let mut handed_out = Vec::new();
        while handed_out.len() < count {
            let limit = count - handed_out.len();
            let batch = self.consumer.next(limit).await.expect("next answers");
            assert!(!batch.is_empty(), "an empty batch says that the log is closed, which it is not");
            assert!(batch.len() <= limit, "{} messages came where {limit} were asked for", batch.len());
            handed_out.extend(batch);
        }
        handed_out
    }

    /// Checks that the log has no message left: one appended now comes next.
    pub(super) async fn assert_log_is_empty(&mut self) {
        let marker = self.accept(message(subscription(250, 250), 250_250, self.now)).await;
        let next = self.hand_out(1).await;
        assert_eq!(next, [Arc::clone(&marker)], "nothing but the newest message was left in the log");
        self.consumer.settle(vec![End::of(&marker, Outcome::Cancelled)]);
    }

    /// All stored messages of a user agent, in one page.
    pub(super) async fn waiting(&self, of: u8) -> Vec<Message> {
        self.page(of, Sequence(0), ALL).await
    }

    /// Checks the labels of all stored messages of a user agent, in order.
    pub(super) async fn assert_waiting(&self, of: u8, labels: &[u64], why: &str) {
        let ids: Vec<_> = self.waiting(of).await.iter().map(|it| it.id).collect();
        let expected: Vec<_> = labels.iter().map(|label| message_id(*label)).collect();
        assert_eq!(ids, expected, "{why}");
    }

    pub(super) async fn page(&self, of: u8, after: Sequence, limit: PageLimit) -> Vec<Message> {
        self.page_from(of, PageStart::after(after), limit).await
    }

    pub(super) async fn page_from(&self, of: u8, start: PageStart, limit: PageLimit) -> Vec<Message> {
        let page = self.mailbox.page(user_agent(of), start, self.now, limit).await.expect("page answers");
        if page.is_last && !page.messages.is_empty() {
            let mut start = start;
            for message in &page.messages {
                start.after[usize::from(message.urgency.level())] = message.sequence;
            }
            let next = self.mailbox.page(user_agent(of), start, self.now, ALL).await.expect("page answers");
            assert_eq!(next, Page::EMPTY, "nothing comes after the last page");
        }
        page.messages
    }

    /// Checks the account: pending, ended by outcome, and the sum.
    pub(super) async fn assert_account(&self, pending: u64, ended: &[(Outcome, u64)]) {
        self.life.rest().await;
        let account = self.ledger.snapshot();
        let mut expected = [0; Outcome::ALL.len()];
        for (outcome, messages) in ended {
            expected[outcome.index()] += messages;
        }
        assert_eq!(
            account.ended, expected,
            "each message is entered under its one outcome, in the order of ALL"
        );
        assert_eq!(account.pending, pending, "what has not ended is pending");
        assert!(account.adds_up(), "every accepted message has ended or is pending: {account:?}");
    }
}
