use std::io;

use pushgrid_crypto::vapid::InvalidPublicUrl;
use pushgrid_runtime::http::BindError;
use pushgrid_store_embedded::{KeyOrigin, OpenError};

use crate::keys::KeysError;

/// Failure of a process to start, or to end well.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A listener could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The store could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Kafka could not be used.
    #[error(transparent)]
    Kafka(#[from] pushgrid_log_kafka::Failure),
    /// Redis could not be used.
    #[error(transparent)]
    Redis(#[from] pushgrid_store_redis::ConnectError),
    /// The endpoint keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The public address cannot be an audience of VAPID tokens.
    #[error(transparent)]
    PublicUrl(#[from] InvalidPublicUrl),
    /// The roots for webhooks cannot be read.
    #[error(transparent)]
    Webhook(#[from] pushgrid_webhook::InvalidCaFile),
    /// An address of a bound listener could not be read.
    #[error("cannot read the address of a listener")]
    Address(#[from] io::Error),
    /// A part ended unasked.
    #[error("a part failed: {0}")]
    Part(String),
    /// Parts were still running at the deadline; nothing accepted is lost.
    #[error(transparent)]
    Unfinished(#[from] pushgrid_runtime::Unfinished),
}

impl Failure {
    /// True when a start can succeed only after a setting was changed.
    pub fn is_bad_configuration(&self) -> bool {
        match self {
            Self::Keys(KeysError::Missing | KeysError::Configured(_))
            | Self::PublicUrl(_)
            | Self::Webhook(_)
            | Self::Open(OpenError::Keys { origin: KeyOrigin::Configured, .. }) => true,
            Self::Kafka(failure) => failure.is_bad_configuration(),
            Self::Redis(failure) => failure.is_bad_configuration(),
            Self::Keys(KeysError::Kept { .. } | KeysError::File { .. })
            | Self::Bind(_)
            | Self::Open(_)
            | Self::Address(_)
            | Self::Part(_)
            | Self::Unfinished(_) => false,
        }
    }
}
