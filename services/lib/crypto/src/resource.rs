//! Sealed addresses of the resources of a user agent over HTTP: its subscriptions, their set, and the messages sent to it
//! (RFC 8030 sections 4 and 6).
//!
//! Invariant: an address opens to exactly one subscription, set or message, for one purpose, and only when a key of this
//! service sealed that very text. It has nothing in common with the endpoint and the message address for application
//! servers (RFC 8030 section 8.3).

use std::sync::Arc;

use pushgrid_types::{ChannelId, Incarnation, MessageId, MessageRef, Sequence, SubscriptionRef, UserAgentId};

use crate::keys::EndpointKeys;
use crate::sealer::{Purpose, Sealer};

/// User agent, channel, incarnation.
const SUBSCRIPTION_SIZE: usize = UserAgentId::SIZE + ChannelId::SIZE + Incarnation::SIZE;

/// User agent, channel, message id, sequence.
const DELIVERY_SIZE: usize = UserAgentId::SIZE + ChannelId::SIZE + MessageId::SIZE + size_of::<u64>();

/// Seals what a user agent may read and end into addresses for this user agent alone, and opens them. A clone is cheap
/// and works under the same keys.
///
/// An address is base64url: 98 characters for a subscription, 60 for a set, 114 for a message. The nonce of AES-256-GCM is derived
/// from all that is sealed, with a key of its own, so an address is always the same until the keys change, and two
/// addresses share nothing but the octet of the key's name.
#[derive(Debug, Clone)]
pub struct ResourceAddresses {
    subscriptions: Arc<Sealer>,
    deliveries: Arc<Sealer>,
    sets: Arc<Sealer>,
}

impl ResourceAddresses {
    /// Seals under the first of the keys, opens under all.
    pub fn new(keys: &EndpointKeys) -> Self {
        Self {
            subscriptions: Arc::new(Sealer::new(keys, Purpose::Subscription)),
            deliveries: Arc::new(Sealer::new(keys, Purpose::Delivery)),
            sets: Arc::new(Sealer::new(keys, Purpose::Set)),
        }
    }

    /// The address at which a user agent monitors and ends a subscription: 98 characters of base64url.
    pub fn seal_subscription(&self, id: &SubscriptionRef) -> String {
        let parts: [&[u8]; 3] =
            [id.user_agent.as_octets(), id.channel.as_octets(), id.incarnation.as_octets()];
        let plaintext: [u8; SUBSCRIPTION_SIZE] =
            parts.concat().try_into().expect("the parts have the sizes that make it up");
        self.subscriptions.seal_whole(plaintext)
    }

    /// The subscription that an address was sealed for; `None` when no key of ours sealed this very text.
    pub fn open_subscription(&self, text: &str) -> Option<SubscriptionRef> {
        let (_, plaintext) = self.subscriptions.open::<SUBSCRIPTION_SIZE>(text)?;
        let (user_agent, rest) = plaintext.split_first_chunk()?;
        let (channel, incarnation) = rest.split_first_chunk()?;
        Some(SubscriptionRef {
            user_agent: UserAgentId::from_octets(*user_agent),
            channel: ChannelId::from_octets(*channel),
            incarnation: Incarnation::from_slice(incarnation)?,
        })
    }

    /// The address at which a user agent monitors, adds to and ends all its subscriptions: 60 characters of base64url.
    pub fn seal_set(&self, of: UserAgentId) -> String {
        self.sets.seal_whole(*of.as_octets())
    }

    /// The user agent whose set an address was sealed for; `None` when no key of ours sealed this very text.
    pub fn open_set(&self, text: &str) -> Option<UserAgentId> {
        let (_, plaintext) = self.sets.open::<{ UserAgentId::SIZE }>(text)?;
        Some(UserAgentId::from_octets(plaintext))
    }

    /// The address at which a user agent acknowledges a message: 114 characters of base64url.
    pub fn seal_delivery(&self, message: &MessageRef) -> String {
        let parts: [&[u8]; 4] = [
            message.user_agent.as_octets(),
            message.channel.as_octets(),
            message.id.as_octets(),
            &message.sequence.0.to_be_bytes(),
        ];
        let plaintext: [u8; DELIVERY_SIZE] =
            parts.concat().try_into().expect("the parts have the sizes that make it up");
        self.deliveries.seal_whole(plaintext)
    }

    /// The message that an address was sealed for; `None` when no key of ours sealed this very text.
    pub fn open_delivery(&self, text: &str) -> Option<MessageRef> {
        let (_, plaintext) = self.deliveries.open::<DELIVERY_SIZE>(text)?;
        let (user_agent, rest) = plaintext.split_first_chunk()?;
        let (channel, rest) = rest.split_first_chunk()?;
        let (id, sequence) = rest.split_first_chunk()?;
        Some(MessageRef {
            user_agent: UserAgentId::from_octets(*user_agent),
            channel: ChannelId::from_octets(*channel),
            id: MessageId::from_octets(*id),
            sequence: Sequence(u64::from_be_bytes(sequence.try_into().ok()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pushgrid_types::Restriction;

    use super::*;
    use crate::testing::{SeededRng, with_letter};
    use crate::{EndpointTokens, MessageAddresses};

    fn keys() -> EndpointKeys {
        EndpointKeys::generate(&SeededRng::new(1))
    }

    fn subscription(seed: u64) -> SubscriptionRef {
        let rng = SeededRng::new(seed);
        SubscriptionRef {
            user_agent: UserAgentId::random(&rng),
            channel: ChannelId::random(&rng),
            incarnation: Incarnation::random(&rng),
        }
    }

    fn message(seed: u64) -> MessageRef {
        let rng = SeededRng::new(seed);
        MessageRef {
            user_agent: UserAgentId::random(&rng),
            channel: ChannelId::random(&rng),
            id: MessageId::random(&rng),
            sequence: Sequence(seed),
        }
    }

    proptest! {
        #[test]
        fn an_address_opens_to_what_it_was_sealed_for_and_is_always_the_same(seed: u64) {
            let addresses = ResourceAddresses::new(&keys());
            let one = addresses.seal_subscription(&subscription(seed));
            let other = addresses.seal_delivery(&message(seed));
            prop_assert_eq!((one.len(), other.len()), (98, 114));
            let user_agent = subscription(seed).user_agent;
            let set = addresses.seal_set(user_agent);
            prop_assert_eq!(set.len(), 60);
            prop_assert_eq!(&set, &addresses.clone().seal_set(user_agent));
            prop_assert_eq!(addresses.open_set(&set), Some(user_agent));
            prop_assert_eq!(&one, &addresses.clone().seal_subscription(&subscription(seed)));
            prop_assert_eq!(&other, &addresses.seal_delivery(&message(seed)));
            prop_assert_eq!(addresses.open_subscription(&one), Some(subscription(seed)));
            prop_assert_eq!(addresses.open_delivery(&other), Some(message(seed)));
        }

        #[test]
        fn an_address_with_any_character_changed_is_refused(seed: u64, at in 0..114_usize, other: char) {
            let addresses = ResourceAddresses::new(&keys());
            let text = addresses.seal_subscription(&subscription(seed));
            let changed = with_letter(&text, at, other);
            prop_assert!(changed == text || addresses.open_subscription(&changed).is_none());
            let text = addresses.seal_delivery(&message(seed));
            let changed = with_letter(&text, at, other);
            prop_assert!(changed == text || addresses.open_delivery(&changed).is_none());
            let text = addresses.seal_set(message(seed).user_agent);
            let changed = with_letter(&text, at, other);
            prop_assert!(changed == text || addresses.open_set(&changed).is_none());
        }

        #[test]
        fn any_other_text_is_refused_without_panic(text: String, set in "[A-Za-z0-9_-]{60}", short in "[A-Za-z0-9_-]{98}", long in "[A-Za-z0-9_-]{114}") {
            let addresses = ResourceAddresses::new(&keys());
            for text in [&text, &set, &short, &long] {
                prop_assert_eq!(addresses.open_set(text), None);
                prop_assert_eq!(addresses.open_subscription(text), None);
                prop_assert_eq!(addresses.open_delivery(text), None);
            }
        }
    }

    #[test]
    fn no_address_opens_for_another_purpose_and_none_shares_its_nonce_with_another() {
        let (keys, of, incarnation) = (keys(), message(6), Incarnation::from_octets([6; 12]));
        let to = SubscriptionRef { user_agent: of.user_agent, channel: of.channel, incarnation };
        let addresses = ResourceAddresses::new(&keys);
        let (tokens, messages) = (EndpointTokens::new(&keys), MessageAddresses::new(&keys));
        let all = [
            addresses.seal_subscription(&to),
            addresses.seal_delivery(&of),
            tokens.seal(&to, Restriction::Open),
            messages.seal(&of),
            addresses.seal_set(of.user_agent),
        ];
        for (index, text) in all.iter().enumerate() {
            assert_eq!(addresses.open_subscription(text).is_some(), index == 0);
            assert_eq!(addresses.open_delivery(text).is_some(), index == 1);
            assert_eq!(tokens.open(text).is_some(), index == 2);
            assert_eq!(messages.open(text).is_some(), index == 3);
            assert_eq!(addresses.open_set(text).is_some(), index == 4);
            for other in &all[index + 1..] {
                // The nonce is in characters 1 to 17.
                assert_ne!(text[2..17], other[2..17]);
            }
        }
    }

    #[test]
    fn rotation_keeps_every_address_and_a_foreign_key_opens_none() {
        let old = keys();
        let (one, other) = (subscription(3), message(3));
        let addresses = ResourceAddresses::new(&old);
        let (first, second) = (addresses.seal_subscription(&one), addresses.seal_delivery(&other));
        let set = addresses.seal_set(one.user_agent);
        let rotated = ResourceAddresses::new(&old.with_new_first(&SeededRng::new(4)));
        assert_eq!(rotated.open_subscription(&first), Some(one));
        assert_eq!(rotated.open_delivery(&second), Some(other));
        assert_eq!(rotated.open_set(&set), Some(one.user_agent));
        assert_ne!(rotated.seal_subscription(&one), first);
        let foreign = ResourceAddresses::new(&EndpointKeys::generate(&SeededRng::new(5)));
        assert_eq!((foreign.open_subscription(&first), foreign.open_delivery(&second)), (None, None));
        assert_eq!(foreign.open_set(&set), None);
    }
}
