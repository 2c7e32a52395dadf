//! Settings of a router, and the bounds of a partition derived from them ([`Limits`]). Bounds that no
//! operator sets are constants here. Not here: settings of the log and of the stores.

use std::time::Duration;

use pushgrid_runtime::config::Reader;
use pushgrid_store::PageLimit;
use pushgrid_types::cast::saturating;

use crate::partition::Limits;

/// Settings of the section `router`, within their bounds.
#[derive(Debug, Clone)]
pub struct Config {
    window: usize,
    ack_timeout: Duration,
    page_octets: usize,
    batch: usize,
    max_subscriptions: usize,
    sweep_interval: Duration,
    stuck_after: Duration,
    unseen_limit: Duration,
}

/// Capacity of a partition's event queue, in events. A session adds at most one at a time.
pub(crate) const INBOX: usize = 4096;

/// Most acknowledgements remembered of a partition's messages that are not yet re-read from the log after a
/// take-over: about 3 MB.
const EARLY_ENDS: usize = 65_536;

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
                "Longest time that a message may be in flight before it is moved from the log to the mailbox.",
            ),
            page_octets: reader.octets(
                "router.page",
                "256KiB",
                4096..=16 << 20,
                "Octets read from the mailbox at a time for one user agent.",
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
                "Interval between searches for expired messages.",
            ),
            stuck_after: reader.duration(
                "router.stuck_after",
                "15s",
                seconds(1)..=seconds(3600),
                "Longest time that a partition assigned to a router may be without a working owner before the \
                 router is not ready. A rebuild that moves on is work.",
            ),
            unseen_limit: reader.duration(
                "router.unseen_limit",
                "0s",
                Duration::ZERO..=seconds(3650 * 86_400),
                "Time after which a user agent that has not connected ends with all its subscriptions, give or take \
                 a sixteenth and a day; 0 for never.",
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

    /// Longest time for an assigned partition without a working owner before its router is not ready.
    pub const fn stuck_after(&self) -> Duration {
        self.stuck_after
    }

    /// Time after which a user agent that has not connected is ended; `None` for never.
    pub(crate) fn unseen_limit(&self) -> Option<Duration> {
        Some(self.unseen_limit).filter(|limit| !limit.is_zero())
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            window: self.window,
            ack_timeout: self.ack_timeout,
            page: PageLimit { messages: self.window, octets: self.page_octets },
            cancel_grace: Duration::from_secs(1),
            early_cancels: 10_000,
            early_ends: EARLY_ENDS,
            // A user agent cannot have had more in flight.
            early_ends_each: self.window.min(EARLY_ENDS / 64),
        }
    }
}

fn at_most_usize(count: u64) -> usize {
    saturating::<usize>(count)
}
