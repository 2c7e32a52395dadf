//! Copies of the file: made from a store open in another process or in none, checked, and restored into an empty data
//! directory. Invariant: a copy is of one moment, and no start takes an unfinished restore for a database.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pushgrid_types::cast::saturating;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;

use crate::directory::{self, DATABASE_FILE, DirectoryLock};
use crate::failure::Failure;
use crate::keys::KeyId;
use crate::{OpenError, account, recovery, row, schema, seals, wal};

/// Pages of one copy step: 4 MiB.
const STEP: i32 = 1024;

/// Pages between two syncs of the copy, so that the disk is never busy for long: 64 MiB.
const SYNC: i32 = 16 * STEP;

/// Most faults named of a damaged copy.
const NAMED: usize = 3;

/// Files that an empty data directory may hold: traces of an interrupted start or restore, and of the file system.
const NOTHING: [&str; 3] = ["lock", "lost+found", RESTORED];

/// Name of a restored database before the restore is complete.
pub(crate) const RESTORED: &str = "pushgrid.sqlite.new";

/// Place of a database's write version, and the value for a write-ahead log.
const FORMAT_AT: u64 = 18;
const WITH_LOG: u8 = 2;

/// Time of the copy. An earlier release ignores this table.
const STAMP: &str = "CREATE TABLE IF NOT EXISTS backup (at INTEGER NOT NULL) STRICT;
    DELETE FROM backup;
    INSERT INTO backup (at) VALUES (unixepoch());";

/// Errors of a backup or a restore; no usable copy exists then.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no database to copy.
    #[error("{} is not there or empty: name a data directory that standalone has used, or a backup of one", path.display())]
    NoDatabase {
        /// Expected place of the database.
        path: PathBuf,
    },
    /// The given database is a store's, in use or copied while in use: messages may be missing.
    #[error(
        "{} is a data directory, not a backup, and its last messages may be in a log beside it: run `pushgrid backup NEW \
         --data-dir {}` and restore that",
        path.display(),
        path.display()
    )]
    NotABackup {
        /// Directory of the database.
        path: PathBuf,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The target of the restore is not empty.
    #[error("the data directory {} is not empty (it has {name}): restore into another one, or move it away", path.display())]
    NotEmpty {
        /// Data directory.
        path: PathBuf,
        /// Name of a file there.
        name: String,
    },
    /// A database could not be read or written.
    #[error("the database could not be copied")]
    Copy(#[from] rusqlite::Error),
    /// A file could not be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The copy is damaged, and the source, too.
    #[error("the database is damaged: {}", faults.join("; "))]
    Damaged {
        /// Faults found.
        faults: Vec<String>,
    },
}

/// Progress of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Octets copied, and octets in all.
    Copied(u64, u64),
    /// Copied, and being checked.
    Checking,
}

/// Contents of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// Number of subscriptions.
    pub subscriptions: u64,
    /// Number of user agents with subscriptions.
    pub user_agents: u64,
    /// Number of pending messages.
    pub messages: u64,
    /// Time of the copy, in seconds since 1970.
    pub made_at: Option<u64>,
    /// Names of the endpoint keys under which the subscriptions are sealed.
    pub sealed_with: Vec<KeyId>,
}

/// Copies the database of the data directory `from` to the new file `to`, as of one moment, and checks the copy. The
/// store may be open and written to: nothing there waits, but the write-ahead log does not begin anew meanwhile.
pub fn back_up(from: &Path, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Holdings, BackupError> {
    let source = open_source(from)?;
    let file = new_file(to)?;
    let mut copy = Connection::open(to)?;
    // Nobody reads the copy before it is whole and synced.
    copy.pragma_update(None, "synchronous", "off")?;
    // One moment for all pages, whatever is written meanwhile.
    source.execute_batch("BEGIN")?;
    source.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))?;
    copy_pages(&source, &mut copy, &file, progress).map_err(|fault| fault.named(to))?;
    source.execute_batch("ROLLBACK")?;
    // One file, with no log beside it.
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    copy.execute_batch(STAMP)?;
    drop(copy);
    file.sync_all().map_err(|source| BackupError::File { path: to.to_owned(), source })?;
    progress(Progress::Checking);
    inspect(to)
}

/// Checks the backup `file`, and returns the contents. The file must be sound, and the account must add up.
pub fn inspect(file: &Path) -> Result<Holdings, BackupError> {
    if fs::metadata(file).map_or(0, |found| found.len()) == 0 {
        return Err(BackupError::NoDatabase { path: file.to_owned() });
    }
    must_be_backup(file)?;
    let connection = schema::open_copy(file)?;
    let mut faults = schema::faults(&connection, NAMED)?;
    if faults.is_empty() {
        let (account, _) = account::load(&connection).map_err(OpenError::from)?;
        if account.adds_up() {
            let holdings = holdings(&connection, account.pending)?;
            return if holdings.made_at.is_some() { Ok(holdings) } else { Err(not_a_backup(file)) };
        }
        faults.push("its account does not add up".to_owned());
    }
    Err(BackupError::Damaged { faults })
}

/// Refuses the database of a store: the latest messages may be in the log. By the header of a backup there is no log.
pub fn must_be_backup(file: &Path) -> Result<(), BackupError> {
    let mut format = [0];
    let read = File::open(file).and_then(|database| database.read_exact_at(&mut format, FORMAT_AT));
    let log = fs::metadata(wal::path_of(file)).map_or(0, |log| log.len());
    if log > 0 || (read.is_ok() && format == [WITH_LOG]) { Err(not_a_backup(file)) } else { Ok(()) }
}

fn not_a_backup(file: &Path) -> BackupError {
    BackupError::NotABackup { path: file.parent().unwrap_or(Path::new(".")).to_owned() }
}

fn holdings(connection: &Connection, messages: u64) -> Result<Holdings, BackupError> {
    let count = "SELECT COUNT(*), COUNT(DISTINCT user_agent) FROM subscription";
    let (subscriptions, user_agents): (i64, i64) =
        connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let made_at: Option<i64> = if connection.table_exists(None, "backup")? {
        connection.query_row("SELECT MAX(at) FROM backup", [], |row| row.get(0))?
    } else {
        None
    };
    let unsigned = |value| row::to_unsigned(value).map_err(|failure: Failure| OpenError::from(failure));
    Ok(Holdings {
        subscriptions: unsigned(subscriptions)?,
        user_agents: unsigned(user_agents)?,
        messages,
        made_at: made_at.map(unsigned).transpose()?,
        sealed_with: seals::known(connection)?,
    })
}

/// Opens the database for reading. If no process holds it, the log is examined first, as at a start.
fn open_source(from: &Path) -> Result<Connection, BackupError> {
    let path = from.join(DATABASE_FILE);
    if directory::has_no_database(from) && !wal::is_orphaned(&path) {
        return Err(BackupError::NoDatabase { path });
    }
    let lock = match directory::take_existing(from) {
        Ok(mut lock) => {
            let losses = recovery::prepare(&path, &mut lock, None)?;
            if !losses.is_empty() {
                losses.book(&schema::open_writer(&path)?, &path).map_err(OpenError::from)?;
            }
            Some(lock)
        }
        // The start of that process has examined the log.
        Err(OpenError::InUse { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let source = schema::open_reader(&path)?;
    schema::check_application(&source)?;
    // The store moves its log into the file itself.
    source.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // From here on a start may come, as to a store that is open.
    drop(lock);
    Ok(source)
}

enum Fault {
    Driver(rusqlite::Error),
    Sync(io::Error),
}

impl Fault {
    fn named(self, path: &Path) -> BackupError {
        match self {
            Self::Driver(error) => error.into(),
            Self::Sync(source) => BackupError::File { path: path.to_owned(), source },
        }
    }
}

fn copy_pages(
    source: &Connection,
    copy: &mut Connection,
    file: &File,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), Fault> {
    let page: i64 = source.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(Fault::Driver)?;
    let octets = |pages: i32| saturating::<u64>(i64::from(pages) * page);
    let backup = Backup::new(source, copy).map_err(Fault::Driver)?;
    let mut unsynced = 0;
    loop {
        let step = backup.step(STEP).map_err(Fault::Driver)?;
        let now = backup.progress();
        progress(Progress::Copied(octets(now.pagecount - now.remaining), octets(now.pagecount)));
        unsynced += STEP;
        if unsynced >= SYNC {
            file.sync_data().map_err(Fault::Sync)?;
            unsynced = 0;
        }
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            // Another process is recovering the log, which is short.
            _ => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
}

fn new_file(path: &Path) -> Result<File, BackupError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path).map_err(|source| BackupError::File { path: path.to_owned(), source })
}

/// Data directory locked for a restore.
#[derive(Debug)]
pub struct Restore {
    data_dir: PathBuf,
    lock: DirectoryLock,
}

impl Restore {
    /// Locks the directory, created if missing. The directory must be empty, but for the traces of an interrupted
    /// restore; `beside` names the files written by the caller.
    pub fn begin(data_dir: &Path, beside: &[&str]) -> Result<Self, BackupError> {
        must_be_empty(data_dir, beside)?;
        let lock = directory::take(data_dir)?;
        // Once more, now that nobody else can begin.
        must_be_empty(data_dir, beside)?;
        Ok(Self { data_dir: data_dir.to_owned(), lock })
    }

    /// Copies the backup `from` into the directory, under another name, and checks the copy. Until [`Self::finish`]
    /// no start takes the directory for one without a database.
    pub fn copy(&self, from: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Holdings, BackupError> {
        if fs::metadata(from).map_or(0, |found| found.len()) == 0 {
            return Err(BackupError::NoDatabase { path: from.to_owned() });
        }
        must_be_backup(from)?;
        let to = self.data_dir.join(RESTORED);
        remove(&to)?;
        let copied = copy_file(from, &to, progress).and_then(|()| {
            progress(Progress::Checking);
            inspect(&to)
        });
        if copied.is_err() {
            remove(&to)?;
        }
        copied
    }

    /// Renames the copy to the database, for the next start.
    pub fn finish(mut self) -> Result<(), BackupError> {
        let to = self.data_dir.join(DATABASE_FILE);
        let named = fs::rename(self.data_dir.join(RESTORED), &to)
            .and_then(|()| File::open(&self.data_dir)?.sync_all());
        self.lock.closed();
        named.map_err(|source| BackupError::File { path: to, source })
    }
}

fn copy_file(from: &Path, to: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), BackupError> {
    let failed = |source| BackupError::File { path: to.to_owned(), source };
    let mut copy = new_file(to)?;
    let mut source =
        File::open(from).map_err(|source| BackupError::File { path: from.to_owned(), source })?;
    let octets = io::copy(&mut source, &mut copy).map_err(failed)?;
    copy.sync_all().map_err(failed)?;
    progress(Progress::Copied(octets, octets));
    Ok(())
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(BackupError::File { path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Copy of an interrupted restore, in a directory that has no database.
pub(crate) fn interrupted(data_dir: &Path) -> Option<PathBuf> {
    let copy = data_dir.join(RESTORED);
    (directory::has_no_database(data_dir) && copy.symlink_metadata().is_ok()).then_some(copy)
}

fn must_be_empty(data_dir: &Path, beside: &[&str]) -> Result<(), BackupError> {
    let beside = if interrupted(data_dir).is_some() { beside } else { &[] };
    let failed = |source| BackupError::File { path: data_dir.to_owned(), source };
    let entries = match fs::read_dir(data_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if !NOTHING.contains(&name.as_str()) && !beside.contains(&name.as_str()) {
            return Err(BackupError::NotEmpty { path: data_dir.to_owned(), name });
        }
    }
    Ok(())
}
