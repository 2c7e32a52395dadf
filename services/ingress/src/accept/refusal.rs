//! The reasons of acceptance for a refusal, and the parts common to every dialect: the label in the metrics,
//! and the time until the next try.

use std::time::Duration;

/// The reason why a message was not accepted or not cancelled, in no dialect's words.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No key of ours sealed the endpoint. Told as [`Self::Gone`] is.
    NotAnEndpoint,
    /// The subscription has ended.
    Gone,
    /// The message has ended, or never was.
    NoMessage,
    /// The body has more octets than the limit.
    TooLarge {
        /// In octets.
        limit: usize,
    },
    /// The subscription is restricted, and the sender has shown no credential.
    NoCredential {
        /// The credential required of senders.
        wanted: Credential,
    },
    /// The subscription is restricted, and not to the sender's credential.
    OtherCredential {
        /// The credential required of senders.
        wanted: Credential,
    },
    /// The service takes nothing from anonymous senders.
    Anonymous,
    /// More messages to the user agent than the rate allows.
    TooMany {
        /// The time until the next one may be sent.
        retry: Duration,
    },
    /// Too much waits for the user agent.
    MailboxFull,
    /// The receipt subscription that the message names is none (any more).
    InvalidReceipts,
    /// The message wants a receipt and names no receipt subscription, which this service asks for.
    NewReceipts,
    /// Too many receipts wait in the receipt subscription.
    ReceiptsFull,
    /// The body did not come in time.
    SlowBody,
    /// The body ended before the announced length.
    BrokenBody,
    /// As many requests are under way as may be.
    Overloaded,
    /// The log, the directory or the router failed; after a failure of the log the fate of the message may be
    /// unknown.
    Store,
}

/// The kind of credential required by a restricted subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A VAPID key.
    VapidKey,
    /// An API key.
    ApiKey,
    /// A signature.
    Signature,
}

/// Time to wait when a store is down.
const RETRY_STORE: Duration = Duration::from_secs(30);
/// Time to wait when there is too much to do.
const RETRY_LOAD: Duration = Duration::from_secs(1);
/// Time to wait for an application server to read its receipts.
const RETRY_RECEIPTS: Duration = Duration::from_mins(1);
/// Time to wait for a user agent not yet online.
const RETRY_MAILBOX: Duration = Duration::from_hours(1);

impl Refusal {
    /// Label of the reason in the metrics; none for requests other than push messages.
    pub(crate) const fn label(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoMessage => return None,
            Self::NotAnEndpoint => "token_invalid",
            Self::Gone => "subscription_gone",
            Self::TooLarge { .. } => "body_too_large",
            Self::NoCredential { wanted: Credential::VapidKey } | Self::Anonymous => "vapid_missing",
            Self::OtherCredential { wanted: Credential::VapidKey } => "vapid_mismatch",
            Self::NoCredential { wanted: Credential::ApiKey | Credential::Signature } => "credential_missing",
            Self::OtherCredential { wanted: Credential::ApiKey | Credential::Signature } => {
                "credential_mismatch"
            }
            Self::BrokenBody => "header_invalid",
            Self::TooMany { .. } => "rate_limited",
            Self::MailboxFull => "queue_full",
            Self::InvalidReceipts => "receipts_invalid",
            Self::NewReceipts => "receipts_missing",
            Self::ReceiptsFull => "receipts_full",
            Self::SlowBody => "timeout",
            Self::Overloaded | Self::Store => "unavailable",
        })
    }

    /// The time to wait before the next try, where a next try makes sense.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry } => Some(*retry),
            Self::MailboxFull => Some(RETRY_MAILBOX),
            Self::ReceiptsFull => Some(RETRY_RECEIPTS),
            Self::Overloaded => Some(RETRY_LOAD),
            Self::Store => Some(RETRY_STORE),
            Self::NotAnEndpoint
            | Self::Gone
            | Self::NoMessage
            | Self::TooLarge { .. }
            | Self::NoCredential { .. }
            | Self::OtherCredential { .. }
            | Self::Anonymous
            | Self::InvalidReceipts
            | Self::NewReceipts
            | Self::SlowBody
            | Self::BrokenBody => None,
        }
    }
}
