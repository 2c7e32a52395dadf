//! The data directory: made when it is not there, and held by one process.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::OpenError;

const LOCK_FILE: &str = "lock";

/// The name of the database in its directory.
pub(crate) const DATABASE_FILE: &str = "pushgrid.sqlite";

/// Holds the directory as long as it lives; the operating system lets go of it when the process dies.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

/// Makes `path` if need be and takes it for this process. The database file is made here too, for its owner only:
/// it holds user agent ids, which are secrets.
pub(crate) fn take(path: &Path) -> Result<DirectoryLock, OpenError> {
    let failed = |source| OpenError::Directory { path: path.to_owned(), source };
    make(path).map_err(failed)?;
    let lock = private().open(path.join(LOCK_FILE)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    private().open(path.join(DATABASE_FILE)).map_err(failed)?;
    Ok(DirectoryLock { _file: lock })
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options
}

/// A new directory is itself durable only when the one that names it is.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let path = path.canonicalize()?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
