use std::time::Duration;

use pushgrid_runtime::config::Reader;
use pushgrid_store::PageLimit;

use crate::partition::Limits;

/// What an operator may choose of a router.
#[derive(Debug, Clone)]
pub struct Config {
    window: usize,
    ack_timeout: Duration,
    page_octets: usize,
    batch: usize,
    max_subscriptions: usize,
    sweep_interval: Duration,
}

/// The router's waiting list of events, in events. A session adds at most one at a time.
pub(crate) const INBOX: usize = 4096;

impl Config {
    /// Reads the settings of the section `router`.
    pub fn read(reader: &mut Reader) -> Self {
        let seconds = Duration::from_secs;
        Self {
            window: at_most_usize(reader.count(
                "router.window",
                128,
                1..=10_000,
                "Messages sent to one user agent and not acknowledged; the rest waits in the mailbox.",
            )),
            ack_timeout: reader.duration(
                "router.ack_timeout",
                "30s",
                Duration::from_millis(100)..=seconds(3600),
                "How long a message may be in flight before it is moved from the log to the mailbox.",
            ),
            page_octets: reader.octets(
                "router.page",
                "256KiB",
                4096..=16 << 20,
                "How much is read from the mailbox at a time for one user agent.",
            ),
            batch: at_most_usize(reader.count(
                "router.batch",
                512,
                1..=10_000,
                "Messages taken from the log at a time.",
            )),
            max_subscriptions: at_most_usize(reader.count(
                "router.max_subscriptions",
                1000,
                1..=100_000,
                "Subscriptions that one user agent may have.",
            )),
            sweep_interval: reader.duration(
                "router.sweep_interval",
                "1s",
                Duration::from_millis(10)..=seconds(60),
                "How often expired messages are looked for.",
            ),
        }
    }

    pub(crate) const fn batch(&self) -> usize {
        self.batch
    }

    pub(crate) const fn max_subscriptions(&self) -> usize {
        self.max_subscriptions
    }

    pub(crate) const fn sweep_interval(&self) -> Duration {
        self.sweep_interval
    }

    pub(crate) const fn limits(&self) -> Limits {
        Limits {
            window: self.window,
            ack_timeout: self.ack_timeout,
            page: PageLimit { messages: self.window, octets: self.page_octets },
            cancel_grace: Duration::from_secs(1),
            early_cancels: 10_000,
            early_ends_for: Duration::from_secs(30),
            early_ends: 10_000,
        }
    }
}

fn at_most_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
