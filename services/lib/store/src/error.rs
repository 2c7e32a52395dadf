use std::error::Error;

/// Why a store could not do what it was asked. Nothing was changed, unless [`ErrorKind::Unknown`].
#[derive(Debug, thiserror::Error)]
#[error("the store {}", kind.as_str())]
pub struct StoreError {
    /// What to do about it.
    pub kind: ErrorKind,
    /// What the driver said.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// What the caller of a store has to know about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// It cannot be reached, or is too busy: nothing was changed.
    Unavailable,
    /// It did not answer in time: the change may have happened.
    Unknown,
    /// It holds something that it should not: a person has to look.
    Corrupt,
    /// It is closing.
    Closed,
}

impl ErrorKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "is unavailable",
            Self::Unknown => "did not answer in time",
            Self::Corrupt => "holds data that cannot be read",
            Self::Closed => "is closed",
        }
    }
}

impl StoreError {
    /// A failure with what the driver said.
    pub fn new(kind: ErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// A failure that no driver has words for.
    pub const fn plain(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self.kind {
            ErrorKind::Unavailable | ErrorKind::Unknown => true,
            ErrorKind::Corrupt | ErrorKind::Closed => false,
        }
    }
}
