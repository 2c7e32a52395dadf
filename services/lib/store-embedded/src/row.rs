//! Encoding of values in the file, and the statements shared by several changes. Invariant: a value of the wrong type
//! or length fails as corrupt, and never panics.

use std::sync::Arc;

use bytes::Bytes;
use pushgrid_store::Subscription;
use pushgrid_types::cast::saturating;
use pushgrid_types::{
    ChannelId, Content, Incarnation, Message, MessageId, ReceiptRequest, ReplaceKey, Restriction, Sequence,
    SubscriptionRef, Timestamp, Ttl, Urgency, UserAgentId, WebhookUrl,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::failure::Failure;

/// Columns that [`message`] reads, in its order.
macro_rules! message_columns {
    () => {
        "seq, user_agent, channel, incarnation, id, accepted_at, ttl, expires_at, urgency, topic, \
         encoding, encryption, crypto_key, content_type, receipt, body"
    };
}
pub(crate) use message_columns;

pub(crate) const INSERT: &str = concat!(
    "INSERT INTO message (stored, octets, ",
    message_columns!(),
    ") VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
);

/// Columns of a subscription, without its user agent and channel. `created_at` is the instant at which the user agent
/// was last here, if `noted`.
macro_rules! subscription_columns {
    () => {
        "incarnation, vapid, created_at, noted, webhook"
    };
}
pub(crate) use subscription_columns;

pub(crate) const FIND_SUBSCRIPTION: &str =
    concat!("SELECT ", subscription_columns!(), " FROM subscription WHERE user_agent = ?1 AND channel = ?2");

/// Converts to `SQLite`'s signed integers. No real sequence, length or instant reaches the sign; one that did would
/// become the largest.
pub(crate) fn to_integer(value: u64) -> i64 {
    saturating::<i64>(value)
}

/// Length of a body as an integer of the file.
pub(crate) fn octets(length: usize) -> i64 {
    saturating::<i64>(length)
}

/// Reads a non-negative integer.
pub(crate) fn to_unsigned(value: i64) -> Result<u64, Failure> {
    u64::try_from(value).map_err(|_| Failure::corrupt("a negative number where none can be"))
}

/// Reads a column of non-negative integers.
pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, Failure> {
    to_unsigned(row.get(column)?)
}

/// Writes `message` to the log, under its own sequence.
pub(crate) fn insert(connection: &Connection, message: &Message) -> Result<(), Failure> {
    let Message { id, to, sequence, accepted_at, ttl, expires_at, urgency, topic, receipt, content } =
        message;
    let mut statement = connection.prepare_cached(INSERT)?;
    statement.execute(params![
        octets(content.body.len()),
        to_integer(sequence.0),
        to.user_agent.as_octets(),
        to.channel.as_octets(),
        to.incarnation.as_octets(),
        id.as_octets(),
        to_integer(accepted_at.as_millis()),
        ttl.as_secs(),
        to_integer(expires_at.as_millis()),
        urgency.level(),
        topic.as_ref().map(ReplaceKey::as_str),
        content.encoding.as_deref(),
        content.encryption.as_deref(),
        content.crypto_key.as_deref(),
        content.content_type.as_deref(),
        receipt.as_ref().map(|asked| asked.to_octets()),
        content.body.as_ref(),
    ])?;
    Ok(())
}

/// Reads a row of [`message_columns`].
pub(crate) fn message(row: &Row<'_>) -> Result<Message, Failure> {
    let to = recipient(row, 1)?;
    let topic = match row.get_ref(9)? {
        ValueRef::Null => None,
        other => Some(text(other)?.parse().map_err(|_| Failure::corrupt("a topic that is none"))?),
    };
    let urgency = Urgency::from_level(row.get(8)?).ok_or_else(|| Failure::corrupt("an unknown urgency"))?;
    Ok(Message {
        id: message_id(row, 4)?,
        to,
        sequence: Sequence(unsigned(row, 0)?),
        accepted_at: timestamp(row, 5)?,
        ttl: Ttl::from_secs(row.get(6)?),
        expires_at: timestamp(row, 7)?,
        urgency,
        topic,
        receipt: receipt(row, 14)?.map(Box::new),
        content: Content {
            encoding: header(row, 10)?,
            encryption: header(row, 11)?,
            crypto_key: header(row, 12)?,
            content_type: header(row, 13)?,
            body: Bytes::copy_from_slice(blob(row, 15)?),
            // Not stored: a trace ends where its message is read from the file.
            trace_parent: None,
        },
    })
}

pub(crate) fn messages(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Arc<Message>>, Failure> {
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        messages.push(Arc::new(message(row)?));
    }
    Ok(messages)
}

pub(crate) fn timestamp(row: &Row<'_>, column: usize) -> Result<Timestamp, Failure> {
    Ok(Timestamp::from_millis(unsigned(row, column)?))
}

pub(crate) fn user_agent(row: &Row<'_>, column: usize) -> Result<UserAgentId, Failure> {
    identifier(row, column, UserAgentId::from_slice)
}

/// Reads the id of a message in `column`.
pub(crate) fn message_id(row: &Row<'_>, column: usize) -> Result<MessageId, Failure> {
    identifier(row, column, MessageId::from_slice)
}

/// Reads the receipt that was asked for with a message.
pub(crate) fn receipt(row: &Row<'_>, column: usize) -> Result<Option<ReceiptRequest>, Failure> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => identifier(row, column, ReceiptRequest::from_slice).map(Some),
    }
}

/// Reads the subscription in the three columns from `column` on.
pub(crate) fn recipient(row: &Row<'_>, column: usize) -> Result<SubscriptionRef, Failure> {
    Ok(SubscriptionRef {
        user_agent: user_agent(row, column)?,
        channel: identifier(row, column + 1, ChannelId::from_slice)?,
        incarnation: identifier(row, column + 2, Incarnation::from_slice)?,
    })
}

/// Subscription of a channel, as the transaction of `connection` sees it.
pub(crate) fn subscription(
    connection: &Connection,
    user_agent: UserAgentId,
    channel: ChannelId,
) -> Result<Option<Subscription>, Failure> {
    let mut statement = connection.prepare_cached(FIND_SUBSCRIPTION)?;
    let key = params![user_agent.as_octets(), channel.as_octets()];
    let found = statement.query_row(key, |row| Ok(subscription_of(row, 0, user_agent, channel)));
    found.optional()?.transpose()
}

/// Reads the columns of a subscription, from `first` on.
pub(crate) fn subscription_of(
    row: &Row<'_>,
    first: usize,
    user_agent: UserAgentId,
    channel: ChannelId,
) -> Result<Subscription, Failure> {
    let incarnation = identifier(row, first, Incarnation::from_slice)?;
    let restriction = match row.get_ref(first + 1)? {
        ValueRef::Null => Restriction::Open,
        _ => identifier(row, first + 1, |octets| Restriction::from_octets(Some(octets)))?,
    };
    Ok(Subscription {
        id: SubscriptionRef { user_agent, channel, incarnation },
        restriction,
        seen_at: timestamp(row, first + 2)?,
        is_noted: row.get(first + 3)?,
        webhook: webhook(row, first + 4)?,
    })
}

fn webhook(row: &Row<'_>, column: usize) -> Result<Option<WebhookUrl>, Failure> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        other => {
            WebhookUrl::new(text(other)?).map(Some).ok_or_else(|| Failure::corrupt("a webhook that is none"))
        }
    }
}

/// Reads an identifier.
pub(crate) fn identifier<T>(
    row: &Row<'_>,
    column: usize,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, Failure> {
    read(blob(row, column)?).ok_or_else(|| Failure::corrupt("an identifier of the wrong length"))
}

fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], Failure> {
    row.get_ref(column)?.as_blob().map_err(|_| Failure::corrupt("a value of the wrong type"))
}

fn text(value: ValueRef<'_>) -> Result<&str, Failure> {
    value.as_str().map_err(|_| Failure::corrupt("a text that is none"))
}

fn header(row: &Row<'_>, column: usize) -> Result<Option<Box<str>>, Failure> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        other => Ok(Some(text(other)?.into())),
    }
}
