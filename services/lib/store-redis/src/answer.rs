//! Decoding of the scripts' answers.
//!
//! An answer is an array. It begins with 0 and the values asked for, with 1 when the caller is fenced, with 2 and the
//! position of a view that is behind, or with 3 and the user agents that the view cannot read.

use bytes::Bytes;
use pushgrid_proto::stored::decode_message;
use pushgrid_store::{
    Claim, History, Page, Stamp, StoreError, StoredMessage, Subscription, Usage, ViewError,
};
use pushgrid_types::{
    ChannelId, Epoch, Incarnation, LeaderEpoch, Message, MessageId, NodeId, Position, ReceiptRequest,
    Restriction, Sequence, SessionId, SessionRef, SubscriptionRef, Timestamp, UserAgentId, WebhookUrl,
};
use redis::Value;

use crate::failure::corrupt;

/// Octets before a stored message: leader epoch, sequence, expiry, octets of the body, and the length of the channel
/// and topic between these and the message.
pub(crate) const HEAD: usize = 29;

/// Bit of a subscription's instant that says whether it is the one of a visit. Earlier releases read the whole as an
/// instant, and do nothing with it.
pub(crate) const NOTED: u64 = 1 << 63;

/// First octet of the part after the instant, if the subscription has a webhook: then come the length of the restriction,
/// the restriction, and the URL, with spaces behind it that make the part longer than any restriction. Earlier releases read
/// it as no restriction of theirs, and restore the user agent from the changelog.
pub(crate) const WEBHOOK: u8 = 255;

/// Least length of the part after the instant of a subscription with a webhook.
pub(crate) const HOOKED_MIN: usize = 34;

/// Values of an accepted call.
pub(crate) type Items = std::vec::IntoIter<Value>;

const WRONG_FORM: &str = "an answer is not of the form that the script gives";
const WRONG_OCTETS: &str = "a value is not what was written there";

/// Failure for an answer in another form than the script gives.
pub(crate) fn wrong_form() -> StoreError {
    corrupt(WRONG_FORM)
}

/// Splits an answer into its leading number and its values.
pub(crate) fn open(value: Value) -> Result<(i64, Items), StoreError> {
    let Value::Array(items) = value else { return Err(corrupt(WRONG_FORM)) };
    let mut items = items.into_iter();
    let first = number(items.next().as_ref())?;
    Ok((first, items))
}

/// Opens the answer of a script with a read barrier.
pub(crate) fn open_view(value: Value) -> Result<Items, ViewError> {
    let (first, mut items) = open(value)?;
    match first {
        0 => Ok(items),
        1 => Err(ViewError::Fenced),
        2 => Err(ViewError::Behind(position(items.next())?)),
        3 => Err(ViewError::Unreadable(user_agents(items)?)),
        _ => Err(corrupt(WRONG_FORM).into()),
    }
}

/// Opens the answer of a script with a leader epoch alone.
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

/// Stamp of a view; `None` for an empty one. An identity of another length is no changelog's.
pub(crate) fn stamp(mut items: Items) -> Result<Option<Stamp>, StoreError> {
    let Some(leader_epoch) = items.next() else { return Ok(None) };
    let leader_epoch = LeaderEpoch(position(Some(leader_epoch))?.0);
    let position = position(items.next())?;
    let history = octets(items.next())?;
    let history = (!history.is_empty()).then(|| History(history.try_into().unwrap_or([0; History::SIZE])));
    Ok(Some(Stamp { history, leader_epoch, position }))
}

/// Reads each item with `of`; `None` for a missing one. There must be `asked` items. Unreadable items are reported as
/// unreadable user agents, named by `whose`.
pub(crate) fn each<T>(
    items: Items,
    asked: usize,
    of: impl Fn(usize, &[u8]) -> Result<T, StoreError>,
    whose: impl Fn(usize) -> UserAgentId,
) -> Result<Vec<Option<T>>, ViewError> {
    if items.len() != asked {
        return Err(corrupt(WRONG_FORM).into());
    }
    let mut unreadable = Vec::new();
    let mut found = Vec::with_capacity(asked);
    for (at, item) in items.enumerate() {
        match optional(Some(item))?.map(|octets| of(at, &octets)).transpose() {
            Ok(read) => found.push(read),
            Err(_) => unreadable.push(whose(at)),
        }
    }
    if unreadable.is_empty() {
        return Ok(found);
    }
    unreadable.sort_unstable();
    unreadable.dedup();
    Err(ViewError::Unreadable(unreadable))
}

/// Result of a read of one user agent: an unreadable value is reported as an unreadable user agent.
pub(crate) fn read<T>(user_agent: UserAgentId, read: Result<T, StoreError>) -> Result<T, ViewError> {
    read.map_err(|_| ViewError::Unreadable(vec![user_agent]))
}

/// Reads each item with `of`. None may be missing.
pub(crate) fn all<T>(
    items: Items,
    of: impl Fn(Vec<u8>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    items.map(|item| of(octets(Some(item))?)).collect()
}

/// User agents, sorted, each once.
pub(crate) fn user_agents(items: Items) -> Result<Vec<UserAgentId>, StoreError> {
    let mut all = all(items, |octets| {
        let mut rest = &octets[..];
        let user_agent = UserAgentId::from_octets(take(&mut rest)?);
        end(rest, user_agent)
    })?;
    all.sort_unstable();
    all.dedup();
    Ok(all)
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

/// Number of stored messages, and octets of their bodies, which are missing when there are none.
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
    let seen_at = u64::from_be_bytes(take(&mut rest)?);
    let (seen_at, is_noted) = (Timestamp::from_millis(seen_at & !NOTED), seen_at & NOTED != 0);
    let mut webhook = None;
    if rest.len() >= HOOKED_MIN
        && let [WEBHOOK, length, parts @ ..] = rest
    {
        let (restriction, url) =
            parts.split_at_checked(usize::from(*length)).ok_or_else(|| corrupt(WRONG_OCTETS))?;
        let url = std::str::from_utf8(url).ok().and_then(|url| WebhookUrl::new(url.trim_end_matches(' ')));
        (rest, webhook) = (restriction, Some(url.ok_or_else(|| corrupt(WRONG_OCTETS))?));
    }
    let restriction = Restriction::from_octets((!rest.is_empty()).then_some(rest));
    let restriction = restriction.ok_or_else(|| corrupt(WRONG_OCTETS))?;
    let id = SubscriptionRef { user_agent, channel, incarnation };
    Ok(Subscription { id, restriction, seen_at, is_noted, webhook })
}

/// Reads message id, leader epoch, sequence, channel, incarnation, and the receipt that was asked for, if one was.
pub(crate) fn stored(user_agent: UserAgentId, octets: &[u8]) -> Result<StoredMessage, StoreError> {
    let mut rest = octets;
    let id = MessageId::from_octets(take(&mut rest)?);
    let since = LeaderEpoch(u64::from_be_bytes(take(&mut rest)?));
    let sequence = Sequence(u64::from_be_bytes(take(&mut rest)?));
    let channel = ChannelId::from_octets(take(&mut rest)?);
    let incarnation = Incarnation::from_octets(take(&mut rest)?);
    let to = SubscriptionRef { user_agent, channel, incarnation };
    let receipt =
        (!rest.is_empty()).then(|| ReceiptRequest::from_slice(rest).ok_or_else(|| corrupt(WRONG_OCTETS)));
    Ok(StoredMessage { id, to, sequence, since, receipt: receipt.transpose()? })
}

/// Reads a user agent, then as [`stored`].
pub(crate) fn due(octets: &[u8]) -> Result<StoredMessage, StoreError> {
    let mut rest = octets;
    let user_agent = UserAgentId::from_octets(take(&mut rest)?);
    stored(user_agent, rest)
}

/// Subscriptions of a user agent, each after its channel.
pub(crate) fn subscriptions(
    user_agent: UserAgentId,
    mut items: Items,
) -> Result<Vec<Subscription>, StoreError> {
    let mut all = Vec::with_capacity(items.len() / 2);
    while let Some(item) = items.next() {
        let channel = octets(Some(item))?;
        let channel = ChannelId::from_slice(&channel).ok_or_else(|| corrupt(WRONG_OCTETS))?;
        all.push(subscription(user_agent, channel, &octets(items.next())?)?);
    }
    Ok(all)
}

/// Subscriptions of many user agents, each after user agent and channel. A value in another form is left out.
pub(crate) fn swept(mut items: Items) -> Result<Vec<Subscription>, StoreError> {
    let mut all = Vec::with_capacity(items.len() / 3);
    while let Some(item) = items.next() {
        let (user_agent, channel) = (octets(Some(item))?, octets(items.next())?);
        let value = octets(items.next())?;
        let named = UserAgentId::from_slice(&user_agent).zip(ChannelId::from_slice(&channel));
        all.extend(named.and_then(|(of, on)| subscription(of, on, &value).ok()));
    }
    Ok(all)
}

/// Decodes a stored message. The body is not copied.
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

/// Answer of the script `page`.
#[derive(Debug)]
pub(crate) enum PageAnswer {
    Read(Page),
    /// Nothing within reach: to be read on from this place of this level, counted from the first one asked for.
    Unfinished {
        level: usize,
        after: Sequence,
    },
}

/// A page, or the place to go on from.
pub(crate) fn page(mut items: Items) -> Result<PageAnswer, StoreError> {
    match number(items.next().as_ref())? {
        kind @ 0..=1 => Ok(PageAnswer::Read(Page { messages: all(items, message)?, is_last: kind == 1 })),
        2 => {
            let level = usize::try_from(number(items.next().as_ref())?).map_err(|_| corrupt(WRONG_FORM))?;
            Ok(PageAnswer::Unfinished { level, after: Sequence(decimal(items.next())?) })
        }
        _ => Err(corrupt(WRONG_FORM)),
    }
}

/// Claims on the user agents asked for. A foreign value is no claim.
pub(crate) fn claims(items: Items, asked: usize) -> Result<Vec<Option<Claim>>, StoreError> {
    if items.len() != asked {
        return Err(corrupt(WRONG_FORM));
    }
    let read = |item| Ok(optional(Some(item))?.and_then(|octets| claim(&octets).ok()));
    items.map(read).collect()
}

/// Reads epoch, node, session.
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

pub(crate) fn decimal(item: Option<Value>) -> Result<u64, StoreError> {
    let octets = octets(item)?;
    let text = std::str::from_utf8(&octets).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| corrupt(WRONG_FORM))
}

/// Takes the next octets of a value.
pub(crate) fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StoreError> {
    let (first, after) = rest.split_first_chunk().ok_or_else(|| corrupt(WRONG_OCTETS))?;
    *rest = after;
    Ok(*first)
}

/// Returns `value` if no octets are left.
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

    #[test]
    fn the_stored_form_of_a_subscription_does_not_change() {
        let of = |kind, is_noted| {
            let restriction = Restriction::from_parts(kind, [7; 32]).unwrap();
            let seen_at = Timestamp::from_millis(2);
            of_subscription(&Subscription { id: id([1; 16]), restriction, seen_at, is_noted, webhook: None })
        };
        let octets = |kind| of(kind, false);
        assert_eq!(of(0, true), [&[1; 12][..], &[128, 0, 0, 0, 0, 0, 0, 2]].concat());
        let open = [&[1; 12][..], &[0, 0, 0, 0, 0, 0, 0, 2]].concat();
        assert_eq!(octets(0), open);
        assert_eq!(octets(1), [&open[..], &[7; 32]].concat());
        assert_eq!(octets(2), [&open[..], &[2], &[7; 32]].concat());
        let (restriction, webhook) =
            (Restriction::from_parts(1, [7; 32]).unwrap(), WebhookUrl::new("https://a/"));
        let seen_at = Timestamp::from_millis(2);
        let hooked = Subscription { id: id([1; 16]), restriction, seen_at, is_noted: false, webhook };
        assert_eq!(of_subscription(&hooked), [&open[..], &[255, 32], &[7; 32], b"https://a/"].concat());
        let short = Subscription { restriction: Restriction::Open, ..hooked };
        let spaces = [b' '; 22];
        assert_eq!(of_subscription(&short), [&open[..], &[255, 0], b"https://a/", &spaces].concat());
    }

    proptest! {
        #[test]
        fn a_subscription_comes_back_from_its_octets(
            octets: [u8; 16],
            at in 0..NOTED,
            kind in 0..4_u8,
            value: [u8; 32],
            is_noted: bool,
            url in proptest::option::of("[a-z]{1,100}"),
        ) {
            let id = id(octets);
            let webhook = url.as_deref().and_then(WebhookUrl::new);
            let restriction = Restriction::from_parts(kind, value).unwrap();
            let made = Subscription { id, restriction, seen_at: Timestamp::from_millis(at), is_noted, webhook };
            let read = subscription(id.user_agent, id.channel, &of_subscription(&made)).unwrap();
            prop_assert_eq!(read, made);
        }

        #[test]
        fn a_message_comes_back_from_its_octets(
            octets: [u8; 16],
            sequence in 0..1_u64 << 53,
            body: Vec<u8>,
            topic in proptest::option::of("([a-z]{1,8}:[ -~ä]{1,30})|[A-Za-z0-9_-]{1,32}"),
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
                receipt: None,
                content: Content { body: body.into(), ..Content::default() },
            };
            let kept = of_message(&sent, LeaderEpoch(7)).unwrap();
            prop_assert_eq!(&kept[..8], &7_u64.to_be_bytes());
            prop_assert_eq!(&kept[8..16], &sequence.to_be_bytes());
            prop_assert_eq!(message(kept).unwrap(), sent);
        }

        #[test]
        fn no_octets_make_a_reader_panic(octets: Vec<u8>) {
            let one = id([0; 16]);
            let _ = subscription(one.user_agent, one.channel, &octets);
            let _ = (stored(one.user_agent, &octets), due(&octets), claim(&octets), message(octets));
        }
    }
}
