//! Examination of the write-ahead log before `SQLite` opens the file: `SQLite` stops at the first unverifiable frame,
//! and silently forgets the rest.
//!
//! Traces of an ordinary end, and traces of damage alone:
//! - The last transaction is unfinished, or its last frame is torn: nobody was told of a commit.
//! - Frames of an earlier generation, which have other salts, follow: the log had begun anew, after all of these had
//!   been moved into the file.
//! - After a loss of power, frames not synced yet may be missing although later ones are there. A commit with a
//!   promise is synced before the next transaction begins, so a frame behind such a commit proves that everything
//!   before had reached the disk. Commits of acknowledgements alone are not synced, and prove nothing.
//! - While the machine runs on, written frames stay written, whatever happens to the process. So in the same boot a
//!   commit behind an unverifiable frame proves damage.
//!
//! The last holds only while frames are written once, in order, at the commit. A large transaction would spill pages
//! earlier, and later rewrite these and the checksums behind: so the writer does not spill.

mod examination;
mod format;
mod ledger_page;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use examination::{Examined, Reading};

/// Suffix of the write-ahead log's name.
const SUFFIX: &str = "-wal";

/// Frames found behind the last replayable commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostLog {
    /// Path of the log.
    pub path: PathBuf,
    /// First unverifiable frame, from 1; 0 is the header of the log.
    pub frame: u64,
    /// Offset of the frame, in octets.
    pub offset: u64,
    /// Frames of the same generation from there on.
    pub frames: u64,
    /// Transactions that end in these frames: at most so many were committed.
    pub transactions: u64,
    /// Messages accepted in these frames; `None` without a copy of the account there.
    pub messages: Option<u64>,
    /// Id of the finding: the operator repeats the id to go on without these transactions.
    pub id: String,
    /// Replayable octets of the log.
    keep: u64,
}

/// Verdict on the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// All committed transactions can be replayed.
    Sound {
        /// Replayable octets, if uncommitted frames follow.
        keep: Option<u64>,
    },
    /// The last transaction is not whole: a loss of power leaves this, and then nobody was told of the commit; but
    /// damage may, too.
    Doubtful(LostLog),
    /// A committed and synced transaction cannot be replayed.
    Damaged(LostLog),
}

/// Path of the log of the database `file`.
pub(crate) fn path_of(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(SUFFIX);
    path.into()
}

/// Reads the whole log of the database `file`; changes nothing. `same_boot`: the machine has been running since
/// before the last write to the log.
pub(crate) fn examine(file: &Path, same_boot: bool) -> io::Result<State> {
    let path = path_of(file);
    let log = match File::open(&path) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Sound { keep: None }),
        Err(error) => return Err(error),
    };
    let database = File::open(file)?;
    let reading = Reading { log: BufReader::with_capacity(1 << 20, log), database: &database, same_boot };
    let examined = examination::examine(reading)?;
    let (found, verdict): (_, fn(LostLog) -> State) = match examined {
        Examined::Sound { keep } => return Ok(State::Sound { keep }),
        Examined::Doubtful(found) => (found, State::Doubtful),
        Examined::Damaged(found) => (found, State::Damaged),
    };
    Ok(verdict(LostLog {
        path,
        frame: found.frame,
        offset: found.offset,
        frames: found.frames,
        transactions: found.transactions,
        messages: found.messages,
        id: found.id,
        keep: found.keep,
    }))
}

/// Truncates the log to `keep` octets, so the rest can never be taken for committed frames.
pub(crate) fn cut(file: &Path, keep: u64) -> io::Result<()> {
    let log = OpenOptions::new().write(true).open(path_of(file))?;
    log.set_len(keep)?;
    log.sync_all()
}

impl LostLog {
    /// Truncates the log to the replayable part, and keeps a copy of the whole, replacing an earlier one of the same
    /// `name`.
    pub(crate) fn set_aside(&self, file: &Path, name: &str) -> io::Result<PathBuf> {
        let mut copy = self.path.as_os_str().to_owned();
        copy.push(format!(".{name}"));
        let copy = PathBuf::from(copy);
        let mut from = File::open(&self.path)?;
        // The copy holds ids of user agents: for its owner only.
        let mut to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&copy)?;
        io::copy(&mut from, &mut to)?;
        to.sync_all()?;
        if let Some(folder) = copy.parent() {
            File::open(folder)?.sync_all()?;
        }
        cut(file, self.keep)?;
        Ok(copy)
    }
}

/// True if the database is gone while the log holds transactions: `SQLite` would delete the log.
pub(crate) fn is_orphaned(file: &Path) -> bool {
    let octets = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    octets(file) == 0 && octets(&path_of(file)) > 0
}
