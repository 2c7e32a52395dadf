//! History of a run, as seen by application servers and user agents.
//!
//! A test of faults records each posting, answer, delivery and acknowledgement, and at the end the [`checker`] looks
//! for broken promises. The checker is tested itself.

pub(crate) mod chance;
pub(crate) mod checker;
pub(crate) mod posting;

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

/// Number of a message, in the order in which posting began.
pub(crate) type Message = usize;

/// Number of a subscription. Its messages are posted one after the other, so numbers are in the order of acceptance.
pub(crate) type Subscription = usize;

/// Knowledge of the application server about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 201: must be delivered before expiry.
    Accepted,
    /// A 4xx: must never be delivered.
    Refused,
    /// 404 or 410: the subscription has ended, truly, and the message must never be delivered.
    Gone,
    /// No answer, or a 5xx: the message may or may not be delivered.
    Unknown,
}

/// Event of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Posting begins.
    Posted { message: Message, to: Subscription, ttl: Duration, topic: Option<u8> },
    /// Posting has ended.
    Answered { message: Message, answer: Answer },
    /// A user agent received a message, identified by its content.
    Delivered { message: Message, to: Subscription, version: String },
    /// A user agent acknowledges the message.
    Acknowledged { message: Message },
    /// The user agent of a subscription connects again.
    Connected { to: Subscription },
    /// The user agent of a subscription begins to end the subscription: from now on messages may end with it.
    Ending { to: Subscription },
    /// The service has confirmed the end.
    Ended { to: Subscription },
    /// The process is about to be killed, or has been.
    Killed,
    /// Something else was done to the service.
    Fault(String),
    /// The service has looked at every message posted before: later deliveries are of stored messages.
    Drained,
}

/// Event with its time since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) event: Event,
}

/// Events in order, written by many tasks.
#[derive(Debug)]
pub(crate) struct History {
    began: Instant,
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    entries: Vec<Entry>,
    messages: usize,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), written: Mutex::default() }
    }

    pub(crate) fn record(&self, event: Event) {
        let mut written = self.lock();
        let at = self.began.elapsed();
        written.entries.push(Entry { at, event });
    }

    /// Records the start of posting, and numbers the message.
    pub(crate) fn post(&self, to: Subscription, ttl: Duration, topic: Option<u8>) -> Message {
        let mut written = self.lock();
        let (message, at) = (written.messages, self.began.elapsed());
        written.messages += 1;
        written.entries.push(Entry { at, event: Event::Posted { message, to, ttl, topic } });
        message
    }

    /// Messages posted so far.
    pub(crate) fn posted(&self) -> usize {
        self.lock().messages
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// No code panics while holding the lock.
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock()
    }
}

impl Event {
    /// Message of the event, if any.
    pub(crate) fn message(&self) -> Option<Message> {
        match self {
            Self::Posted { message, .. }
            | Self::Answered { message, .. }
            | Self::Delivered { message, .. }
            | Self::Acknowledged { message } => Some(*message),
            Self::Connected { .. }
            | Self::Ending { .. }
            | Self::Ended { .. }
            | Self::Killed
            | Self::Fault(_)
            | Self::Drained => None,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:9.3} s  {:?}", self.at.as_secs_f64(), self.event)
    }
}

/// Entries about some messages of one subscription, and those about no message or subscription.
pub(crate) fn about(entries: &[Entry], messages: &[Message]) -> String {
    let of_them = |entry: &&Entry| entry.event.message().is_some_and(|it| messages.contains(&it));
    let subscription = entries.iter().filter(of_them).find_map(|entry| match entry.event {
        Event::Posted { to, .. } => Some(to),
        _ => None,
    });
    let lines = entries.iter().filter(|entry| match entry.event {
        Event::Connected { to } | Event::Ending { to } | Event::Ended { to } => subscription == Some(to),
        _ => entry.event.message().is_none() || of_them(entry),
    });
    lines.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
