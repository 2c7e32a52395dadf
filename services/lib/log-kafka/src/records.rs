//! How records are laid out in the two topics.
//!
//! `<prefix>.accepted`, one record for each message:
//!
//! | part | holds |
//! |---|---|
//! | key | user agent (16 octets) |
//! | value | the body, octet for octet |
//! | header `pushgrid-message` | everything else ([`pushgrid_proto::stored::encode_head`]) |
//! | header `traceparent` | that of the sender, once more: where tracing tools look for it |
//!
//! `<prefix>.state`, one record for each change; numbers are 8 octets, big endian:
//!
//! | change | key | value | headers |
//! |---|---|---|---|
//! | claimed | `c`, 16 random octets | one octet, 1 | |
//! | subscribed | `s`, user agent (16), channel (16), incarnation (12) | the subscription | `t` |
//! | unsubscribed | the same | none | `t` |
//! | stored | `m`, user agent (16), message (16), tenure that stored it | the message, whole | `t` |
//! | ended | the same | none | `t`, `o`, `q` |
//!
//! `t` is the tenure that wrote the record, `o` the outcome (one octet, its place in [`Outcome::ALL`]), and `q` the
//! sequence of the message. Claims are never ended, so they stay for ever: a claim is small, and there is one for each
//! time that a partition changes hands.
//!
//! Invariant: what [`encode`] makes of a change, [`decode`] makes that change of again.

use std::sync::Arc;

use bytes::Bytes;
use pushgrid_proto::stored;
use pushgrid_store::{Change, Entry, StoredMessage};
use pushgrid_types::{
    ChannelId, Incarnation, MessageId, Outcome, Position, Rng, Sequence, SubscriptionRef, Tenure, UserAgentId,
};

/// The header of `<prefix>.accepted`.
pub const MESSAGE: &str = "pushgrid-message";
/// `traceparent` of the sender (W3C Trace Context), where there is one.
pub const TRACE_PARENT: &str = "traceparent";
/// The tenure that wrote a record of `<prefix>.state`.
pub const TENURE: &str = "t";
/// How a message ended.
pub const OUTCOME: &str = "o";
/// The sequence of a message that ended.
pub const SEQUENCE: &str = "q";

const CLAIM: u8 = b'c';
const SUBSCRIPTION: u8 = b's';
const STORED: u8 = b'm';
/// The value of a claim: a record without a value would be a tombstone.
const CLAIMED: &[u8] = &[1];

/// A record of `<prefix>.state` that is to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Vec<u8>,
    /// The value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The header [`TENURE`].
    pub tenure: Option<[u8; 8]>,
    /// The headers [`OUTCOME`] and [`SEQUENCE`].
    pub ended: Option<(u8, [u8; 8])>,
}

/// A record of `<prefix>.state` as it was read.
#[derive(Clone, Copy, Default)]
pub struct Raw<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The header [`TENURE`].
    pub tenure: Option<&'a [u8]>,
    /// The header [`OUTCOME`].
    pub outcome: Option<&'a [u8]>,
    /// The header [`SEQUENCE`].
    pub sequence: Option<&'a [u8]>,
}

impl std::fmt::Debug for Record {
    /// Keys and values are not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Record({} octets of key)", self.key.len())
    }
}

impl std::fmt::Debug for Raw<'_> {
    /// Keys and values are not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Raw({} octets of key)", self.key.len())
    }
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is of no kind that is known.
    #[error("the key is of no known form")]
    Key,
    /// A header is missing, or not of its length.
    #[error("the header {0} is missing or not valid")]
    Header(&'static str),
    /// Its value is not what the key promises.
    #[error("the value is not that of its key")]
    Value,
    /// Its value cannot be read.
    #[error("the value cannot be read: {0}")]
    Octets(#[from] stored::Invalid),
}

/// The record of a change that `by` makes. Of a claim, whose tenure begins with it, `by` is not kept.
pub fn encode(change: &Change, by: Tenure, rng: &dyn Rng) -> Record {
    let tenure = Some(by.0.to_be_bytes());
    match change {
        Change::Claimed => {
            let mut key = vec![CLAIM; 17];
            rng.fill(&mut key[1..]);
            Record { key, value: Some(CLAIMED.to_vec()), tenure: None, ended: None }
        }
        Change::Subscribed(subscription) => {
            let value = Some(stored::encode_subscription(subscription));
            Record { key: subscription_key(&subscription.id), value, tenure, ended: None }
        }
        Change::Unsubscribed(id) => Record { key: subscription_key(id), value: None, tenure, ended: None },
        Change::Stored { message, since } => Record {
            key: message_key(message.to.user_agent, message.id, *since),
            value: Some(stored::encode_message(message)),
            tenure,
            ended: None,
        },
        Change::Ended { user_agent, stored, outcome } => {
            let index = u8::try_from(outcome.index()).expect("there are fewer than 256 outcomes");
            Record {
                key: message_key(*user_agent, stored.id, stored.since),
                value: None,
                tenure,
                ended: Some((index, stored.sequence.0.to_be_bytes())),
            }
        }
    }
}

/// The entry of a record that stands at `position`.
pub fn decode(position: Position, raw: Raw<'_>) -> Result<Entry, Invalid> {
    let (kind, mut rest) = raw.key.split_first().ok_or(Invalid::Key)?;
    if *kind == CLAIM {
        let is_claim = rest.len() == 16 && raw.value.is_some();
        let by = Tenure(position.0 + 1);
        return if is_claim {
            Ok(Entry { position, by, change: Change::Claimed })
        } else {
            Err(Invalid::Key)
        };
    }
    let by = Tenure(number(raw.tenure, TENURE)?);
    let user_agent = UserAgentId::from_octets(take(&mut rest)?);
    let change = match *kind {
        SUBSCRIPTION => {
            let channel = ChannelId::from_octets(take(&mut rest)?);
            let incarnation = Incarnation::from_octets(take(&mut rest)?);
            let id = SubscriptionRef { user_agent, channel, incarnation };
            match raw.value {
                Some(value) => Change::Subscribed(stored::decode_subscription(value, id)?),
                None => Change::Unsubscribed(id),
            }
        }
        STORED => {
            let id = MessageId::from_octets(take(&mut rest)?);
            let since = Tenure(u64::from_be_bytes(take(&mut rest)?));
            match raw.value {
                Some(value) => {
                    let message = stored::decode_message(Bytes::copy_from_slice(value))?;
                    if message.id != id || message.to.user_agent != user_agent {
                        return Err(Invalid::Value);
                    }
                    Change::Stored { message: Arc::new(message), since }
                }
                None => ended(&raw, user_agent, id, since)?,
            }
        }
        _ => return Err(Invalid::Key),
    };
    if rest.is_empty() { Ok(Entry { position, by, change }) } else { Err(Invalid::Key) }
}

fn ended(raw: &Raw<'_>, user_agent: UserAgentId, id: MessageId, since: Tenure) -> Result<Change, Invalid> {
    let outcome = match raw.outcome {
        Some([index]) => Outcome::ALL.get(usize::from(*index)).copied(),
        Some(_) | None => None,
    };
    let outcome = outcome.ok_or(Invalid::Header(OUTCOME))?;
    let sequence = Sequence(number(raw.sequence, SEQUENCE)?);
    Ok(Change::Ended { user_agent, stored: StoredMessage { id, sequence, since }, outcome })
}

fn subscription_key(id: &SubscriptionRef) -> Vec<u8> {
    let parts: [&[u8]; 4] =
        [&[SUBSCRIPTION], id.user_agent.as_octets(), id.channel.as_octets(), id.incarnation.as_octets()];
    parts.concat()
}

fn message_key(user_agent: UserAgentId, id: MessageId, since: Tenure) -> Vec<u8> {
    let since = since.0.to_be_bytes();
    let parts: [&[u8]; 4] = [&[STORED], user_agent.as_octets(), id.as_octets(), &since];
    parts.concat()
}

/// The next part of a key.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Invalid> {
    let (part, after) = rest.split_first_chunk::<N>().ok_or(Invalid::Key)?;
    *rest = after;
    Ok(*part)
}

fn number(octets: Option<&[u8]>, header: &'static str) -> Result<u64, Invalid> {
    let octets = octets.and_then(|octets| octets.try_into().ok()).ok_or(Invalid::Header(header))?;
    Ok(u64::from_be_bytes(octets))
}

#[cfg(test)]
mod tests;
