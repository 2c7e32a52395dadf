//! Layout of the records in the two topics, and the conversion from and to changes.
//!
//! `<prefix>.accepted`, one record for each message:
//!
//! | part | holds |
//! |---|---|
//! | key | user agent (16 octets) |
//! | value | the body, octet for octet |
//! | header `pushgrid-message` | everything else ([`pushgrid_proto::stored::encode_head`]) |
//! | header `traceparent` | that of the sender, once more: where tracing tools look for it |
//! | header `pushgrid-version` | version of the form, one octet; absent from version 1 |
//!
//! `<prefix>.state`, one record for each change; numbers are 8 octets, big endian:
//!
//! | change | key | value | headers |
//! |---|---|---|---|
//! | claimed | `c`, 16 random octets | one octet, 1 | |
//! | subscribed | `s`, user agent (16), channel (16), incarnation (12) | the subscription | `t` |
//! | unsubscribed | the same | none | `t` |
//! | stored | `m`, user agent (16), message (16), leader epoch that stored it | the message, whole | `t` |
//! | ended | the same | none | `t`, `o`, `q`, perhaps `r` |
//!
//! `t` is the writer's leader epoch, `o` the outcome (one octet, its place in [`Outcome::ALL`]), and `q` the
//! sequence of the message. An outcome unknown to earlier releases is in `r`, with a stand-in for those
//! releases in `o` ([`Outcome::for_earlier_releases`]). Claims are never ended, so stay for ever: a claim is
//! small, and there is one for each change of hands of a partition. A reader that starts in the middle needs
//! every earlier claim, so claims have no common key by which compaction could keep only the last. The 16
//! octets of the first claim of a partition are the identity of its changelog ([`History`]).
//!
//! # Versions
//! A record is written in the lowest version that has a form for its content, so that earlier releases read
//! all that they could have written. Version 1 is marked by the absence of its header (one octet). Version 2
//! has subscriptions with a restriction that is neither open nor a VAPID key, and messages with a replace key
//! that is no topic. A record of a later version, or of a kind not in the table, is taken for a newer
//! release's: passed over, and never overwritten. A record of known kind and version that cannot be read is
//! damaged or foreign. Two things hold in all versions: claims have one form, for fencing depends on every
//! release seeing all claims; and a record without a value ends the thing named by its key, while one with a
//! value under the key of a subscription means alive.
//!
//! Invariant: [`decode`] of the result of [`encode`] is the same change.

use std::sync::Arc;

use bytes::Bytes;
use pushgrid_proto::stored;
use pushgrid_store::{Change, Entry, History, RecordKey, UnreadableCause};
use pushgrid_types::cast::fitting;
use pushgrid_types::{
    ChannelId, Incarnation, LeaderEpoch, Message, MessageId, Outcome, Position, Rng, Sequence,
    SubscriptionRef, UserAgentId,
};

/// Header with all of a message but the body, in `<prefix>.accepted`.
pub const MESSAGE: &str = "pushgrid-message";
/// Header with the version of a record of `<prefix>.accepted`.
pub const ACCEPTED_VERSION: &str = "pushgrid-version";
/// Header with the version of a record of `<prefix>.state`.
pub const VERSION: &str = "v";
/// First version; implied by an absent header.
const FIRST: u8 = 1;
/// Version for records without a form in the first.
const SECOND: u8 = 2;
/// Header with the sender's `traceparent` (W3C Trace Context), where there is one.
pub const TRACE_PARENT: &str = "traceparent";
/// Header with the leader epoch of the writer, in a record of `<prefix>.state`.
pub const LEADER_EPOCH: &str = "t";
/// Header with the outcome of a message.
pub const OUTCOME: &str = "o";
/// Header with the true outcome, when [`OUTCOME`] holds a stand-in for earlier releases.
pub const REASON: &str = "r";
/// Header with the sequence of an ended message.
pub const SEQUENCE: &str = "q";

const CLAIM: u8 = b'c';
const SUBSCRIPTION: u8 = b's';
const STORED: u8 = b'm';
/// Value of a claim; without one the record would be a tombstone.
const CLAIMED: &[u8] = &[1];

/// Record of `<prefix>.state` to be written.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Vec<u8>,
    /// The value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The header [`LEADER_EPOCH`].
    pub leader_epoch: Option<[u8; 8]>,
    /// The headers [`OUTCOME`] and [`SEQUENCE`].
    pub ended: Option<(u8, [u8; 8])>,
    /// The header [`REASON`].
    pub reason: Option<u8>,
    /// The header [`VERSION`].
    pub version: Option<u8>,
}

/// Record of `<prefix>.state` as read.
#[derive(Clone, Copy, Default)]
pub struct Raw<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The header [`LEADER_EPOCH`].
    pub leader_epoch: Option<&'a [u8]>,
    /// The header [`OUTCOME`].
    pub outcome: Option<&'a [u8]>,
    /// The header [`REASON`].
    pub reason: Option<&'a [u8]>,
    /// The header [`SEQUENCE`].
    pub sequence: Option<&'a [u8]>,
    /// The header [`VERSION`].
    pub version: Option<&'a [u8]>,
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

/// Fault of an unreadable record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Unknown version.
    #[error("a newer release wrote it")]
    Version,
    /// Unknown kind.
    #[error("it is of a kind that this release does not know")]
    Kind,
    /// Key not in the form of its kind.
    #[error("the key is not of the form of its kind")]
    Key,
    /// Header missing, or of another length.
    #[error("the header {0} is missing or not valid")]
    Header(&'static str),
    /// Value of another message than the key names.
    #[error("the value is not that of its key")]
    Value,
    /// Undecodable value.
    #[error("the value cannot be read: {0}")]
    Octets(#[from] stored::Invalid),
}

impl Invalid {
    /// Cause of the fault: a newer release, or damage.
    pub const fn cause(&self) -> UnreadableCause {
        match self {
            Self::Version | Self::Kind => UnreadableCause::Newer,
            Self::Key | Self::Header(_) | Self::Value | Self::Octets(_) => UnreadableCause::Damaged,
        }
    }
}

/// True for a version header readable by this release; absent means version 1.
pub fn is_known_version(header: Option<&[u8]>) -> bool {
    header.is_none_or(|version| version == [FIRST] || version == [SECOND])
}

/// The version of a record with this message; `None` of the first.
pub fn version_of(message: &Message) -> Option<u8> {
    message.topic.as_ref().is_some_and(|key| !key.is_topic()).then_some(SECOND)
}

/// Encodes a change made by leader epoch `by`. A claim starts a leader epoch of its own, so `by` is dropped.
pub fn encode(change: &Change, by: LeaderEpoch, rng: &dyn Rng) -> Record {
    let of = |key, value| Record {
        key,
        value,
        leader_epoch: Some(by.0.to_be_bytes()),
        ended: None,
        reason: None,
        version: None,
    };
    match change {
        Change::Claimed => {
            let mut key = vec![CLAIM; 17];
            rng.fill(&mut key[1..]);
            Record { leader_epoch: None, ..of(key, Some(CLAIMED.to_vec())) }
        }
        Change::Subscribed(subscription) => {
            let value = Some(stored::encode_subscription(subscription));
            let version = (!subscription.restriction.is_of_first_release()).then_some(SECOND);
            Record { version, ..of(subscription_key(&subscription.id), value) }
        }
        Change::Unsubscribed(id) => of(subscription_key(id), None),
        Change::Stored { message, since } => {
            let key = message_key(message.to.user_agent, message.id, *since);
            Record { version: version_of(message), ..of(key, Some(stored::encode_message(message))) }
        }
        Change::Ended { user_agent, id, sequence, since, outcome } => {
            let index = |outcome: Outcome| fitting::<u8>(outcome.index());
            let shown = outcome.for_earlier_releases();
            Record {
                ended: Some((index(shown), sequence.0.to_be_bytes())),
                reason: (shown != *outcome).then(|| index(*outcome)),
                ..of(message_key(*user_agent, *id, *since), None)
            }
        }
    }
}

/// Decodes the record at `position`. Unknown version or kind, and damage, are [`Invalid`].
pub fn decode(position: Position, raw: Raw<'_>) -> Result<Entry, Invalid> {
    let kind = raw.key.first().ok_or(Invalid::Key)?;
    if *kind == CLAIM {
        let is_claim = claim_of(raw.key).is_some() && raw.value.is_some();
        let by = LeaderEpoch(position.0 + 1);
        return if is_claim {
            Ok(Entry { position, by, change: Change::Claimed })
        } else {
            Err(Invalid::Key)
        };
    }
    if !is_known_version(raw.version) {
        return Err(Invalid::Version);
    }
    if !matches!(*kind, SUBSCRIPTION | STORED) {
        return Err(Invalid::Kind);
    }
    let key = key_of(raw.key).ok_or(Invalid::Key)?;
    let by = LeaderEpoch(number(raw.leader_epoch, LEADER_EPOCH)?);
    let change = match (key, raw.value) {
        (RecordKey::Subscription(id), Some(value)) => {
            Change::Subscribed(stored::decode_subscription(value, id)?)
        }
        (RecordKey::Subscription(id), None) => Change::Unsubscribed(id),
        (RecordKey::Message { user_agent, id, since }, Some(value)) => {
            let message = stored::decode_message(Bytes::copy_from_slice(value))?;
            if message.id != id || message.to.user_agent != user_agent {
                return Err(Invalid::Value);
            }
            Change::Stored { message: Arc::new(message), since }
        }
        (RecordKey::Message { user_agent, id, since }, None) => ended(&raw, user_agent, id, since)?,
    };
    Ok(Entry { position, by, change })
}

/// Compaction key by the octets of a record's key; `None` for another kind.
pub fn key_of(key: &[u8]) -> Option<RecordKey> {
    let (kind, mut rest) = key.split_first()?;
    let user_agent = UserAgentId::from_octets(take(&mut rest)?);
    let key = match *kind {
        SUBSCRIPTION => {
            let channel = ChannelId::from_octets(take(&mut rest)?);
            let incarnation = Incarnation::from_octets(take(&mut rest)?);
            RecordKey::Subscription(SubscriptionRef { user_agent, channel, incarnation })
        }
        STORED => {
            let id = MessageId::from_octets(take(&mut rest)?);
            RecordKey::Message { user_agent, id, since: LeaderEpoch(u64::from_be_bytes(take(&mut rest)?)) }
        }
        _ => return None,
    };
    rest.is_empty().then_some(key)
}

/// Random part of a claim's key; `None` for another kind.
pub fn claim_of(key: &[u8]) -> Option<History> {
    let (kind, rest) = key.split_first()?;
    (*kind == CLAIM).then_some(())?;
    rest.try_into().ok().map(History)
}

fn ended(
    raw: &Raw<'_>,
    user_agent: UserAgentId,
    id: MessageId,
    since: LeaderEpoch,
) -> Result<Change, Invalid> {
    let outcome = |header: Option<&[u8]>| match header {
        Some(&[index]) => Outcome::ALL.get(usize::from(index)).copied(),
        Some(_) | None => None,
    };
    let shown = outcome(raw.outcome).ok_or(Invalid::Header(OUTCOME))?;
    // An unknown reason of a newer release is counted as its stand-in.
    let outcome =
        outcome(raw.reason).filter(|reason| reason.for_earlier_releases() == shown).unwrap_or(shown);
    let sequence = Sequence(number(raw.sequence, SEQUENCE)?);
    Ok(Change::Ended { user_agent, id, sequence, since, outcome })
}

fn subscription_key(id: &SubscriptionRef) -> Vec<u8> {
    let parts: [&[u8]; 4] =
        [&[SUBSCRIPTION], id.user_agent.as_octets(), id.channel.as_octets(), id.incarnation.as_octets()];
    parts.concat()
}

fn message_key(user_agent: UserAgentId, id: MessageId, since: LeaderEpoch) -> Vec<u8> {
    let since = since.0.to_be_bytes();
    let parts: [&[u8]; 4] = [&[STORED], user_agent.as_octets(), id.as_octets(), &since];
    parts.concat()
}

/// Splits the next part off a key.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (part, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*part)
}

fn number(octets: Option<&[u8]>, header: &'static str) -> Result<u64, Invalid> {
    let octets = octets.and_then(|octets| octets.try_into().ok()).ok_or(Invalid::Header(header))?;
    Ok(u64::from_be_bytes(octets))
}

#[cfg(test)]
mod tests;
