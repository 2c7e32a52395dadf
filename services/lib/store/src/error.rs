use std::error::Error;

/// Failure of a call to a store. Nothing was changed, except perhaps for [`ErrorKind::Unknown`].
#[derive(Debug, thiserror::Error)]
#[error("the store {}", kind.as_str())]
pub struct StoreError {
    /// Kind of failure, which decides the reaction.
    pub kind: ErrorKind,
    /// Error of the driver, if there is one.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// Kind of failure, as far as a caller must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The store cannot be reached, or is too busy: nothing was changed.
    Unavailable,
    /// The store did not answer in time: the change may have happened.
    Unknown,
    /// The store holds data that cannot be read: a person has to look.
    Corrupt,
    /// The store is closing, or no longer the caller's to write.
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
    /// A failure with the error of the driver.
    pub fn new(kind: ErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// A failure without an error of a driver.
    pub const fn plain(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// True when the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self.kind {
            ErrorKind::Unavailable | ErrorKind::Unknown => true,
            ErrorKind::Corrupt | ErrorKind::Closed => false,
        }
    }
}
