use std::sync::Arc;

use pushgrid_types::{ChannelId, MessageId, UserAgentId};

use crate::keys::EndpointKeys;
use crate::sealer::{NONCE_SIZE, Purpose, Sealer};

/// How much of a message id does not fit the nonce, in octets.
const ID_TAIL: usize = MessageId::SIZE - NONCE_SIZE;

/// User agent, channel, and the end of the message id.
const PLAINTEXT_SIZE: usize = UserAgentId::SIZE + ChannelId::SIZE + ID_TAIL;

/// Seals messages into the addresses of push message resources (RFC 8030 section 5: `Location`), and opens
/// them. A clone is cheap and works under the same keys.
///
/// An address is 87 characters of base64url: AES-256-GCM with the first 12 octets of the message id as the
/// nonce. Its keys are not those of endpoints, so neither is ever taken for the other.
///
/// Those 96 bits are random: among the addresses sealed under one key, N² / 2^97 is the chance that two share
/// a nonce, which is one in a million after 400 thousand million messages. Rotating the keys starts the count
/// again.
#[derive(Debug, Clone)]
pub struct MessageAddresses(Arc<Sealer>);

/// What the address of a message stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageAddress {
    /// Whose message it is.
    pub user_agent: UserAgentId,
    /// The channel it was posted to.
    pub channel: ChannelId,
    /// The message.
    pub id: MessageId,
}

impl MessageAddresses {
    /// Seals under the first of the keys, opens under all.
    pub fn new(keys: &EndpointKeys) -> Self {
        Self(Arc::new(Sealer::new(keys, Purpose::MessageAddress)))
    }

    /// The address of a message: 87 characters of base64url without padding, always the same until the keys
    /// change.
    ///
    /// The caller owes: a message id is random and belongs to one message.
    pub fn seal(&self, user_agent: UserAgentId, channel: ChannelId, id: MessageId) -> String {
        let (nonce, tail) = id.as_octets().split_first_chunk().expect("a message id is longer than a nonce");
        let mut plaintext = [0; PLAINTEXT_SIZE];
        let (user_agent_part, rest) = plaintext.split_at_mut(UserAgentId::SIZE);
        let (channel_part, id_part) = rest.split_at_mut(ChannelId::SIZE);
        user_agent_part.copy_from_slice(user_agent.as_octets());
        channel_part.copy_from_slice(channel.as_octets());
        id_part.copy_from_slice(tail);
        self.0.seal(*nonce, plaintext)
    }

    /// What an address stands for; `None` when no key of ours sealed this very text.
    pub fn open(&self, text: &str) -> Option<MessageAddress> {
        let (nonce, plaintext) = self.0.open::<PLAINTEXT_SIZE>(text)?;
        let (user_agent, rest) = plaintext.split_first_chunk()?;
        let (channel, tail) = rest.split_first_chunk()?;
        Some(MessageAddress {
            user_agent: UserAgentId::from_octets(*user_agent),
            channel: ChannelId::from_octets(*channel),
            id: MessageId::from_slice(&[&nonce, tail].concat())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pushgrid_types::{Incarnation, SubscriptionRef};

    use super::*;
    use crate::EndpointTokens;
    use crate::testing::{SeededRng, with_letter};

    fn keys() -> EndpointKeys {
        EndpointKeys::generate(&SeededRng::new(1))
    }

    fn message(seed: u64) -> MessageAddress {
        let rng = SeededRng::new(seed);
        MessageAddress {
            user_agent: UserAgentId::random(&rng),
            channel: ChannelId::random(&rng),
            id: MessageId::random(&rng),
        }
    }

    fn sealed(addresses: &MessageAddresses, of: MessageAddress) -> String {
        addresses.seal(of.user_agent, of.channel, of.id)
    }

    proptest! {
        #[test]
        fn an_address_opens_to_its_message_and_is_always_the_same(seed: u64) {
            let addresses = MessageAddresses::new(&keys());
            let text = sealed(&addresses, message(seed));
            prop_assert_eq!(text.len(), 87);
            prop_assert_eq!(&text, &sealed(&addresses.clone(), message(seed)));
            prop_assert_eq!(addresses.open(&text), Some(message(seed)));
        }

        #[test]
        fn an_address_with_any_character_changed_is_refused(seed: u64, at in 0..87_usize, other: char) {
            let addresses = MessageAddresses::new(&keys());
            let text = sealed(&addresses, message(seed));
            let changed = with_letter(&text, at, other);
            prop_assert!(changed == text || addresses.open(&changed).is_none());
        }

        #[test]
        fn any_other_text_is_refused_without_panic(text: String, shaped in "[A-Za-z0-9_-]{87}") {
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

    #[test]
    fn an_address_is_no_endpoint_and_an_endpoint_no_address() {
        let (tokens, addresses) = (EndpointTokens::new(&keys()), MessageAddresses::new(&keys()));
        let of = message(6);
        let text = sealed(&addresses, of);
        assert_eq!(tokens.open(&text), None);
        let (nonce, _) = of.id.as_octets().split_first_chunk().unwrap();
        let incarnation = Incarnation::from_octets(*nonce);
        let to = SubscriptionRef { user_agent: of.user_agent, channel: of.channel, incarnation };
        assert_eq!(addresses.open(&tokens.seal(&to, None)), None);
    }
}
