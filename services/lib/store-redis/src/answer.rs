//! What scripts answer.
//!
//! An answer is an array. It begins with 0 and what was asked for, with 1 when the caller is fenced, or with 2 and the
//! position of a view that is behind.

use bytes::Bytes;
use pushgrid_proto::stored::decode_message;
use pushgrid_store::{Claim, StoreError, StoredMessage, Subscription, Usage, ViewError};
use pushgrid_types::{
    ChannelId, Epoch, Incarnation, Message, MessageId, NodeId, Position, Sequence, SessionId, SessionRef,
    SubscriptionRef, Tenure, Timestamp, UserAgentId, VapidKeyHash,
};
use redis::Value;

use crate::failure::corrupt;

/// Octets before a stored message: its tenure, sequence, expiry, octets of its body, and the length of the channel and
/// topic that stand between these and the message.
pub(crate) const HEAD: usize = 29;

/// What a script answered when it was not refused.
pub(crate) type Items = std::vec::IntoIter<Value>;

const WRONG_FORM: &str = "an answer is not of the form that the script gives";
const WRONG_OCTETS: &str = "a value is not what was written there";

/// An answer, and the number that it begins with.
pub(crate) fn open(value: Value) -> Result<(i64, Items), StoreError> {
    let Value::Array(items) = value else { return Err(corrupt(WRONG_FORM)) };
    let mut items = items.into_iter();
    let first = number(items.next().as_ref())?;
    Ok((first, items))
}

/// The answer of a script that checks a footing.
pub(crate) fn open_view(value: Value) -> Result<Items, ViewError> {
    let (first, mut items) = open(value)?;
    match first {
        0 => Ok(items),
        1 => Err(ViewError::Fenced),
        2 => Err(ViewError::Behind(position(items.next())?)),
        _ => Err(corrupt(WRONG_FORM).into()),
    }
}

/// The answer of a script that checks a tenure only.
pub(crate) fn open_fenced(value: Value) -> Result<Items, StoreError> {
    let (first, items) = open(value)?;
    match first {
        0 => Ok(items),
        1 => Err(StoreError::new(
            pushgrid_store::ErrorKind::Closed,
            "another router has taken the partition over",
        )),
        _ => Err(corrupt(WRONG_FORM)),
    }
}

/// Each item as `of` reads it, `None` for one that is not there. There have to be as many as were asked for.
pub(crate) fn each<T>(
    items: Items,
    asked: usize,
    of: impl Fn(usize, &[u8]) -> Result<T, StoreError>,
) -> Result<Vec<Option<T>>, StoreError> {
    if items.len() != asked {
        return Err(corrupt(WRONG_FORM));
    }
    let read = |(at, item)| optional(Some(item))?.map(|octets| of(at, &octets)).transpose();
    items.enumerate().map(read).collect()
}

/// Each item as `of` reads it. All of them have to be there.
pub(crate) fn all<T>(
    items: Items,
    of: impl Fn(Vec<u8>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    items.map(|item| of(octets(Some(item))?)).collect()
}

pub(crate) fn position(item: Option<Value>) -> Result<Position, StoreError> {
    decimal(item).map(Position)
}

pub(crate) fn octets(item: Option<Value>) -> Result<Vec<u8>, StoreError> {
    optional(item)?.ok_or_else(|| corrupt(WRONG_FORM))
}

pub(crate) fn optional(item: Option<Value>) -> Result<Option<Vec<u8>>, StoreError> {
    match item {
        Some(Value::BulkString(octets)) => Ok(Some(octets)),
        Some(Value::Nil) => Ok(None),
        _ => Err(corrupt(WRONG_FORM)),
    }
}

pub(crate) fn count(item: Option<&Value>) -> Result<u64, StoreError> {
    u64::try_from(number(item)?).map_err(|_| corrupt(WRONG_FORM))
}

/// How many wait, and the octets of their bodies: not there when none do.
pub(crate) fn usage(mut items: Items) -> Result<Usage, StoreError> {
    let messages = count(items.next().as_ref())?;
    let octets = match items.next() {
        None | Some(Value::Nil) => 0,
        item => decimal(item)?,
    };
    Ok(Usage { messages, octets })
}

pub(crate) fn subscription(
    user_agent: UserAgentId,
    channel: ChannelId,
    octets: &[u8],
) -> Result<Subscription, StoreError> {
    let mut rest = octets;
    let incarnation = Incarnation::from_octets(take(&mut rest)?);
    let created_at = Timestamp::from_millis(u64::from_be_bytes(take(&mut rest)?));
    let vapid = if rest.is_empty() { None } else { Some(VapidKeyHash(take(&mut rest)?)) };
    let id = SubscriptionRef { user_agent, channel, incarnation };
    end(rest, Subscription { id, vapid, created_at })
}

/// Message id, tenure, sequence.
pub(crate) fn stored(octets: &[u8]) -> Result<StoredMessage, StoreError> {
    let mut rest = octets;
    let id = MessageId::from_octets(take(&mut rest)?);
    let since = Tenure(u64::from_be_bytes(take(&mut rest)?));
    let sequence = Sequence(u64::from_be_bytes(take(&mut rest)?));
    end(rest, StoredMessage { id, sequence, since })
}

/// User agent, then as [`stored`].
pub(crate) fn due(octets: &[u8]) -> Result<(UserAgentId, StoredMessage), StoreError> {
    let mut rest = octets;
    let user_agent = UserAgentId::from_octets(take(&mut rest)?);
    Ok((user_agent, stored(rest)?))
}

/// A message as it is kept. Its body is not copied.
pub(crate) fn message(octets: Vec<u8>) -> Result<Message, StoreError> {
    let length = octets.get(HEAD - 1).ok_or_else(|| corrupt(WRONG_OCTETS))?;
    let begin = HEAD + usize::from(*length);
    let octets = Bytes::from(octets);
    if begin > octets.len() {
        return Err(corrupt(WRONG_OCTETS));
    }
    decode_message(octets.slice(begin..))
        .map_err(|invalid| StoreError::new(pushgrid_store::ErrorKind::Corrupt, invalid))
}

/// Epoch, node, session.
pub(crate) fn claim(octets: &[u8]) -> Result<Claim, StoreError> {
    let mut rest = octets;
    let epoch = Epoch(u64::from_be_bytes(take(&mut rest)?));
    let node = NodeId(u64::from_be_bytes(take(&mut rest)?));
    let session = SessionId(u64::from_be_bytes(take(&mut rest)?));
    end(rest, Claim { epoch, session: SessionRef { node, session } })
}

fn number(item: Option<&Value>) -> Result<i64, StoreError> {
    match item {
        Some(Value::Int(number)) => Ok(*number),
        _ => Err(corrupt(WRONG_FORM)),
    }
}

fn decimal(item: Option<Value>) -> Result<u64, StoreError> {
    let octets = octets(item)?;
    let text = std::str::from_utf8(&octets).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| corrupt(WRONG_FORM))
}

/// The next octets of a value.
pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StoreError> {
    let (first, after) = rest.split_first_chunk().ok_or_else(|| corrupt(WRONG_OCTETS))?;
    *rest = after;
    Ok(*first)
}

/// `value`, when nothing is left of its octets.
pub(crate) fn end<T>(rest: &[u8], value: T) -> Result<T, StoreError> {
    if rest.is_empty() { Ok(value) } else { Err(corrupt(WRONG_OCTETS)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pushgrid_types::{Content, Ttl, Urgency};

    use super::*;
    use crate::batch::{of_message, of_subscription};

    fn id(octets: [u8; 16]) -> SubscriptionRef {
        let incarnation = Incarnation::from_slice(&octets[..12]).expect("they are 12");
        SubscriptionRef {
            user_agent: UserAgentId::from_octets(octets),
            channel: ChannelId::from_octets(octets),
            incarnation,
        }
    }

    proptest! {
        #[test]
        fn a_subscription_comes_back_from_its_octets(octets: [u8; 16], at: u64, key: Option<[u8; 32]>) {
            let id = id(octets);
            let made =
                Subscription { id, vapid: key.map(VapidKeyHash), created_at: Timestamp::from_millis(at) };
            let read = subscription(id.user_agent, id.channel, &of_subscription(&made)).unwrap();
            prop_assert_eq!(read, made);
        }

        #[test]
        fn a_message_comes_back_from_its_octets(
            octets: [u8; 16],
            sequence in 0..1_u64 << 53,
            body: Vec<u8>,
            topic in proptest::option::of("[A-Za-z0-9_-]{1,32}"),
        ) {
            let sent = Message {
                id: MessageId::from_octets(octets),
                to: id(octets),
                sequence: Sequence(sequence),
                accepted_at: Timestamp::from_millis(1),
                ttl: Ttl::from_secs(60),
                expires_at: Timestamp::from_millis(60_001),
                urgency: Urgency::Low,
                topic: topic.map(|text| text.parse().unwrap()),
                content: Content { body: body.into(), ..Content::default() },
            };
            let kept = of_message(&sent, Tenure(7)).unwrap();
            prop_assert_eq!(&kept[..8], &7_u64.to_be_bytes());
            prop_assert_eq!(&kept[8..16], &sequence.to_be_bytes());
            prop_assert_eq!(message(kept).unwrap(), sent);
        }

        #[test]
        fn no_octets_make_a_reader_panic(octets: Vec<u8>) {
            let one = id([0; 16]);
            let _ = subscription(one.user_agent, one.channel, &octets);
            let _ = (stored(&octets), due(&octets), claim(&octets), message(octets));
        }
    }
}
