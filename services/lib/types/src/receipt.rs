//! Receipts of messages (RFC 8030 section 6.3), and the messages by which they reach application servers.
//!
//! Invariant: the receipt of a message has the same id however often it is made, so one that is made again after a
//! crash is a repeat.

use bytes::Bytes;

use crate::{
    ChannelId, Content, Message, MessageId, MessageRef, Outcome, ReceiptRequest, ReceiptStatus, Sequence,
    Timestamp, Urgency, UserAgentId,
};

/// The receipt of one message, as an application server gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The message.
    pub message: MessageRef,
    /// Outcome of the message: one that has a [`Outcome::receipt`].
    pub outcome: Outcome,
    /// Instant of the end.
    pub ended_at: Timestamp,
}

/// Version of the body of a receipt.
const VERSION: u8 = 1;

impl Receipt {
    /// The message for the log of the receipt subscription, at the time of the end. Its body is the receipt.
    pub fn to_message(&self, asked: &ReceiptRequest) -> Message {
        Message {
            id: id_of(self.message.id),
            to: asked.to,
            sequence: Sequence::default(),
            accepted_at: self.ended_at,
            ttl: asked.ttl,
            expires_at: Message::expiry(self.ended_at, asked.ttl),
            urgency: Urgency::Normal,
            topic: None,
            receipt: None,
            content: Content { body: self.to_body(), ..Content::default() },
        }
    }

    /// The receipt in the body of a message; `None` for one that is no receipt, or of a newer release.
    pub fn of(message: &Message) -> Option<Self> {
        let (&[VERSION, outcome], rest) = message.content.body.split_first_chunk()? else { return None };
        let (ended_at, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (user_agent, rest) = rest.split_first_chunk()?;
        let (channel, id) = rest.split_first_chunk()?;
        let outcome = *Outcome::ALL.get(usize::from(outcome))?;
        outcome.receipt()?;
        let message = MessageRef {
            user_agent: UserAgentId::from_octets(*user_agent),
            channel: ChannelId::from_octets(*channel),
            id: MessageId::from_slice(id)?,
            sequence: Sequence(u64::from_be_bytes(*sequence)),
        };
        Some(Self { message, outcome, ended_at: Timestamp::from_millis(u64::from_be_bytes(*ended_at)) })
    }

    /// Status of the receipt.
    pub fn status(&self) -> ReceiptStatus {
        self.outcome.receipt().unwrap_or(ReceiptStatus::GivenUp)
    }

    fn to_body(self) -> Bytes {
        let MessageRef { user_agent, channel, id, sequence } = self.message;
        let outcome = u8::try_from(self.outcome.index()).expect("there are not so many outcomes");
        let parts: [&[u8]; 6] = [
            &[VERSION, outcome],
            &self.ended_at.as_millis().to_be_bytes(),
            &sequence.0.to_be_bytes(),
            user_agent.as_octets(),
            channel.as_octets(),
            id.as_octets(),
        ];
        parts.concat().into()
    }
}

/// Id of the receipt of a message: its complement, which is as random, and that of no other message.
fn id_of(message: MessageId) -> MessageId {
    let mut octets = *message.as_octets();
    for octet in &mut octets {
        *octet = !*octet;
    }
    MessageId::from_octets(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DropReason, Incarnation, SubscriptionRef, Ttl};

    fn subscription(label: u8) -> SubscriptionRef {
        SubscriptionRef {
            user_agent: UserAgentId::from_octets([label; 16]),
            channel: ChannelId::from_octets([label + 1; 16]),
            incarnation: Incarnation::from_octets([label + 2; 12]),
        }
    }

    fn receipt(outcome: Outcome) -> Receipt {
        let SubscriptionRef { user_agent, channel, .. } = subscription(9);
        let id = MessageId::from_octets([5; 16]);
        let message = MessageRef { user_agent, channel, id, sequence: Sequence(77) };
        Receipt { message, outcome, ended_at: Timestamp::from_millis(1000) }
    }

    // Holds: A-116.
    #[test]
    fn a_receipt_comes_back_from_its_message_with_the_status_of_the_end() {
        let asked = ReceiptRequest { to: subscription(1), ttl: Ttl::from_secs(60) };
        for (outcome, code) in [
            (Outcome::Delivered, Some(204)),
            (Outcome::Undecryptable, Some(204)),
            (Outcome::Expired, Some(410)),
            (Outcome::Unsubscribed, Some(410)),
            (Outcome::Dropped(DropReason::NotDelivered), Some(410)),
            (Outcome::Replaced, None),
            (Outcome::Cancelled, None),
        ] {
            let made = receipt(outcome).to_message(&asked);
            assert_eq!(Receipt::of(&made).map(|it| it.status().code()), code, "{outcome:?}");
            assert_eq!((made.to, made.expires_at), (asked.to, Timestamp::from_millis(61_000)));
            assert_ne!(made.id, receipt(outcome).message.id);
            assert_eq!(made.id, receipt(Outcome::Expired).to_message(&asked).id, "whatever the outcome");
        }
        let delivered = receipt(Outcome::Delivered);
        assert_eq!(Receipt::of(&delivered.to_message(&asked)), Some(delivered));
    }

    #[test]
    fn any_other_body_is_no_receipt() {
        let asked = ReceiptRequest { to: subscription(1), ttl: Ttl::from_secs(60) };
        let made = receipt(Outcome::Delivered).to_message(&asked);
        let with = |body: Vec<u8>| {
            Receipt::of(&Message {
                content: Content { body: body.into(), ..Content::default() },
                ..made.clone()
            })
        };
        let body = made.content.body.to_vec();
        assert_eq!(with(Vec::new()), None);
        assert_eq!(with(body[..body.len() - 1].to_vec()), None);
        assert_eq!(with([&body[..], &[0]].concat()), None);
        assert_eq!(with([&[2], &body[1..]].concat()), None, "of a newer release");
        assert_eq!(with([&[1, 99], &body[2..]].concat()), None, "an outcome of a newer release");
    }
}
