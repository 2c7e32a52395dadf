//! Identifiers: of user agents, subscriptions and messages, and of the partitions, leader epochs and sessions of a
//! grid.
//!
//! Invariant: identifiers made by `random` are unguessable (promise P8), and `Debug` of a capability shows a
//! fingerprint. Sealing identifiers into URLs is the work of the crate for cryptography.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Rng;
use crate::cast::fitting;
use crate::chance::octets;

/// A text in place of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}")]
pub struct InvalidId {
    expected: &'static str,
}

/// A short stable mark for logs: tells two identifiers apart, and leads back to neither.
fn fingerprint(octets: &[u8]) -> u32 {
    let mut hasher = DefaultHasher::new();
    octets.hash(&mut hasher);
    fitting::<u32>(hasher.finish() >> 32)
}

macro_rules! octet_id {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $size]);

        impl $name {
            /// Length in octets.
            pub const SIZE: usize = $size;

            /// A new id from `rng`, unguessable.
            pub fn random(rng: &dyn Rng) -> Self {
                Self(octets(rng))
            }

            /// The id of these octets.
            pub const fn from_octets(octets: [u8; $size]) -> Self {
                Self(octets)
            }

            /// From a slice of exactly [`Self::SIZE`] octets.
            pub fn from_slice(octets: &[u8]) -> Option<Self> {
                octets.try_into().ok().map(Self)
            }

            /// The octets of the id.
            pub const fn as_octets(&self) -> &[u8; $size] {
                &self.0
            }

            /// A short mark for logs; does not lead back to the id.
            pub fn fingerprint(&self) -> u32 {
                fingerprint(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(~{:08x})"), self.fingerprint())
            }
        }
    };
}

octet_id!(
    /// One user agent: the `uaid` of the autopush protocol. A bearer secret between the user agent and the service:
    /// whoever presents the id is the user agent.
    UserAgentId,
    16
);
octet_id!(
    /// One subscription of a user agent, named by the user agent: the `channelID` of the autopush protocol.
    ChannelId,
    16
);
octet_id!(
    /// One push message, the same over all redeliveries: the `version` of the autopush protocol.
    MessageId,
    16
);
octet_id!(
    /// One life of a subscription. A channel registered again after an unregister gets another one, so an endpoint
    /// never comes back to life (W3C Push API: endpoints are never reused). Also the nonce under which the endpoint
    /// is sealed, so a repeated register answers with the same endpoint.
    Incarnation,
    12
);

impl UserAgentId {
    /// The 32 hexadecimal digits of the autopush protocol.
    pub fn to_hex(self) -> String {
        uuid::Uuid::from_bytes(self.0).simple().to_string()
    }
}

impl FromStr for UserAgentId {
    type Err = InvalidId;

    /// Takes 32 hexadecimal digits, with or without dashes.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let id = uuid::Uuid::try_parse(text).map_err(|_| InvalidId { expected: "a user agent id" })?;
        Ok(Self(id.into_bytes()))
    }
}

impl fmt::Display for ChannelId {
    /// Lower case with dashes: the form in which user agents send a channel id and want the echo.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for ChannelId {
    type Err = InvalidId;

    /// Takes any textual form of a UUID.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let id = uuid::Uuid::try_parse(text).map_err(|_| InvalidId { expected: "a channel id (a UUID)" })?;
        Ok(Self(id.into_bytes()))
    }
}

impl MessageId {
    /// 22 characters of base64url: the `version` that the user agent echoes in its acknowledgement.
    pub fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl FromStr for MessageId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut octets = [0; 16];
        match URL_SAFE_NO_PAD
            .decode_slice_unchecked(text.as_bytes().get(..22).unwrap_or_default(), &mut octets)
        {
            Ok(16) if text.len() == 22 => Ok(Self(octets)),
            _ => Err(InvalidId { expected: "a message id" }),
        }
    }
}

/// One life of one subscription: the meaning of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubscriptionRef {
    /// The subscribed user agent.
    pub user_agent: UserAgentId,
    /// The channel, one of the user agent's.
    pub channel: ChannelId,
    /// The life of the channel.
    pub incarnation: Incarnation,
}

/// Position of a message among all those of its user agent, assigned at the durable write (never by a clock).
/// Rises with the order of acceptance; has gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

/// Addresses one accepted message, so that its sender can cancel it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageRef {
    /// The recipient.
    pub user_agent: UserAgentId,
    /// The channel to which the message was posted.
    pub channel: ChannelId,
    /// Id of the message.
    pub id: MessageId,
    /// Position among the user agent's messages: tells a router whether the message can have been read yet.
    pub sequence: Sequence,
}

/// A share of all user agents, owned by one router at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Partition(pub u16);

impl Partition {
    /// The partition of a user agent, of `count` in all (at least one). A pure function whose result must never
    /// change: stored state lies accordingly.
    pub fn of(user_agent: UserAgentId, count: u16) -> Self {
        // FNV-1a with a final mix. The service makes the ids at random, so nothing is gained by a keyed hash.
        let hash = user_agent.0.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let share = (hash ^ (hash >> 32)) % u64::from(count.max(1));
        Self(fitting::<u16>(share))
    }
}

/// A place in the changelog of a partition. As a state: all changes before the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

/// Fencing token of a partition's owner: the place of the owner's claim in the changelog plus one. Higher with every
/// change of owner; zero is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LeaderEpoch(pub u64);

/// Random id of one life of a connection node; changes with every restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// A new id, random in 64 bits.
    pub fn random(rng: &dyn Rng) -> Self {
        Self(u64::from_le_bytes(octets(rng)))
    }
}

/// One connection of a user agent, unique within the life of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One connection of a user agent, unique among all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionRef {
    /// The node that holds the socket.
    pub node: NodeId,
    /// The socket on that node.
    pub session: SessionId,
}

impl SessionRef {
    /// A short mark for logs; does not lead back to the session.
    pub fn fingerprint(&self) -> u32 {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&self.node.0.to_le_bytes());
        octets[8..].copy_from_slice(&self.session.0.to_le_bytes());
        fingerprint(&octets)
    }
}

/// Order of the claims on one user agent: the highest holds the user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_come_back_from_their_text(octets: [u8; 16]) {
            prop_assert_eq!(UserAgentId(octets).to_hex().parse(), Ok(UserAgentId(octets)));
            prop_assert_eq!(ChannelId(octets).to_string().parse(), Ok(ChannelId(octets)));
            prop_assert_eq!(MessageId(octets).to_text().parse(), Ok(MessageId(octets)));
        }

        #[test]
        fn any_other_text_is_refused_without_panic(text: String) {
            if let Ok(id) = text.parse::<MessageId>() {
                prop_assert_eq!(id.to_text(), text);
            }
        }

        #[test]
        fn debug_shows_no_octet_of_the_identifier(octets: [u8; 16]) {
            let shown = format!("{:?}", UserAgentId(octets));
            prop_assert!(!shown.contains(&UserAgentId(octets).to_hex()[..8]));
        }
    }

    #[test]
    fn user_agents_are_spread_and_their_partitions_never_change() {
        let of = |label: u128, count| Partition::of(UserAgentId(label.to_be_bytes()), count).0;
        assert_eq!([of(0, 12), of(1, 12), of(2, 12), of(u128::MAX, 12), of(7, 1)], [0, 7, 6, 1, 0]);
        let mut share = [0; 12];
        (0..12_000).for_each(|label| share[usize::from(of(label, 12))] += 1);
        assert!(share.iter().all(|count| (850..1150).contains(count)), "uneven: {share:?}");
    }

    #[test]
    fn a_message_id_has_one_text() {
        // 22 characters hold 132 bits: the four that are left over must be zero.
        assert!("AAAAAAAAAAAAAAAAAAAAAA".parse::<MessageId>().is_ok());
        assert!("AAAAAAAAAAAAAAAAAAAAAB".parse::<MessageId>().is_err());
        assert!("AAAAAAAAAAAAAAAAAAAAAA=".parse::<MessageId>().is_err());
    }
}
