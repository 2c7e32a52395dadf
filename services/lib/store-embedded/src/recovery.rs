//! Examination of the write-ahead log before `SQLite` replays it (see [`crate::wal`]), and the operator's accepted
//! losses. Invariant: a damaged log is cut only once the operator has accepted the loss, and after a copy.

use std::io;
use std::path::Path;

use crate::OpenError;
use crate::directory::{DirectoryLock, Left};
use crate::loss::{self, Losses};
use crate::wal::{self, State};

/// Id of the finding that the database is gone and its log is not.
const NO_DATABASE: &str = "database";

/// Name of the copy of a log whose last transaction was not whole.
const DOUBTFUL: &str = "doubtful";

/// Makes the log of the database `file` ready to be replayed, or refuses. Returns the losses to be booked. `accepted`
/// is the id of the loss that the operator accepts; losses noted by an earlier start stay accepted.
pub(crate) fn prepare(
    file: &Path,
    lock: &mut DirectoryLock,
    accepted: Option<&str>,
) -> Result<Losses, OpenError> {
    let left = lock.left();
    let path = wal::path_of(file);
    let failed = |source: io::Error| OpenError::Directory { path: path.clone(), source };
    if wal::is_orphaned(file) {
        if accepted != Some(NO_DATABASE) {
            return Err(OpenError::NoDatabase { log: path, id: NO_DATABASE });
        }
        tracing::error!("beginning without the database, as asked: all that it held is lost");
        // Losses to be booked in the database are lost with it.
        return loss::forget(file)
            .and_then(|()| wal::cut(file, 0))
            .map(|()| Losses::default())
            .map_err(failed);
    }
    let mut losses = Losses::noted(file).map_err(failed)?;
    if left != Left::InOrder && !path.exists() {
        tracing::warn!(
            "the store was not closed in order, and its write-ahead log is gone: if somebody has copied the database \
             without its log, the last messages are missing; restore a backup that `pushgrid backup` has made"
        );
    }
    match wal::examine(file, left == Left::InThisBoot).map_err(failed)? {
        State::Sound { keep: None } => Ok(losses),
        State::Sound { keep: Some(octets) } => wal::cut(file, octets).map(|()| losses).map_err(failed),
        State::Doubtful(lost) if !losses.has(&lost.id) => {
            let copy = lost.set_aside(file, DOUBTFUL).map_err(failed)?;
            tracing::warn!(
                frame = lost.frame,
                offset = lost.offset,
                transactions = lost.transactions,
                messages = lost.messages,
                copy = %copy.display(),
                "the last transaction in the write-ahead log is not whole: a loss of power leaves this, and then nobody \
                 was told that it had been written. If the machine has not lost power, the disk is damaged, and at most \
                 this many messages are lost"
            );
            Ok(losses)
        }
        State::Damaged(lost) | State::Doubtful(lost)
            if accepted == Some(lost.id.as_str()) || losses.has(&lost.id) =>
        {
            losses.note(&lost, file).map_err(failed)?;
            let copy = lost.set_aside(file, &lost.id).map_err(failed)?;
            tracing::error!(
                frame = lost.frame,
                transactions = lost.transactions,
                messages = lost.messages,
                copy = %copy.display(),
                "going on without the damaged part of the write-ahead log, as asked"
            );
            Ok(losses)
        }
        State::Damaged(lost) | State::Doubtful(lost) => {
            lock.damaged();
            Err(OpenError::DamagedLog(Box::new(lost)))
        }
    }
}
