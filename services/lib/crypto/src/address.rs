//! Sealed addresses of push message resources: the `Location` of RFC 8030 section 5.
//!
//! Invariant: an address opens to exactly one message, and only when a key of this service sealed that very text. No
//! table is kept; whether the message is still pending only its router knows.

use std::sync::Arc;

use pushgrid_types::{ChannelId, MessageId, MessageRef, Sequence, UserAgentId};

use crate::keys::EndpointKeys;
use crate::sealer::{NONCE_SIZE, Purpose, Sealer};

/// Octets of a message id that do not fit the nonce.
const ID_TAIL: usize = MessageId::SIZE - NONCE_SIZE;

/// The sequence, in octets.
const SEQUENCE_SIZE: usize = size_of::<u64>();

/// User agent, channel, the end of the message id, and the sequence.
const PLAINTEXT_SIZE: usize = UserAgentId::SIZE + ChannelId::SIZE + ID_TAIL + SEQUENCE_SIZE;

/// Seals messages into the addresses of push message resources (RFC 8030 section 5: `Location`), and opens
/// them. A clone is cheap and works under the same keys.
///
/// An address is 98 characters of base64url: AES-256-GCM with the first 12 octets of the message id as the
/// nonce. The keys are not those of endpoints, so an address is never taken for an endpoint.
///
/// Those 96 bits are random: among N addresses sealed under one key, N² / 2^97 is the chance of a nonce used twice,
/// which is one in a million after 400 thousand million messages. Rotating the keys starts the count again.
#[derive(Debug, Clone)]
pub struct MessageAddresses(Arc<Sealer>);

impl MessageAddresses {
    /// Seals under the first of the keys, opens under all.
    pub fn new(keys: &EndpointKeys) -> Self {
        Self(Arc::new(Sealer::new(keys, Purpose::MessageAddress)))
    }

    /// The address of a message: 98 characters of base64url without padding, always the same until the keys
    /// change.
    ///
    /// The caller owes: a message id is random and belongs to one message, for AES-GCM bears no nonce used twice.
    pub fn seal(&self, message: &MessageRef) -> String {
        let (nonce, tail) =
            message.id.as_octets().split_first_chunk().expect("a message id is longer than a nonce");
        let parts: [&[u8]; 4] = [
            message.user_agent.as_octets(),
            message.channel.as_octets(),
            tail,
            &message.sequence.0.to_be_bytes(),
        ];
        let plaintext: [u8; PLAINTEXT_SIZE] =
            parts.concat().try_into().expect("the parts have the sizes that make it up");
        //= RFC 8030 section 8.2
        //# Similarly, the URIs provided by the push service to identify a push message MUST NOT provide any
        //# information that allows for correlation across subscriptions.
        self.0.seal(*nonce, plaintext)
    }

    /// The message that an address was sealed for; `None` when no key of ours sealed this very text.
    pub fn open(&self, text: &str) -> Option<MessageRef> {
        let (nonce, plaintext) = self.0.open::<PLAINTEXT_SIZE>(text)?;
        let (user_agent, rest) = plaintext.split_first_chunk()?;
        let (channel, rest) = rest.split_first_chunk()?;
        let (tail, sequence) = rest.split_first_chunk::<ID_TAIL>()?;
        Some(MessageRef {
            user_agent: UserAgentId::from_octets(*user_agent),
            channel: ChannelId::from_octets(*channel),
            id: MessageId::from_slice(&[&nonce[..], tail].concat())?,
            sequence: Sequence(u64::from_be_bytes(sequence.try_into().ok()?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pushgrid_types::{Incarnation, Restriction, SubscriptionRef};

    use super::*;
    use crate::EndpointTokens;
    use crate::testing::{SeededRng, with_letter};

    fn keys() -> EndpointKeys {
        EndpointKeys::generate(&SeededRng::new(1))
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

    fn sealed(addresses: &MessageAddresses, of: MessageRef) -> String {
        addresses.seal(&of)
    }

    proptest! {
        #[test]
        fn an_address_opens_to_its_message_and_is_always_the_same(seed: u64) {
            let addresses = MessageAddresses::new(&keys());
            let text = sealed(&addresses, message(seed));
            prop_assert_eq!(text.len(), 98);
            prop_assert_eq!(&text, &sealed(&addresses.clone(), message(seed)));
            prop_assert_eq!(addresses.open(&text), Some(message(seed)));
        }

        #[test]
        fn an_address_with_any_character_changed_is_refused(seed: u64, at in 0..98_usize, other: char) {
            let addresses = MessageAddresses::new(&keys());
            let text = sealed(&addresses, message(seed));
            let changed = with_letter(&text, at, other);
            prop_assert!(changed == text || addresses.open(&changed).is_none());
        }

        #[test]
        fn any_other_text_is_refused_without_panic(text: String, shaped in "[A-Za-z0-9_-]{98}") {
            let addresses = MessageAddresses::new(&keys());
            prop_assert_eq!(addresses.open(&text), None);
            prop_assert_eq!(addresses.open(&shaped), None);
        }
    }

    #[test]
    fn an_address_cut_anywhere_is_refused() {
        let addresses = MessageAddresses::new(&keys());
        let text = sealed(&addresses, message(2));
        for end in 0..text.len() {
            assert_eq!(addresses.open(&text[..end]), None, "cut to {end}");
        }
        assert_eq!(addresses.open(&format!("{text}=")), None);
    }

    #[test]
    fn rotation_keeps_every_address_and_a_foreign_key_opens_none() {
        let old = keys();
        let text = sealed(&MessageAddresses::new(&old), message(3));
        let rotated = old.with_new_first(&SeededRng::new(4));
        assert_eq!(MessageAddresses::new(&rotated).open(&text), Some(message(3)));
        assert_ne!(sealed(&MessageAddresses::new(&rotated), message(3)), text);
        let foreign = EndpointKeys::generate(&SeededRng::new(5));
        assert_eq!(MessageAddresses::new(&foreign).open(&text), None);
    }

    // Holds: A-11.
    #[test]
    fn an_address_is_no_endpoint_and_an_endpoint_no_address() {
        let (tokens, addresses) = (EndpointTokens::new(&keys()), MessageAddresses::new(&keys()));
        let of = message(6);
        let text = sealed(&addresses, of);
        assert_eq!(tokens.open(&text), None);
        let (nonce, _) = of.id.as_octets().split_first_chunk().unwrap();
        let incarnation = Incarnation::from_octets(*nonce);
        let to = SubscriptionRef { user_agent: of.user_agent, channel: of.channel, incarnation };
        assert_eq!(addresses.open(&tokens.seal(&to, Restriction::Open)), None);
    }
}
