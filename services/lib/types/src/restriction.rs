//! Restriction of a subscription to certain senders.

use std::fmt;

/// SHA-256 of the 65 octets of a VAPID public key (RFC 8292 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VapidKeyHash(pub [u8; 32]);

/// Identifies an application whose senders present an API key. One id for the application, not for each key, so keys
/// are rotated and revoked without touching any subscription.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApplicationId(pub [u8; 32]);

/// SHA-256 of the `SubjectPublicKeyInfo` of a public key whose holder signs each message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SigningKeyHash(pub [u8; 32]);

/// The credential required of a sender: chosen when the subscription is made, and never changed.
///
/// # Stored form
/// A kind (1 octet: 0 open, 1 VAPID key, 2 API key, 3 signature) and a value (32 octets) that identifies the key or
/// application. An endpoint token seals both. Everywhere else ([`Self::to_octets`]) an open subscription has nothing,
/// a VAPID key has the value alone, and every later kind has kind and value.
///
/// So no release takes an unknown kind for another one, or for none. The first release, which knows kinds 0 and 1,
/// opens no token of another kind, and answers as for no endpoint at all; in a database, in Redis and in a request to
/// a router, 33 octets are a hash of the wrong length there, so the channel cannot be used. Records in Kafka tell by
/// their version that a newer release wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Restriction {
    /// None: whoever knows the endpoint may send.
    #[default]
    Open,
    /// The VAPID key of this hash (RFC 8292 section 4).
    VapidKey(VapidKeyHash),
    /// Any API key of this application.
    ApiKey(ApplicationId),
    /// A signature by the key of this hash.
    Signature(SigningKeyHash),
}

const OPEN: u8 = 0;
const VAPID_KEY: u8 = 1;
const API_KEY: u8 = 2;
const SIGNATURE: u8 = 3;

impl Restriction {
    /// The kind and the value of the stored form; zeros for the value of an open one.
    pub const fn to_parts(self) -> (u8, [u8; 32]) {
        match self {
            Self::Open => (OPEN, [0; 32]),
            Self::VapidKey(VapidKeyHash(value)) => (VAPID_KEY, value),
            Self::ApiKey(ApplicationId(value)) => (API_KEY, value),
            Self::Signature(SigningKeyHash(value)) => (SIGNATURE, value),
        }
    }

    /// The restriction of a kind and a value; `None` for an unknown kind.
    pub const fn from_parts(kind: u8, value: [u8; 32]) -> Option<Self> {
        Some(match kind {
            OPEN => Self::Open,
            VAPID_KEY => Self::VapidKey(VapidKeyHash(value)),
            API_KEY => Self::ApiKey(ApplicationId(value)),
            SIGNATURE => Self::Signature(SigningKeyHash(value)),
            _ => return None,
        })
    }

    /// The stored form beside a subscription: `None` of an open one, 32 octets of a VAPID key, 33 of any other.
    pub fn to_octets(self) -> Option<Vec<u8>> {
        match self.to_parts() {
            (OPEN, _) => None,
            (VAPID_KEY, value) => Some(value.to_vec()),
            (kind, value) => Some([&[kind], &value[..]].concat()),
        }
    }

    /// Parses the stored form; `None` for octets never made by [`Self::to_octets`].
    pub fn from_octets(octets: Option<&[u8]>) -> Option<Self> {
        let Some(octets) = octets else { return Some(Self::Open) };
        if let Ok(value) = octets.try_into() {
            return Self::from_parts(VAPID_KEY, value);
        }
        match octets.split_first()? {
            (&(OPEN | VAPID_KEY), _) => None,
            (&kind, value) => Self::from_parts(kind, value.try_into().ok()?),
        }
    }

    /// True if the first release can read the restriction.
    pub const fn is_of_first_release(&self) -> bool {
        matches!(self, Self::Open | Self::VapidKey(_))
    }
}

impl fmt::Debug for VapidKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VapidKeyHash(..)")
    }
}

impl fmt::Debug for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApplicationId(..)")
    }
}

impl fmt::Debug for SigningKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeyHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Restriction; 4] = [
        Restriction::Open,
        Restriction::VapidKey(VapidKeyHash([7; 32])),
        Restriction::ApiKey(ApplicationId([7; 32])),
        Restriction::Signature(SigningKeyHash([7; 32])),
    ];

    #[test]
    fn each_kind_comes_back_from_its_stored_form_and_no_two_are_alike() {
        for one in ALL {
            let octets = one.to_octets();
            assert_eq!(Restriction::from_octets(octets.as_deref()), Some(one));
            let (kind, value) = one.to_parts();
            assert_eq!(Restriction::from_parts(kind, value), Some(one));
            let alike = ALL.iter().filter(|other| other.to_octets() == octets);
            assert_eq!(alike.count(), 1, "{one:?}");
        }
    }

    #[test]
    fn what_the_first_release_wrote_is_what_it_was_and_it_reads_nothing_else() {
        assert_eq!(ALL[0].to_octets(), None);
        assert_eq!(ALL[1].to_octets(), Some(vec![7; 32]));
        for later in &ALL[2..] {
            assert_eq!(
                later.to_octets().map(|octets| octets.len()),
                Some(33),
                "no hash to the first release"
            );
            assert!(!later.is_of_first_release());
        }
    }

    #[test]
    fn what_no_release_wrote_or_only_a_later_one_is_refused() {
        let with = |kind: u8| [&[kind][..], &[7; 32]].concat();
        for octets in [vec![], vec![7; 31], vec![2; 34], with(0), with(1), with(4), with(255)] {
            assert_eq!(Restriction::from_octets(Some(&octets)), None, "{octets:?}");
        }
        assert_eq!(Restriction::from_parts(4, [0; 32]), None);
    }
}
