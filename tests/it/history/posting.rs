//! Messages with their number in the body.

use std::time::Duration;

use bytes::Bytes;

use super::chance::Chance;
use super::{Answer, Event, History, Message, Subscription};
use crate::wire::party::Application;

/// Body of a message: the number, and a filler derived from the number.
pub(crate) fn body(message: Message) -> Bytes {
    let filler = Chance::new(message as u64).below(1500);
    let octets = (0..filler).map(|at| u8::try_from((at + message as u64) % 251).unwrap_or_default());
    format!("{message}:").into_bytes().into_iter().chain(octets).collect()
}

/// Number of the message with this body; `None` unless every octet is as written.
pub(crate) fn number(octets: &[u8]) -> Option<Message> {
    let digits = octets.split(|octet| *octet == b':').next()?;
    let message = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (body(message) == octets).then_some(message)
}

/// Posts one message, and records the answer.
pub(crate) async fn post(
    history: &History,
    app: &Application,
    to: Subscription,
    endpoint: &str,
    ttl: Duration,
    topic: Option<u8>,
) -> Answer {
    let message = history.post(to, ttl, topic);
    let (ttl, topic) = (ttl.as_secs().to_string(), topic.map(|topic| format!("topic-{topic}")));
    let mut fields = vec![("ttl", ttl.as_str())];
    fields.extend(topic.as_deref().map(|topic| ("topic", topic)));
    let answer = match app.post(endpoint, &fields, body(message)).await.map(|response| response.status) {
        Ok(201) => Answer::Accepted,
        Ok(404 | 410) => Answer::Gone,
        Ok(400..=499) => Answer::Refused,
        Ok(_) | Err(_) => Answer::Unknown,
    };
    history.record(Event::Answered { message, answer });
    answer
}
