use pushgrid_store::{ErrorKind, StoreError};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The settings make no client.
    #[error("no Kafka client can be made of the settings: {0}")]
    Client(String),
    /// The brokers do not answer.
    #[error(
        "the Kafka brokers {brokers} do not answer: {what}; is PUSHGRID_KAFKA__BROKERS right, and are they up?"
    )]
    Unreachable {
        /// The brokers, as they are set.
        brokers: String,
        /// What the client said.
        what: String,
    },
    /// A topic is not there and could not be made.
    #[error("topic {topic} could not be made: {what}; {mend}")]
    NotMade {
        /// Which.
        topic: String,
        /// What the brokers said.
        what: String,
        /// What to do.
        mend: String,
    },
    /// A topic is not as it has to be.
    #[error("topic {topic}: {what}; {mend}")]
    Wrong {
        /// Which.
        topic: String,
        /// What is wrong with it.
        what: String,
        /// What to do.
        mend: String,
    },
}

impl Failure {
    /// Whether a setting, or a topic, has to be changed before a start can succeed.
    pub const fn is_bad_configuration(&self) -> bool {
        match self {
            Self::Client(_) | Self::Wrong { .. } => true,
            Self::Unreachable { .. } | Self::NotMade { .. } => false,
        }
    }

    /// A client that could not be made. The value of a setting is not shown: it may be a secret.
    pub(crate) fn client(error: &KafkaError) -> Self {
        Self::Client(match error {
            KafkaError::ClientConfig(_, what, key, _) => format!("{key}: {what}"),
            other => other.to_string(),
        })
    }
}

/// A failure of a record that was to be appended.
pub(crate) fn of_append(error: KafkaError) -> StoreError {
    StoreError::new(kind_of_append(&error), error)
}

/// What is known of a record that failed. Whatever is not known to be refused may have been kept.
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

/// A failure of a question, which changes nothing.
pub(crate) fn of_question(error: KafkaError) -> StoreError {
    StoreError::new(ErrorKind::Unavailable, error)
}

/// Whether the client that said so has to be made anew.
pub(crate) fn is_fatal(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}

/// A thread of the runtime that could not do its work: the runtime is going down.
pub(crate) fn of_thread(error: tokio::task::JoinError) -> StoreError {
    StoreError::new(ErrorKind::Closed, error)
}
