//! Secrets of webhooks, derived so that none is stored.
//!
//! Invariant: the derivation never changes, for receivers keep their secrets.

use std::fmt;

use hkdf::Hkdf;
use pushgrid_types::SubscriptionRef;
use sha2::Sha256;

use crate::keys::{EndpointKeys, KEY_SIZE};

/// The `info` of HKDF. Changing it changes every secret.
const INFO: &[u8] = b"pushgrid webhook secret 1";

/// Derives the secret by which the webhook of a receipt subscription verifies signatures.
///
/// Guarantee: a subscription has one secret, no two subscriptions share one, and nothing of the endpoint keys follows
/// from it. The secrets are those of the last configured key, the oldest: a key added in front changes none. Removing
/// the last key changes all, and so does [`EndpointKeys::with_new_first`] when it drops the last of 8.
#[derive(Clone)]
pub struct WebhookSecrets(Hkdf<Sha256>);

impl WebhookSecrets {
    /// Length of a secret in octets.
    pub const SIZE: usize = 32;

    /// Derives from the last of the keys.
    pub fn new(keys: &EndpointKeys) -> Self {
        let oldest = keys.octets().last().expect("endpoint keys are never empty");
        let mut derived = [0; KEY_SIZE];
        Hkdf::<Sha256>::new(None, oldest)
            .expand(INFO, &mut derived)
            .expect("32 octets are within what HKDF can give");
        Self(Hkdf::from_prk(&derived).expect("a key is long enough for HKDF"))
    }

    /// The secret of a receipt subscription.
    pub fn secret(&self, of: &SubscriptionRef) -> [u8; Self::SIZE] {
        let parts: [&[u8]; 3] =
            [of.user_agent.as_octets(), of.channel.as_octets(), of.incarnation.as_octets()];
        let mut secret = [0; Self::SIZE];
        self.0.expand_multi_info(&parts, &mut secret).expect("32 octets are within what HKDF can give");
        secret
    }
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecrets(..)")
    }
}
