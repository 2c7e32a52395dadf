//! What happened, as the application servers and the user agents saw it.
//!
//! A test of faults writes down each posting, answer, delivery and acknowledgement, and the [`checker`] judges at the end
//! whether every promise was kept. The checker is tested itself.

pub(crate) mod chance;
pub(crate) mod checker;
pub(crate) mod posting;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One message: numbered in the order in which posting began.
pub(crate) type Message = usize;

/// One subscription. Its messages are posted one after the other, so their numbers have the order of acceptance.
pub(crate) type Subscription = usize;

/// What the application server knows of a message that it has posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 201: it must be delivered before it expires.
    Accepted,
    /// A status of the 4xx: it must never be delivered.
    Refused,
    /// 404 or 410, the subscription has ended: it must never be delivered, and this must be true.
    Gone,
    /// No answer, or one of the 5xx: both is allowed.
    Unknown,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Posting begins.
    Posted { message: Message, to: Subscription, ttl: Duration, topic: Option<u8> },
    /// Posting has ended.
    Answered { message: Message, answer: Answer },
    /// A user agent has got a message, which says that it is this one.
    Delivered { message: Message, to: Subscription, version: String },
    /// A user agent acknowledges it.
    Acknowledged { message: Message },
    /// The user agent of a subscription connects again.
    Connected { to: Subscription },
    /// The user agent of a subscription begins to end it: from now on its messages may end with it.
    Ending { to: Subscription },
    /// The service has said that it has ended.
    Ended { to: Subscription },
    /// The process is about to be killed, or has been.
    Killed,
    /// Something else was done to the service.
    Fault(String),
    /// Everything that was posted before has been looked at by the service. What is delivered from here on has waited.
    Drained,
}

/// What happened, and when, counted from the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) event: Event,
}

/// The events in their order, written by many at once.
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

    /// Posting of a new message begins.
    pub(crate) fn post(&self, to: Subscription, ttl: Duration, topic: Option<u8>) -> Message {
        let mut written = self.lock();
        let (message, at) = (written.messages, self.began.elapsed());
        written.messages += 1;
        written.entries.push(Entry { at, event: Event::Posted { message, to, ttl, topic } });
        message
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event {
    /// Which message it is about.
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

/// The lines of `entries` about some messages of one subscription, and all that is about neither.
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
