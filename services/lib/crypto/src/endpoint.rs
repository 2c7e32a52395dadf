//! Sealed endpoint tokens: the last part of an endpoint URL.
//!
//! Invariant: a token opens only when a key of this service sealed the very text, so a forged endpoint costs no
//! look-up (promise P8). Whether the subscription still lives is for the store to say.

use std::sync::Arc;

use pushgrid_types::{ChannelId, Incarnation, Restriction, SubscriptionRef, UserAgentId};

use crate::keys::EndpointKeys;
use crate::sealer::{Purpose, Sealer};

/// Kind of the restriction (1 octet), user agent (16), channel (16), value of the restriction (32, zeros when there
/// is none). Of one length for every subscription, so a token does not show a restriction.
const PLAINTEXT_SIZE: usize = 1 + UserAgentId::SIZE + ChannelId::SIZE + 32;

/// Seals subscriptions into the tokens of endpoint URLs, and opens them. A clone is cheap and works under the
/// same keys.
///
/// A token is 126 characters of base64url: AES-256-GCM under the newest key, with the subscription's incarnation as
/// the nonce. So one subscription has one token under one key, a channel registered again has another, and the tokens
/// of one user agent share nothing but the octet of the key's name (RFC 8030 section 8.3, RFC 8292 section 4).
#[derive(Debug, Clone)]
pub struct EndpointTokens(Arc<Sealer>);

/// The content of an endpoint token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedEndpoint {
    /// The subscription. Made by this service once; only the store knows whether the subscription still lives.
    pub to: SubscriptionRef,
    /// The credential that senders need.
    pub restriction: Restriction,
}

impl EndpointTokens {
    /// Seals under the first of the keys, opens under all.
    pub fn new(keys: &EndpointKeys) -> Self {
        Self(Arc::new(Sealer::new(keys, Purpose::Endpoint)))
    }

    /// The token of a subscription: 126 characters of base64url without padding, always the same until the
    /// keys change.
    ///
    /// The caller owes: an incarnation is sealed with one user agent, one channel and one restriction. A channel with
    /// another restriction must get another incarnation, for AES-GCM bears no nonce used twice.
    pub fn seal(&self, to: &SubscriptionRef, restriction: Restriction) -> String {
        let mut plaintext = [0; PLAINTEXT_SIZE];
        let (kind, rest) = plaintext.split_at_mut(1);
        let (user_agent, rest) = rest.split_at_mut(UserAgentId::SIZE);
        let (channel, value) = rest.split_at_mut(ChannelId::SIZE);
        user_agent.copy_from_slice(to.user_agent.as_octets());
        channel.copy_from_slice(to.channel.as_octets());
        let (kind_of, value_of) = restriction.to_parts();
        kind[0] = kind_of;
        value.copy_from_slice(&value_of);
        //= RFC 8030 section 8.2
        //# The URIs provided for push resources MUST NOT provide any basis to correlate communications for a
        //# given user agent.
        //= RFC 8030 section 8.2
        //# It MUST NOT be possible to correlate any two push resource URIs based solely on their contents.
        self.0.seal(*to.incarnation.as_octets(), plaintext)
    }

    /// The subscription that a token was sealed for; `None` when no key of ours sealed this very text.
    pub fn open(&self, token: &str) -> Option<SealedEndpoint> {
        let (nonce, plaintext) = self.0.open::<PLAINTEXT_SIZE>(token)?;
        let (kind, rest) = plaintext.split_first()?;
        let (user_agent, rest) = rest.split_first_chunk()?;
        let (channel, value) = rest.split_first_chunk()?;
        // Sealed by a later release with a restriction unknown here: must not pass for an open subscription.
        let restriction = Restriction::from_parts(*kind, value.try_into().ok()?)?;
        let to = SubscriptionRef {
            user_agent: UserAgentId::from_octets(*user_agent),
            channel: ChannelId::from_octets(*channel),
            incarnation: Incarnation::from_octets(nonce),
        };
        Some(SealedEndpoint { to, restriction })
    }
}

#[cfg(test)]
mod tests;
