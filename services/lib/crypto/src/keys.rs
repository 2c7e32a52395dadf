//! The secret keys under which endpoints and message addresses are sealed: text form and rotation.
//!
//! Invariant: 1 to 8 keys, all different, and no error, `Debug` or [`KeyId`] shows any part of a key.

use std::fmt;
use std::str::FromStr;

use hkdf::Hkdf;
use pushgrid_types::Rng;
use sha2::Sha256;

use crate::text;

/// Largest number of endpoint keys. Each costs memory in every service, and an attempt to open.
const MAX_KEYS: usize = 8;

/// One key, in octets.
pub(crate) const KEY_SIZE: usize = 32;

/// The secret keys of endpoints and message addresses, newest first: 1 to 8 keys of 256 bits, all different.
///
/// The first seals and all open, so a key added in front breaks no endpoint. Removing a key ends every endpoint
/// sealed under the key.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointKeys(Vec<[u8; KEY_SIZE]>);

/// Public name of one endpoint key, derived one-way: may be stored beside sealed texts, and shown.
pub type KeyId = [u8; 8];

/// A text in place of endpoint keys. Names the position of the wrong key, from 1, and never shows the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpointKeys {
    /// There is none.
    #[error("there is no endpoint key")]
    Empty,
    /// There are more than 8.
    #[error(
        "there are {given} endpoint keys, more than {MAX_KEYS}: take away the oldest, which are the last"
    )]
    TooMany {
        /// The number of keys.
        given: usize,
    },
    /// One is not 32 octets of base64url.
    #[error("endpoint key {position} is not base64url of {KEY_SIZE} octets (43 characters)")]
    NotAKey {
        /// Position of the key, from 1.
        position: usize,
    },
    /// One is there twice.
    #[error("endpoint key {position} is the same as key {earlier}")]
    Repeated {
        /// Position of the second copy, from 1.
        position: usize,
        /// Position of the first copy, from 1.
        earlier: usize,
    },
}

impl EndpointKeys {
    /// One new key.
    pub fn generate(rng: &dyn Rng) -> Self {
        Self(vec![random_key(rng)])
    }

    /// Rotation: a new key in front of these. With 8 keys already the last is dropped, and the endpoints sealed under
    /// the dropped key end: see [`Self::count`].
    #[must_use]
    pub fn with_new_first(&self, rng: &dyn Rng) -> Self {
        let kept = self.0.iter().take(MAX_KEYS - 1).copied();
        Self(std::iter::once(random_key(rng)).chain(kept).collect())
    }

    /// The number of keys: 1 to 8.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The names of the keys, newest first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.0.iter().map(id_of).collect()
    }

    /// The text that [`FromStr`] takes: base64url without padding, newest first, separated by commas.
    pub fn to_text(&self) -> String {
        self.0.iter().map(|key| text::encode(key)).collect::<Vec<_>>().join(",")
    }

    /// The keys, newest first.
    pub(crate) fn octets(&self) -> &[[u8; KEY_SIZE]] {
        &self.0
    }
}

impl FromStr for EndpointKeys {
    type Err = InvalidEndpointKeys;

    /// Takes keys separated by commas or white space, newest first; standard base64 and padding too, as
    /// `openssl rand -base64 32` prints them.
    fn from_str(text: &str) -> Result<Self, InvalidEndpointKeys> {
        let written: Vec<&str> =
            text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty()).collect();
        match written.len() {
            0 => return Err(InvalidEndpointKeys::Empty),
            1..=MAX_KEYS => {}
            given => return Err(InvalidEndpointKeys::TooMany { given }),
        }
        let mut keys = Vec::with_capacity(written.len());
        for (index, part) in written.into_iter().enumerate() {
            let position = index + 1;
            let key = text::decode_array(part).ok_or(InvalidEndpointKeys::NotAKey { position })?;
            if let Some(earlier) = keys.iter().position(|known| *known == key) {
                return Err(InvalidEndpointKeys::Repeated { position, earlier: earlier + 1 });
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }
}

impl fmt::Debug for EndpointKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointKeys({} keys)", self.0.len())
    }
}

fn id_of(key: &[u8; KEY_SIZE]) -> KeyId {
    let mut id = KeyId::default();
    let derived = Hkdf::<Sha256>::new(None, key).expand(b"pushgrid endpoint key id 1", &mut id);
    derived.expect("8 octets are within what HKDF can give");
    id
}

fn random_key(rng: &dyn Rng) -> [u8; KEY_SIZE] {
    let mut key = [0; KEY_SIZE];
    rng.fill(&mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededRng;

    #[test]
    fn keys_come_back_from_their_text_in_order() {
        let rng = SeededRng::new(1);
        let keys = EndpointKeys::generate(&rng).with_new_first(&rng).with_new_first(&rng);
        assert_eq!(keys.count(), 3);
        assert_eq!(keys.to_text().parse(), Ok(keys.clone()));
        assert_eq!(keys.to_text().replace(',', "\n\t").parse(), Ok(keys.clone()));
        let standard = keys.to_text().replace('-', "+").replace('_', "/").replace(',', "=, ");
        assert_eq!(format!("  {standard}=\n").parse(), Ok(keys));
    }

    #[test]
    fn rotation_puts_the_new_key_first_and_keeps_at_most_eight() {
        let rng = SeededRng::new(2);
        let mut keys = EndpointKeys::generate(&rng);
        for count in 2..=8 {
            let before = keys.clone();
            keys = keys.with_new_first(&rng);
            assert_eq!(keys.octets()[1..], before.octets()[..]);
            assert_eq!(keys.count(), count);
        }
        let full = keys.with_new_first(&rng);
        assert_eq!(full.octets()[1..], keys.octets()[..7]);
    }

    #[test]
    fn a_key_keeps_its_name_through_rotations() {
        let rng = SeededRng::new(6);
        let keys = EndpointKeys::generate(&rng);
        let rotated = keys.with_new_first(&rng);
        assert_eq!(rotated.ids()[1..], keys.ids()[..]);
        assert_ne!(rotated.ids()[0], keys.ids()[0]);
        // Names are kept in databases: they must come out for ever.
        let fixed: EndpointKeys = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".parse().unwrap();
        assert_eq!(fixed.ids(), [[80, 52, 29, 204, 131, 142, 214, 114]]);
    }

    #[test]
    fn says_which_key_is_wrong_and_never_shows_it() {
        let rng = SeededRng::new(3);
        let [one, two] = [0; 2].map(|_: u8| EndpointKeys::generate(&rng).to_text());
        let fault = |text: &str| text.parse::<EndpointKeys>().unwrap_err();
        assert_eq!(fault(" ,\n"), InvalidEndpointKeys::Empty);
        assert_eq!(fault(&format!("{one},{}", &two[1..])), InvalidEndpointKeys::NotAKey { position: 2 });
        assert_eq!(
            fault(&format!("{one} {two},{one}")),
            InvalidEndpointKeys::Repeated { position: 3, earlier: 1 }
        );
        assert_eq!(fault(&"x ".repeat(9)), InvalidEndpointKeys::TooMany { given: 9 });
        assert!(!fault(&format!("{one},secret")).to_string().contains("secret"));
        let keys: EndpointKeys = one.parse().unwrap();
        assert_eq!(format!("{keys:?}"), "EndpointKeys(1 keys)");
    }
}
