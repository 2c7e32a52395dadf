//! Errors of the crate: [`Failure`] for opening clients and topics, and the mapping of librdkafka's codes to
//! [`ErrorKind`].
//! Invariant: a record not known to be refused is [`ErrorKind::Unknown`], never [`ErrorKind::Unavailable`].

use pushgrid_store::{ErrorKind, StoreError};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Failure to open the log, the changelog or the group.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// librdkafka rejects the settings.
    #[error("no Kafka client can be made of the settings: {0}")]
    Client(String),
    /// The brokers do not answer.
    #[error(
        "the Kafka brokers {brokers} do not answer: {what}; is PUSHGRID_KAFKA__BROKERS right, and are they up?"
    )]
    Unreachable {
        /// The brokers, as configured.
        brokers: String,
        /// librdkafka's error.
        what: String,
    },
    /// A topic is missing and could not be created.
    #[error("topic {topic} could not be made: {what}; {mend}")]
    NotMade {
        /// Name of the topic.
        topic: String,
        /// The brokers' error.
        what: String,
        /// Advice to the operator.
        mend: String,
    },
    /// A topic exists with settings that would break a promise.
    #[error("topic {topic}: {what}; {mend}")]
    Wrong {
        /// Name of the topic.
        topic: String,
        /// The fault.
        what: String,
        /// Advice to the operator, with a command or setting.
        mend: String,
    },
}

impl Failure {
    /// True when a start can succeed only after a setting or a topic was changed.
    pub const fn is_bad_configuration(&self) -> bool {
        match self {
            Self::Client(_) | Self::Wrong { .. } => true,
            Self::Unreachable { .. } | Self::NotMade { .. } => false,
        }
    }

    /// Failure to make a client. The value of a setting is not shown: some are secret.
    pub(crate) fn client(error: &KafkaError) -> Self {
        Self::Client(match error {
            KafkaError::ClientConfig(_, what, key, _) => format!("{key}: {what}"),
            other => other.to_string(),
        })
    }
}

/// Maps a failed append.
pub(crate) fn of_append(error: KafkaError) -> StoreError {
    StoreError::new(kind_of_append(&error), error)
}

/// Certainty about a failed record. Only the listed codes prove that no broker kept the record.
fn kind_of_append(error: &KafkaError) -> ErrorKind {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::QueueFull
            | RDKafkaErrorCode::PurgeQueue
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::NotEnoughReplicas,
        ) => ErrorKind::Unavailable,
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord) => ErrorKind::Corrupt,
        Some(_) | None => ErrorKind::Unknown,
    }
}

/// Maps a failed read, which changes nothing.
pub(crate) fn of_question(error: KafkaError) -> StoreError {
    StoreError::new(ErrorKind::Unavailable, error)
}

/// True for an error after which librdkafka's client must be replaced.
pub(crate) fn is_fatal(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}

/// Maps a blocking task that did not finish: the runtime is shutting down.
pub(crate) fn of_thread(error: tokio::task::JoinError) -> StoreError {
    StoreError::new(ErrorKind::Closed, error)
}
