//! Application servers that post as fast as they are answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;

use super::chance::Chance;
use super::history::{Answer, Event, History, Message, Subscription};
use crate::wire::party::Application;

/// A sender takes a breath after a refusal, so that a limit of the service does not make the history long.
const BREATH: Duration = Duration::from_millis(50);

/// At most this many messages for each subscription: more only makes the checker slow.
const MOST: usize = 3000;

/// Whether the process runs, as far as the test knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Up,
    Down,
    /// Nobody is to post any more.
    Done,
}

/// The sender of one subscription.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) history: Arc<History>,
    pub(super) service: watch::Receiver<Service>,
    pub(super) to: Subscription,
    pub(super) endpoint: String,
    /// Between two messages. Zero is full speed.
    pub(super) pause: Duration,
    pub(super) chance: Chance,
}

/// The octets of a message: its number, and then what its number decides.
pub(super) fn body(message: Message) -> Bytes {
    let filler = Chance::new(message as u64).below(1500);
    let octets = (0..filler).map(|at| u8::try_from((at + message as u64) % 251).unwrap_or_default());
    format!("{message}:").into_bytes().into_iter().chain(octets).collect()
}

/// The number of the message whose octets these are; `None` when they are not exactly its own.
pub(super) fn number(octets: &[u8]) -> Option<Message> {
    let digits = octets.split(|octet| *octet == b':').next()?;
    let message = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (body(message) == octets).then_some(message)
}

impl Sender {
    /// Posts until it is told that all is done.
    pub(super) async fn run(mut self) {
        let app = Application::with_one_connection();
        for _ in 0..MOST {
            let up = self.service.wait_for(|service| *service != Service::Down).await;
            if up.is_ok_and(|service| *service == Service::Done) {
                return;
            }
            let ttl = match self.chance.below(10) {
                0 => 0,
                1 | 2 => 1 + self.chance.below(2),
                _ => 3600,
            };
            let topic =
                self.chance.percent(30).then(|| u8::try_from(self.chance.below(3)).unwrap_or_default());
            match post(&self.history, &app, self.to, &self.endpoint, Duration::from_secs(ttl), topic).await {
                Answer::Accepted => sleep(self.pause).await,
                Answer::Refused | Answer::Unknown => sleep(BREATH).await,
            }
        }
    }
}

/// Posts one message, and writes down what came of it.
pub(super) async fn post(
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
        Ok(400..=499) => Answer::Refused,
        Ok(_) | Err(_) => Answer::Unknown,
    };
    history.record(Event::Answered { message, answer });
    answer
}
