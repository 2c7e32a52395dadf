//! Sealed addresses of receipt subscriptions (RFC 8030 sections 5.1 and 6.3).
//!
//! Invariant: an address opens to exactly one receipt subscription, and only when a key of this service sealed that very
//! text. It has nothing in common with the addresses of the messages whose receipts it gives.

use std::sync::Arc;

use pushgrid_types::{ChannelId, Incarnation, SubscriptionRef, UserAgentId};

use crate::keys::EndpointKeys;
use crate::sealer::{Purpose, Sealer};

const SIZE: usize = UserAgentId::SIZE + ChannelId::SIZE + Incarnation::SIZE;

/// Seals receipt subscriptions into addresses at which an application server reads and ends them, and opens these. A clone
/// is cheap and works under the same keys.
///
/// An address is 98 characters of base64url, always the same until the keys change.
#[derive(Debug, Clone)]
pub struct ReceiptAddresses(Arc<Sealer>);

impl ReceiptAddresses {
    /// Seals under the first of the keys, opens under all.
    pub fn new(keys: &EndpointKeys) -> Self {
        Self(Arc::new(Sealer::new(keys, Purpose::Receipts)))
    }

    /// The address of a receipt subscription.
    pub fn seal(&self, id: &SubscriptionRef) -> String {
        let parts: [&[u8]; 3] =
            [id.user_agent.as_octets(), id.channel.as_octets(), id.incarnation.as_octets()];
        let plaintext: [u8; SIZE] =
            parts.concat().try_into().expect("the parts have the sizes that make it up");
        self.0.seal_whole(plaintext)
    }

    /// The receipt subscription that an address was sealed for; `None` when no key of ours sealed this very text.
    pub fn open(&self, text: &str) -> Option<SubscriptionRef> {
        let (_, plaintext) = self.0.open::<SIZE>(text)?;
        let (user_agent, rest) = plaintext.split_first_chunk()?;
        let (channel, incarnation) = rest.split_first_chunk()?;
        Some(SubscriptionRef {
            user_agent: UserAgentId::from_octets(*user_agent),
            channel: ChannelId::from_octets(*channel),
            incarnation: Incarnation::from_slice(incarnation)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededRng;
    use crate::{MessageAddresses, ResourceAddresses};

    // Holds: A-11.
    #[test]
    fn an_address_opens_to_what_it_was_sealed_for_and_for_no_other_purpose() {
        let keys = EndpointKeys::generate(&SeededRng::new(1));
        let rng = SeededRng::new(2);
        let id = SubscriptionRef {
            user_agent: UserAgentId::random(&rng),
            channel: ChannelId::random(&rng),
            incarnation: Incarnation::random(&rng),
        };
        let addresses = ReceiptAddresses::new(&keys);
        let text = addresses.seal(&id);
        assert_eq!((text.len(), addresses.open(&text)), (98, Some(id)));
        assert_eq!(addresses.clone().seal(&id), text, "always the same");
        let resources = ResourceAddresses::new(&keys);
        assert_eq!((resources.open_subscription(&text), resources.open_delivery(&text)), (None, None));
        assert_eq!((resources.open_set(&text), MessageAddresses::new(&keys).open(&text)), (None, None));
        assert_eq!(addresses.open(&resources.seal_subscription(&id)), None);
        let rotated = ReceiptAddresses::new(&keys.with_new_first(&SeededRng::new(3)));
        assert_eq!(rotated.open(&text), Some(id), "rotation keeps it");
        let foreign = ReceiptAddresses::new(&EndpointKeys::generate(&SeededRng::new(4)));
        assert_eq!(foreign.open(&text), None);
        assert_eq!(addresses.open(&text[1..]), None);
    }
}
