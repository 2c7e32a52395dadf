//! The one sealed form behind endpoint tokens and all other addresses: AES-256-GCM in base64url, under rotating keys.
//!
//! Invariant: the format never changes, for endpoints live for years in other people's databases. A nonce used twice
//! is for the callers of [`Sealer::seal`] to prevent; [`Sealer::seal_whole`] derives one from all that is sealed.

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;

use crate::keys::{EndpointKeys, KEY_SIZE};
use crate::text;

/// A nonce of AES-GCM, in octets.
pub(crate) const NONCE_SIZE: usize = 12;

/// A tag of AES-GCM, in octets.
const TAG_SIZE: usize = 16;

/// Use of a sealed text. Each purpose has keys of its own, so that no text of one opens for another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Endpoint,
    MessageAddress,
    /// A push message subscription, for its user agent.
    Subscription,
    /// A push message, for its user agent.
    Delivery,
    /// A subscription set, for its user agent.
    Set,
    /// A receipt subscription, for its application server.
    Receipts,
}

impl Purpose {
    /// The `info` of HKDF. Changing one ends everything that was sealed under it.
    const fn info(self) -> &'static [u8] {
        match self {
            Self::Endpoint => b"pushgrid endpoint token 1",
            Self::MessageAddress => b"pushgrid message address 1",
            Self::Subscription => b"pushgrid subscription of a user agent 1",
            Self::Delivery => b"pushgrid message of a user agent 1",
            Self::Set => b"pushgrid set of a user agent 1",
            Self::Receipts => b"pushgrid receipts of an application server 1",
        }
    }
}

/// Seals octets into URL-safe text under the first key, and opens under any.
///
/// The text is base64url of: key id (1 octet), nonce (12), ciphertext and tag. The key id only narrows the search:
/// two keys may share one id, and all keys with that id are tried.
pub(crate) struct Sealer {
    keys: Vec<Key>,
}

struct Key {
    id: u8,
    cipher: Aes256Gcm,
    /// Derives nonces from plaintexts.
    nonces: Hkdf<Sha256>,
}

impl Key {
    fn derive(secret: &[u8; KEY_SIZE], purpose: Purpose) -> Self {
        let mut derived = [0; KEY_SIZE + 1 + KEY_SIZE];
        Hkdf::<Sha256>::new(None, secret)
            .expand(purpose.info(), &mut derived)
            .expect("65 octets are within what HKDF can give");
        let (sealing, nonces) = derived.split_at(KEY_SIZE + 1);
        let (id, key) = sealing.split_last().expect("a key and its id");
        Self {
            id: *id,
            cipher: Aes256Gcm::new_from_slice(key).expect("a key has the size of a key"),
            nonces: Hkdf::from_prk(nonces).expect("a key is long enough for HKDF"),
        }
    }

    /// The nonce for a plaintext: pseudorandom, and the same whenever the plaintext is.
    fn nonce_of(&self, plaintext: &[u8]) -> [u8; NONCE_SIZE] {
        let mut nonce = [0; NONCE_SIZE];
        self.nonces.expand(plaintext, &mut nonce).expect("12 octets are within what HKDF can give");
        nonce
    }
}

impl Sealer {
    pub(crate) fn new(keys: &EndpointKeys, purpose: Purpose) -> Self {
        Self { keys: keys.octets().iter().map(|secret| Key::derive(secret, purpose)).collect() }
    }

    /// Seals under the first key, with a nonce that tells nothing of the plaintext and is not used for another. Equal
    /// plaintexts have equal texts until the keys change.
    pub(crate) fn seal_whole<const N: usize>(&self, plaintext: [u8; N]) -> String {
        self.seal(self.first().nonce_of(&plaintext), plaintext)
    }

    /// Seals under the first key. The caller owes: one nonce, one plaintext.
    pub(crate) fn seal<const N: usize>(&self, nonce: [u8; NONCE_SIZE], plaintext: [u8; N]) -> String {
        let key = self.first();
        //= RFC 8030 section 8.2
        //# User and device information MUST NOT be exposed through a push or push message URI.
        //= RFC 8030 section 8.2
        //# In addition, push URIs established by the same user agent or push message URIs for the same
        //# subscription MUST NOT include any information that allows them to be correlated with the user
        //# agent.
        let sealed = key
            .cipher
            .encrypt(&Nonce::from(nonce), Payload { msg: &plaintext, aad: &[key.id] })
            .expect("a plaintext this short can always be sealed");
        text::encode(&[&[key.id], &nonce[..], &sealed].concat())
    }

    fn first(&self) -> &Key {
        self.keys.first().expect("endpoint keys are never empty")
    }

    /// The nonce and the plaintext of exactly `N` octets, when [`Self::seal`] made this very text under one
    /// of the keys.
    pub(crate) fn open<const N: usize>(&self, text: &str) -> Option<([u8; NONCE_SIZE], [u8; N])> {
        let octets = 1 + NONCE_SIZE + N + TAG_SIZE;
        // A text of another length cannot be one of ours, and is not worth decoding.
        if text.len() != (octets * 4).div_ceil(3) {
            return None;
        }
        let token = text::decode_strictly(text)?;
        let (id, rest) = token.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_SIZE>()?;
        let plaintext = self.keys.iter().filter(|key| key.id == *id).find_map(|key| {
            key.cipher.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: &[key.id] }).ok()
        })?;
        Some((*nonce, plaintext.try_into().ok()?))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededRng;

    #[test]
    fn keys_that_share_an_id_are_all_tried() {
        let rng = SeededRng::new(4);
        // Among 257 keys two must share an id; the first pair is found long before.
        let mut seen: Vec<(u8, EndpointKeys)> = Vec::new();
        let (old, new) = loop {
            let keys = EndpointKeys::generate(&rng);
            let id = Key::derive(&keys.octets()[0], Purpose::Endpoint).id;
            if let Some((_, old)) = seen.iter().find(|(known, _)| *known == id) {
                break (old.clone(), keys);
            }
            seen.push((id, keys));
        };
        let sealed = Sealer::new(&old, Purpose::Endpoint).seal([7; 12], [1, 2, 3]);
        let both = format!("{},{}", new.to_text(), old.to_text()).parse().unwrap();
        assert_eq!(Sealer::new(&both, Purpose::Endpoint).open(&sealed), Some(([7; 12], [1, 2, 3])));
        assert_eq!(Sealer::new(&new, Purpose::Endpoint).open::<3>(&sealed), None);
    }

    #[test]
    fn a_text_of_one_purpose_does_not_open_for_another() {
        let keys = EndpointKeys::generate(&SeededRng::new(5));
        let all = [
            Purpose::Endpoint,
            Purpose::MessageAddress,
            Purpose::Subscription,
            Purpose::Delivery,
            Purpose::Set,
            Purpose::Receipts,
        ];
        for (one, purpose) in all.into_iter().enumerate() {
            let sealed = Sealer::new(&keys, purpose).seal([7; 12], [1, 2, 3]);
            for (other, foreign) in all.into_iter().enumerate() {
                let mut opening = Sealer::new(&keys, foreign);
                // Also when the key id octets happen to be equal.
                opening.keys[0].id = Key::derive(&keys.octets()[0], purpose).id;
                assert_eq!(opening.open::<3>(&sealed).is_some(), one == other);
            }
        }
    }

    #[test]
    fn the_format_stays_what_it_was() {
        // Endpoints live for years in other people's databases: these texts were made by another
        // implementation of the format, and must come out for ever.
        let keys: EndpointKeys = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".parse().unwrap();
        let sealed = Sealer::new(&keys, Purpose::Endpoint).seal([9; 12], *b"as it was");
        assert_eq!(sealed, "JQkJCQkJCQkJCQkJCQYY9BUsXfuMiphZxT47fMM1CklZQer0E0I");
        let sealed = Sealer::new(&keys, Purpose::MessageAddress).seal([9; 12], *b"as it was");
        assert_eq!(sealed, "fgkJCQkJCQkJCQkJCf0bVD2SVYtmlMwmoHaOQ6NkE0sa6B5AXtQ");
        let sealed = Sealer::new(&keys, Purpose::Subscription).seal_whole(*b"as it was");
        assert_eq!(sealed, "p4wM1gnv2JW92r5HxxerYvlpnpxyErn8iEiF9RHu3X4reCISt-g");
        let sealed = Sealer::new(&keys, Purpose::Delivery).seal_whole(*b"as it was");
        assert_eq!(sealed, "jpxp4BtmM4LIh2ERwXKHIz8EZRjH2sObx92gW8BfCz3YIjnVybM");
        let sealed = Sealer::new(&keys, Purpose::Set).seal_whole(*b"as it was");
        assert_eq!(sealed, "OduApS568rIxg2x6qBTbeseGvzN_WPx-CgJPg0h76u0uXEmyXzA");
    }
}
