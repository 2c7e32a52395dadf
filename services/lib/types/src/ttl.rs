//! `TTL` of RFC 8030 section 5.2: a validated number of seconds.
//!
//! Invariant: a [`Ttl`] is at most 2^31 s. The absolute expiry that follows from a TTL is set with the message.

use std::str::FromStr;
use std::time::Duration;

use crate::limits::TTL_OVERFLOW_SECONDS;

/// Time that a message may wait for its user agent, in whole seconds (RFC 8030 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(u32);

/// A TTL field that is not a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("TTL must be a whole number of seconds, such as 60")]
pub struct InvalidTtl;

impl Ttl {
    /// Deliver now or never.
    pub const ZERO: Self = Self(0);

    /// From whole seconds; more than 2^31 is taken as 2^31.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(if seconds > TTL_OVERFLOW_SECONDS { TTL_OVERFLOW_SECONDS } else { seconds })
    }

    /// Whole seconds.
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// The same as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }

    /// True for a message to be delivered at once or not at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The shorter of the two.
    #[must_use]
    pub fn at_most(self, cap: Self) -> Self {
        self.min(cap)
    }
}

impl FromStr for Ttl {
    type Err = InvalidTtl;

    /// `1*DIGIT`; a number that overflows is taken as 2^31, never refused.
    fn from_str(text: &str) -> Result<Self, InvalidTtl> {
        if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(InvalidTtl);
        }
        //= RFC 8030 section 5.2
        //# If a recipient receives a TTL value greater than the greatest integer it can represent, or if any
        //# of its subsequent calculations overflows, it MUST consider the value to be 2147483648 (2^31).
        Ok(Self::from_secs(text.parse().unwrap_or(TTL_OVERFLOW_SECONDS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Holds.
    #[test]
    fn takes_digits_only_and_never_overflows() {
        for bad in ["", "-1", "+5", "5.0", "1e3", "abc", "0x10", "5, 6", " 5"] {
            assert_eq!(bad.parse::<Ttl>(), Err(InvalidTtl), "{bad:?}");
        }
        assert_eq!("007".parse(), Ok(Ttl(7)));
        assert_eq!("2147483647".parse(), Ok(Ttl(2_147_483_647)));
        for big in ["4294967296", "18446744073709551616", &"9".repeat(100)] {
            assert_eq!(big.parse(), Ok(Ttl(1 << 31)), "{big:?}");
        }
    }
}
