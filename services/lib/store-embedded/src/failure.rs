//! Failures of the database, in the kinds of the seams. Decides which `SQLite` codes may pass, which leave a commit
//! unknown, and which need an operator.

use pushgrid_store::{ErrorKind, StoreError};
use rusqlite::{ErrorCode, ffi};

/// Failure of a transaction or a read, cloneable for several waiters; becomes a [`StoreError`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    /// Set if the disk, or the allowed part of it, was full.
    pub(crate) full: bool,
    text: String,
}

impl Failure {
    /// An impossible value in the file or in a call.
    pub(crate) fn corrupt(text: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Corrupt, full: false, text: text.into() }
    }

    /// Refusal of a change that adds something, for want of room.
    pub(crate) fn no_room() -> Self {
        Self { kind: ErrorKind::Unavailable, full: true, text: "there is no room for more".into() }
    }

    /// Failure of COMMIT. After an I/O error part of the transaction may be on the device, and a crash right now may
    /// or may not bring it back: unknown. When the device was full or busy, the last frame was never written.
    pub(crate) fn of_commit(error: &rusqlite::Error) -> Self {
        let failure = Self::from_driver(error);
        match error.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure) => Self { kind: ErrorKind::Unknown, ..failure },
            Some(_) | None => failure,
        }
    }

    /// Failure of any other statement.
    pub(crate) fn from_driver(error: &rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(code) if is_for_a_person(code) => ErrorKind::Corrupt,
            Some(_) => ErrorKind::Unavailable,
            // A value of another type than its column's, or a statement that this crate did not write.
            None => ErrorKind::Corrupt,
        };
        let full = error.sqlite_error().is_some_and(|error| is_for_want_of_room(*error));
        Self { kind, full, text: error.to_string() }
    }

    pub(crate) fn to_error(&self) -> StoreError {
        StoreError::new(self.kind, self.clone())
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::from_driver(&error)
    }
}

/// Reports a full disk. A quota, or a bound on file sizes, shows as a failed write; so does the index of the
/// write-ahead log.
fn is_for_want_of_room(error: ffi::Error) -> bool {
    error.code == ErrorCode::DiskFull
        || matches!(error.extended_code, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE)
}

/// Reports codes that neither a retry nor free space cures.
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
