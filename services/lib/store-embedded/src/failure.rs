use pushgrid_store::{ErrorKind, StoreError};
use rusqlite::ErrorCode;

/// Why a transaction or a read failed: a [`StoreError`] that can be told to several waiters.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    text: String,
}

impl Failure {
    /// The file holds, or the caller asked for, what cannot be.
    pub(crate) fn corrupt(text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Corrupt, text: text.into() }
    }

    /// A failure of COMMIT. When the device failed, part of the transaction may have reached it, and a crash right
    /// now may or may not bring it back; when it was full or busy, the last frame was never written.
    pub(crate) fn of_commit(error: &rusqlite::Error) -> Self {
        let failure = Self::from_driver(error);
        match error.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure) => Self { kind: ErrorKind::Unknown, ..failure },
            Some(_) | None => failure,
        }
    }

    fn from_driver(error: &rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(code) if is_for_a_person(code) => ErrorKind::Corrupt,
            Some(_) => ErrorKind::Unavailable,
            // A value that is not of its column's type, or a statement that is not what this crate wrote.
            None => ErrorKind::Corrupt,
        };
        Self { kind, text: error.to_string() }
    }

    pub(crate) fn to_error(&self) -> StoreError {
        StoreError::new(self.kind, self.text.clone())
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::from_driver(&error)
    }
}

/// Codes that no retry and no free space will cure.
fn is_for_a_person(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::SchemaChanged
            | ErrorCode::InternalMalfunction
            | ErrorCode::TooBig
            | ErrorCode::ApiMisuse
    )
}
