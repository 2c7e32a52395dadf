//! The data directory: created if missing, and locked by one process. The lock file also tells the next start whether
//! the store was closed in order.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::OpenError;

const LOCK_FILE: &str = "lock";

/// Name of the database in the directory.
pub(crate) const DATABASE_FILE: &str = "pushgrid.sqlite";

/// File in which Linux names the present boot of the machine.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Text of a lock file after damage was found: the data was whole once.
const WHOLE: &str = "written whole\n";

/// Lock on the directory, for as long as the value lives; released by the operating system when the process dies.
///
/// The lock file names the boot of the machine in which the store was opened, until the store is closed in order; or
/// says that the data written then was found whole.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
}

/// State in which the previous process left the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Closed in order, or never opened.
    InOrder,
    /// Not closed; the machine has been running ever since, or the data is known to have been whole.
    InThisBoot,
    /// Not closed, in another boot or in an unknown one.
    Before,
}

/// Locks `path` for this process, created if missing. Files there are for the owner only: user agent ids are secrets.
pub(crate) fn take(path: &Path) -> Result<DirectoryLock, OpenError> {
    make(path).map_err(|source| OpenError::Directory { path: path.to_owned(), source })?;
    take_existing(path)
}

/// Locks an existing directory.
pub(crate) fn take_existing(path: &Path) -> Result<DirectoryLock, OpenError> {
    let failed = |source| OpenError::Directory { path: path.to_owned(), source };
    let lock = private().open(path.join(LOCK_FILE)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    Ok(DirectoryLock { file: lock })
}

/// Creates an empty database file if missing.
pub(crate) fn make_database(path: &Path) -> Result<(), OpenError> {
    let made = private().open(path.join(DATABASE_FILE));
    made.map(drop).map_err(|source| OpenError::Directory { path: path.to_owned(), source })
}

/// True without a database, or with an empty file in its place.
pub(crate) fn has_no_database(path: &Path) -> bool {
    fs::metadata(path.join(DATABASE_FILE)).map_or(0, |found| found.len()) == 0
}

impl DirectoryLock {
    /// Reads how the directory was left. An unreadable lock file counts as of another boot.
    pub(crate) fn left(&mut self) -> Left {
        let mut note = String::new();
        let read = self.file.rewind().and_then(|()| (&self.file).take(256).read_to_string(&mut note));
        match (read, fs::read_to_string(BOOT)) {
            (Ok(0), _) => Left::InOrder,
            (Ok(_), _) if note == WHOLE => Left::InThisBoot,
            (Ok(_), Ok(boot)) if boot == note && !boot.is_empty() => Left::InThisBoot,
            (Ok(_) | Err(_), _) => Left::Before,
        }
    }

    /// Records that the store is open, in this boot.
    pub(crate) fn opened(&mut self) {
        let boot = fs::read_to_string(BOOT).unwrap_or_else(|_| "unknown\n".to_owned());
        self.note(&boot);
    }

    /// Records that damage was found, for the next start, even in another boot.
    pub(crate) fn damaged(&mut self) {
        self.note(WHOLE);
    }

    /// Records that the store was closed in order.
    pub(crate) fn closed(&mut self) {
        self.note("");
    }

    /// Writes the lock file. The text only helps to judge the state after a crash, so a failure costs nothing else.
    fn note(&mut self, text: &str) {
        let written = self.file.set_len(0).and_then(|()| {
            self.file.rewind()?;
            self.file.write_all(text.as_bytes())
        });
        if let Err(error) = written {
            tracing::debug!(%error, "could not note in the lock file how the store stands");
        }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

/// Creates the directory and syncs the parent: only then is the new directory durable.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let path = path.canonicalize()?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
