//! The wish for a receipt beside a message (RFC 8030 section 5.1).

use crate::{ChannelId, Incarnation, SubscriptionRef, Ttl, UserAgentId};

/// The receipt that the sender of a message asked for.
///
/// # Stored form
/// 48 octets: user agent, channel and incarnation of the receipt subscription, and the seconds of the time to live, big
/// endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReceiptRequest {
    /// The receipt subscription.
    pub to: SubscriptionRef,
    /// Time that the receipt waits for its application server.
    pub ttl: Ttl,
}

impl ReceiptRequest {
    /// Length of the stored form in octets.
    pub const SIZE: usize = UserAgentId::SIZE + ChannelId::SIZE + Incarnation::SIZE + size_of::<u32>();

    /// The stored form.
    pub fn to_octets(&self) -> [u8; Self::SIZE] {
        let Self { to: SubscriptionRef { user_agent, channel, incarnation }, ttl } = self;
        let parts: [&[u8]; 4] = [
            user_agent.as_octets(),
            channel.as_octets(),
            incarnation.as_octets(),
            &ttl.as_secs().to_be_bytes(),
        ];
        parts.concat().try_into().expect("the parts have the sizes that make it up")
    }

    /// Parses the stored form; `None` for octets never made by [`Self::to_octets`].
    pub fn from_slice(octets: &[u8]) -> Option<Self> {
        let (user_agent, rest) = octets.split_first_chunk()?;
        let (channel, rest) = rest.split_first_chunk()?;
        let (incarnation, rest) = rest.split_first_chunk::<{ Incarnation::SIZE }>()?;
        let seconds = u32::from_be_bytes(rest.try_into().ok()?);
        let ttl = Ttl::from_secs(seconds);
        let to = SubscriptionRef {
            user_agent: UserAgentId::from_octets(*user_agent),
            channel: ChannelId::from_octets(*channel),
            incarnation: Incarnation::from_octets(*incarnation),
        };
        (ttl.as_secs() == seconds).then_some(Self { to, ttl })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subscription(label: u8) -> SubscriptionRef {
        SubscriptionRef {
            user_agent: UserAgentId::from_octets([label; 16]),
            channel: ChannelId::from_octets([label + 1; 16]),
            incarnation: Incarnation::from_octets([label + 2; 12]),
        }
    }

    proptest! {
        #[test]
        fn a_request_comes_back_from_its_stored_form(label in 0..200_u8, ttl: u32) {
            let asked = ReceiptRequest { to: subscription(label), ttl: Ttl::from_secs(ttl) };
            prop_assert_eq!(ReceiptRequest::from_slice(&asked.to_octets()), Some(asked));
        }

        #[test]
        fn other_octets_are_refused_without_panic(octets: Vec<u8>) {
            if let Some(asked) = ReceiptRequest::from_slice(&octets) {
                prop_assert_eq!(&asked.to_octets()[..], &octets[..]);
            }
        }
    }
}
