//! Encoding of changes as arguments of the script `apply`. Invariant: numbers beyond 2^53, which scripts cannot
//! compare, never reach a script as a value.

use pushgrid_proto::stored::encode_message;
use pushgrid_store::{Change, StoreError, Subscription};
use pushgrid_types::cast::fitting;
use pushgrid_types::{ChannelId, LeaderEpoch, Message, ReplaceKey};

use crate::answer::{HEAD, HOOKED_MIN, NOTED, WEBHOOK};
use crate::failure::corrupt;

/// Most changes of one call: Redis does nothing else meanwhile, about 5 ms for each thousand.
pub const MAX_CHANGES: usize = 10_000;

/// Most octets of changes in one call.
pub const MAX_OCTETS: usize = 32 << 20;

/// Largest number with an exact double, for comparison in scripts.
const LARGEST: u64 = (1 << 53) - 1;

/// Changes as arguments of a script.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) arguments: Vec<Vec<u8>>,
    /// Set if a change adds something. Any other batch is taken even when Redis has no memory left.
    pub(crate) grows: bool,
}

impl Batch {
    /// Encodes changes. A batch beyond the bounds is refused as corrupt.
    pub(crate) fn of(changes: &[Change]) -> Result<Self, StoreError> {
        if changes.len() > MAX_CHANGES {
            return Err(corrupt("a batch has more changes than one call takes: the caller has to divide it"));
        }
        let mut batch = Self::default();
        for change in changes {
            batch.add(change);
        }
        if batch.arguments.iter().map(Vec::len).sum::<usize>() > MAX_OCTETS {
            return Err(corrupt("a batch has more octets than one call takes: the caller has to divide it"));
        }
        Ok(batch)
    }

    /// Adds a change. One beyond the limits of scripts is replaced by the setting aside of its user agent.
    fn add(&mut self, change: &Change) {
        match change {
            Change::Claimed => {}
            Change::Subscribed(subscription) => {
                let value = of_subscription(subscription);
                let id = subscription.id;
                self.push(b"S", [id.user_agent.as_octets(), id.channel.as_octets(), &value]);
                self.grows = true;
            }
            Change::Unsubscribed(id) => {
                let parts: [&[u8]; 3] =
                    [id.user_agent.as_octets(), id.channel.as_octets(), id.incarnation.as_octets()];
                self.push(b"U", parts);
            }
            Change::Stored { message, since } => {
                let user_agent = message.to.user_agent.as_octets();
                let Ok(value) = of_message(message, *since) else { return self.refuse(user_agent) };
                self.push(b"M", [user_agent, message.id.as_octets(), b""]);
                self.arguments.push(value);
                self.grows = true;
            }
            Change::Ended { user_agent, id, since, .. } => {
                let user_agent = user_agent.as_octets();
                let Ok(by) = exact(since.0) else { return self.refuse(user_agent) };
                self.push(b"E", [user_agent, id.as_octets(), &by.to_be_bytes()]);
            }
        }
    }

    fn refuse(&mut self, user_agent: &[u8]) {
        self.push(b"X", [user_agent, b"", b""]);
    }

    fn push(&mut self, letter: &[u8], parts: [&[u8]; 3]) {
        self.arguments.push([letter, parts[0], parts[1], parts[2]].concat());
    }
}

/// Checks a number for comparison in scripts; beyond 2^53 it is refused as corrupt.
pub(crate) fn exact(number: u64) -> Result<u64, StoreError> {
    if number <= LARGEST { Ok(number) } else { Err(corrupt("a number is larger than 2^53")) }
}

/// Channel and topic, as one octet string.
pub(crate) fn topic_of(channel: ChannelId, topic: Option<&ReplaceKey>) -> Vec<u8> {
    [channel.as_octets(), topic.map_or("", ReplaceKey::as_str).as_bytes()].concat()
}

pub(crate) fn of_subscription(subscription: &Subscription) -> Vec<u8> {
    let noted = if subscription.is_noted { NOTED } else { 0 };
    let seen_at = (subscription.seen_at.as_millis() & !NOTED | noted).to_be_bytes();
    let restriction = subscription.restriction.to_octets().unwrap_or_default();
    let hooked = subscription.webhook.as_ref().map(|url| {
        let head = [WEBHOOK, fitting::<u8>(restriction.len())];
        let mut rest = [&head, &restriction[..], url.as_str().as_bytes()].concat();
        rest.resize(rest.len().max(HOOKED_MIN), b' ');
        rest
    });
    let rest = hooked.unwrap_or(restriction);
    [subscription.id.incarnation.as_octets(), &seen_at[..], &rest].concat()
}

/// Encodes a message behind its head (see [`HEAD`]).
pub(crate) fn of_message(message: &Message, since: LeaderEpoch) -> Result<Vec<u8>, StoreError> {
    let encoded = encode_message(message);
    let octets =
        u32::try_from(message.content.body.len()).map_err(|_| corrupt("a body is larger than 4 GiB"))?;
    let slot = topic_of(message.to.channel, message.topic.as_ref());
    let length = fitting::<u8>(slot.len());
    // A later expiry is as good as this one, which is in the year 287396.
    let expires_at = message.expires_at.as_millis().min(LARGEST);
    let mut value = Vec::with_capacity(HEAD + slot.len() + encoded.len());
    value.extend_from_slice(&exact(since.0)?.to_be_bytes());
    value.extend_from_slice(&exact(message.sequence.0)?.to_be_bytes());
    value.extend_from_slice(&expires_at.to_be_bytes());
    value.extend_from_slice(&octets.to_be_bytes());
    value.push(length);
    value.extend_from_slice(&slot);
    value.extend_from_slice(&encoded);
    Ok(value)
}
