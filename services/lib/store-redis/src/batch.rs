//! Changes as arguments of the script `apply`.

use pushgrid_proto::stored::encode_message;
use pushgrid_store::{Change, StoreError, Subscription};
use pushgrid_types::{ChannelId, Message, Tenure, Topic};

use crate::answer::HEAD;
use crate::failure::corrupt;

/// Most changes that one call takes: Redis does nothing else meanwhile, about 5 ms for each thousand.
pub const MAX_CHANGES: usize = 10_000;

/// Most octets of changes that one call takes.
pub const MAX_OCTETS: usize = 32 << 20;

/// The largest number that a script compares exactly.
const LARGEST: u64 = (1 << 53) - 1;

/// Changes, as the script takes them.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) arguments: Vec<Vec<u8>>,
    /// Whether something comes to what is there. A batch without is taken even when Redis has no memory left.
    pub(crate) grows: bool,
}

impl Batch {
    /// Refuses a batch that is too large to be taken in one piece.
    pub(crate) fn of(changes: &[Change]) -> Result<Self, StoreError> {
        if changes.len() > MAX_CHANGES {
            return Err(corrupt("a batch has more changes than one call takes: the caller has to divide it"));
        }
        let mut batch = Self::default();
        for change in changes {
            batch.add(change)?;
        }
        if batch.arguments.iter().map(Vec::len).sum::<usize>() > MAX_OCTETS {
            return Err(corrupt("a batch has more octets than one call takes: the caller has to divide it"));
        }
        Ok(batch)
    }

    fn add(&mut self, change: &Change) -> Result<(), StoreError> {
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
                self.push(b"M", [message.to.user_agent.as_octets(), message.id.as_octets(), b""]);
                self.arguments.push(of_message(message, *since)?);
                self.grows = true;
            }
            Change::Ended { user_agent, stored, outcome: _ } => {
                let by = exact(stored.since.0)?.to_be_bytes();
                self.push(b"E", [user_agent.as_octets(), stored.id.as_octets(), &by]);
            }
        }
        Ok(())
    }

    fn push(&mut self, letter: &[u8], parts: [&[u8]; 3]) {
        self.arguments.push([letter, parts[0], parts[1], parts[2]].concat());
    }
}

/// A number that scripts compare.
pub(crate) fn exact(number: u64) -> Result<u64, StoreError> {
    if number <= LARGEST { Ok(number) } else { Err(corrupt("a number is larger than 2^53")) }
}

/// The channel and the topic of it.
pub(crate) fn topic_of(channel: ChannelId, topic: Option<&Topic>) -> Vec<u8> {
    [channel.as_octets(), topic.map_or("", Topic::as_str).as_bytes()].concat()
}

pub(crate) fn of_subscription(subscription: &Subscription) -> Vec<u8> {
    let created_at = subscription.created_at.as_millis().to_be_bytes();
    let vapid = subscription.vapid.as_ref().map_or(&[][..], |hash| &hash.0);
    [subscription.id.incarnation.as_octets(), &created_at[..], vapid].concat()
}

/// See [`HEAD`].
pub(crate) fn of_message(message: &Message, since: Tenure) -> Result<Vec<u8>, StoreError> {
    let encoded = encode_message(message);
    let octets =
        u32::try_from(message.content.body.len()).map_err(|_| corrupt("a body is larger than 4 GiB"))?;
    let slot = topic_of(message.to.channel, message.topic.as_ref());
    let length = u8::try_from(slot.len()).expect("a channel has 16 octets and a topic at most 32");
    // An expiry that is further away is as good as that one: it is in 287396.
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
