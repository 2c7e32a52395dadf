//! Losses that an operator has accepted: noted before the write-ahead log is cut, and booked in the account once the
//! database can be opened. Invariant: whatever happens in between, the note tells the next start; no loss is booked
//! twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use pushgrid_types::{DropReason, Outcome};
use rusqlite::{Connection, params};

use crate::account::Entries;
use crate::failure::Failure;
use crate::row;
use crate::wal::LostLog;

/// Suffix of the note's name. An earlier release ignores the file.
const SUFFIX: &str = "-loss";

/// Losses of all lives. An earlier release ignores this table.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS loss (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL DEFAULT (unixepoch()),
    transactions INTEGER NOT NULL,
    messages INTEGER NOT NULL
) STRICT";

const BOOK: &str = "INSERT OR IGNORE INTO loss (id, transactions, messages) VALUES (?1, ?2, ?3)";

const LOST: &str = "SELECT IFNULL(SUM(messages), 0) FROM loss";

/// Accepted loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    id: String,
    transactions: u64,
    messages: u64,
}

impl From<&LostLog> for Loss {
    fn from(lost: &LostLog) -> Self {
        let LostLog { id, transactions, messages, .. } = lost;
        Self { id: id.clone(), transactions: *transactions, messages: messages.unwrap_or(0) }
    }
}

/// Accepted losses, perhaps not booked yet.
#[derive(Debug, Default)]
pub(crate) struct Losses(Vec<Loss>);

impl Losses {
    /// Reads the note beside the database `file`.
    pub(crate) fn noted(file: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(path_of(file)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let losses = text.lines().map(read).collect::<Option<_>>();
        losses
            .map(Self)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not a note of losses"))
    }

    /// True if the loss is among them.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.0.iter().any(|loss| loss.id == id)
    }

    /// Adds a loss, and notes all beside the database `file`. The note is on the disk when the call returns.
    pub(crate) fn note(&mut self, lost: &LostLog, file: &Path) -> io::Result<()> {
        if self.has(&lost.id) {
            return Ok(());
        }
        self.0.push(lost.into());
        let path = path_of(file);
        let new = path.with_extension("new");
        let mut note = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        for Loss { id, transactions, messages } in &self.0 {
            writeln!(note, "{id} {transactions} {messages}")?;
        }
        note.sync_all()?;
        fs::rename(new, &path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    /// Books the losses: the messages were accepted, and end as dropped. Removes the note once that is on the disk.
    /// Returns the number of messages lost in all lives.
    pub(crate) fn book(&self, connection: &Connection, file: &Path) -> Result<u64, Failure> {
        if !self.0.is_empty() {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            connection.execute_batch(TABLE)?;
            self.0.iter().try_for_each(|loss| loss.book(connection))?;
            connection.execute_batch("COMMIT")?;
            if let Err(error) = forget(file) {
                // None is booked twice.
                tracing::warn!(%error, "the note of an accepted loss could not be removed");
            }
        } else if !connection.table_exists(None, "loss")? {
            return Ok(0);
        }
        row::to_unsigned(connection.query_row(LOST, [], |row| row.get(0))?)
    }

    /// True without a loss to book.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Loss {
    fn book(&self, connection: &Connection) -> Result<(), Failure> {
        let Self { id, transactions, messages } = self;
        let new = params![id, row::to_integer(*transactions), row::to_integer(*messages)];
        if connection.execute(BOOK, new)? > 0 {
            let mut entries = Entries { accepted: *messages, ..Entries::default() };
            entries.ended[Outcome::Dropped(DropReason::Damaged).index()] = *messages;
            entries.write(connection)?;
        }
        Ok(())
    }
}

/// Removes the note, if any.
pub(crate) fn forget(file: &Path) -> io::Result<()> {
    match fs::remove_file(path_of(file)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn path_of(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(SUFFIX);
    path.into()
}

fn read(line: &str) -> Option<Loss> {
    let mut parts = line.split(' ');
    let id = parts.next().filter(|id| !id.is_empty())?.to_owned();
    Some(Loss { id, transactions: parts.next()?.parse().ok()?, messages: parts.next()?.parse().ok()? })
}
