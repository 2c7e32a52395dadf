//! The reasons of Web Push for a refusal, and the texts.

use std::borrow::Cow;

use pushgrid_crypto::vapid::VapidError;

use crate::accept::{Credential, Refusal};

/// The reason for refusing a Web Push request: one of acceptance, or a fault of the request. The text tells
/// the sender the remedy.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{}", text(.0))]
    Refused(Refusal),
    #[error("there is nothing here; endpoints look like /push/... and messages like /m/...")]
    NoRoute,
    #[error("use {allow} here")]
    Method { allow: &'static str },
    #[error(transparent)]
    Vapid(#[from] VapidError),
    #[error("the VAPID key and the key that encrypts the message are the same; use separate keys")]
    SameKey,
    #[error("the TTL header field is missing; say how many seconds the message may wait, such as TTL: 60")]
    NoTtl,
    #[error("TTL must be one whole number of seconds, such as 60")]
    BadTtl,
    #[error("Topic must be one value of 1 to 32 characters of A-Z, a-z, 0-9, - and _")]
    BadTopic,
    #[error("Urgency must be one of very-low, low, normal and high, once")]
    BadUrgency,
    #[error("Link names a receipt subscription that is none of this service; leave it out to get a new one")]
    BadReceipts,
    #[error("{0}")]
    Encoding(&'static str),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Fault {
    /// Label of the reason in the metrics; none for requests other than push messages.
    pub(super) const fn label(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) => refusal.label(),
            Self::NoRoute | Self::Method { .. } => None,
            Self::Vapid(_) => Some("vapid_invalid"),
            Self::SameKey
            | Self::NoTtl
            | Self::BadTtl
            | Self::BadTopic
            | Self::BadUrgency
            | Self::BadReceipts
            | Self::Encoding(_) => Some("header_invalid"),
        }
    }
}

const NEEDS_API_KEY: &str = "this subscription takes messages with an API key of its application only, for which Web Push has no field";
const NEEDS_SIGNATURE: &str =
    "this subscription takes messages signed by its application only, for which Web Push has no field";

/// The words of Web Push for a reason of acceptance.
fn text(refusal: &Refusal) -> Cow<'static, str> {
    Cow::Borrowed(match refusal {
        // Whoever asks does not learn whether an endpoint was ever one.
        Refusal::NotAnEndpoint | Refusal::Gone => {
            "this subscription has ended, or never was; forget it and stop sending to it"
        }
        Refusal::NoMessage => "there is no such message; it has been delivered, has ended, or was never here",
        Refusal::TooLarge { limit } => {
            let text = format!("the body has more than {limit} octets; send less, or several messages");
            return Cow::Owned(text);
        }
        Refusal::NoCredential { wanted } => match wanted {
            Credential::VapidKey => {
                "this subscription takes messages of one application server only; sign the request with its VAPID key"
            }
            Credential::ApiKey => NEEDS_API_KEY,
            Credential::Signature => NEEDS_SIGNATURE,
        },
        Refusal::Anonymous => "every message needs VAPID here; sign the request",
        Refusal::OtherCredential { wanted } => match wanted {
            Credential::VapidKey => {
                "this subscription is restricted to another VAPID key; sign with the key it was made with"
            }
            Credential::ApiKey => NEEDS_API_KEY,
            Credential::Signature => NEEDS_SIGNATURE,
        },
        Refusal::TooMany { .. } => "the user agent gets more messages than it may; try again later",
        Refusal::MailboxFull => {
            "too much is waiting for this user agent already; try again when it has been online"
        }
        Refusal::InvalidReceipts => {
            "the receipt subscription of Link has ended, or never was; leave Link out to get a new one"
        }
        Refusal::NewReceipts => {
            "name a receipt subscription in Link, with the relation urn:ietf:params:push:receipt; POST /receipts makes one"
        }
        Refusal::ReceiptsFull => {
            "too many receipts wait to be read in the receipt subscription; read them, or name another one"
        }
        Refusal::SlowBody => "the body took too long to arrive; send it again",
        Refusal::BrokenBody => "the body ended before its length; send it again",
        Refusal::Overloaded => "the service has too much to do; try again",
        Refusal::Store => "the message could not be kept; try again",
    })
}
