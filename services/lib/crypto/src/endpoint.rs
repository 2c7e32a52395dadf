use std::sync::Arc;

use pushgrid_types::{ChannelId, Incarnation, SubscriptionRef, UserAgentId, VapidKeyHash};

use crate::keys::EndpointKeys;
use crate::sealer::{Purpose, Sealer};

/// Flags (1 octet), user agent (16), channel (16), VAPID key hash (32, zeros when there is none). The length
/// is the same for every subscription: a token does not show whether its subscription is restricted.
const PLAINTEXT_SIZE: usize = 1 + UserAgentId::SIZE + ChannelId::SIZE + 32;

/// Flag: the subscription is restricted to a VAPID key (RFC 8292 section 4).
const RESTRICTED: u8 = 1;

/// Seals subscriptions into the tokens of endpoint URLs, and opens them. A clone is cheap and works under the
/// same keys.
///
/// A token is 126 characters of base64url: AES-256-GCM under the newest key, with the subscription's
/// incarnation as the nonce. So one subscription has one token under one key, a channel that is registered
/// again has another, and the tokens of one user agent share nothing but the octet that names the key (RFC
/// 8030 section 8.3, RFC 8292 section 4).
#[derive(Debug, Clone)]
pub struct EndpointTokens(Arc<Sealer>);

/// What an endpoint token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedEndpoint {
    /// The subscription. It was made by this service once; whether it still lives only the store knows.
    pub to: SubscriptionRef,
    /// The VAPID key that the subscription is restricted to, if it is.
    pub vapid: Option<VapidKeyHash>,
}

impl EndpointTokens {
    /// Seals under the first of the keys, opens under all.
    pub fn new(keys: &EndpointKeys) -> Self {
        Self(Arc::new(Sealer::new(keys, Purpose::Endpoint)))
    }

    /// The token of a subscription: 126 characters of base64url without padding, always the same until the
    /// keys change.
    ///
    /// The caller owes: an incarnation is sealed with one user agent, one channel and one VAPID key. A
    /// channel that is restricted to another key must be given another incarnation, for AES-GCM does not bear
    /// a nonce used twice.
    pub fn seal(&self, to: &SubscriptionRef, vapid: Option<VapidKeyHash>) -> String {
        let mut plaintext = [0; PLAINTEXT_SIZE];
        let (flags, rest) = plaintext.split_at_mut(1);
        let (user_agent, rest) = rest.split_at_mut(UserAgentId::SIZE);
        let (channel, hash) = rest.split_at_mut(ChannelId::SIZE);
        user_agent.copy_from_slice(to.user_agent.as_octets());
        channel.copy_from_slice(to.channel.as_octets());
        if let Some(VapidKeyHash(octets)) = vapid {
            flags[0] = RESTRICTED;
            hash.copy_from_slice(&octets);
        }
        self.0.seal(*to.incarnation.as_octets(), plaintext)
    }

    /// What a token stands for; `None` when no key of ours sealed this very text.
    pub fn open(&self, token: &str) -> Option<SealedEndpoint> {
        let (nonce, plaintext) = self.0.open::<PLAINTEXT_SIZE>(token)?;
        let (flags, rest) = plaintext.split_first()?;
        let (user_agent, rest) = rest.split_first_chunk()?;
        let (channel, hash) = rest.split_first_chunk()?;
        let vapid = match *flags {
            0 => None,
            RESTRICTED => Some(VapidKeyHash(hash.try_into().ok()?)),
            // A later release sealed something that this one does not know: not to be taken for less than it
            // is.
            _ => return None,
        };
        let to = SubscriptionRef {
            user_agent: UserAgentId::from_octets(*user_agent),
            channel: ChannelId::from_octets(*channel),
            incarnation: Incarnation::from_octets(nonce),
        };
        Some(SealedEndpoint { to, vapid })
    }
}

#[cfg(test)]
mod tests;
