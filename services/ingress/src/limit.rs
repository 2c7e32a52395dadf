use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use pushgrid_types::UserAgentId;

use crate::config::Rate;

/// Rate limit of the messages to each user agent (RFC 8030 section 8.4): one token bucket each.
#[derive(Debug)]
pub(crate) struct PerUserAgent {
    limiter: Option<DefaultKeyedRateLimiter<UserAgentId>>,
    clock: DefaultClock,
}

impl PerUserAgent {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        let quota = |rate: Rate| Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self { limiter: rate.map(|rate| RateLimiter::keyed(quota(rate))), clock: DefaultClock::default() }
    }

    /// Takes one from the user agent's bucket, or says how long to wait for the next.
    pub(crate) fn take(&self, user_agent: UserAgentId) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check_key(&user_agent).map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Forgets buckets that are full again. Called once a minute, so there are as many buckets as user agents
    /// with a message in the last minute: only a live subscription gets a bucket.
    pub(crate) fn tidy(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}
