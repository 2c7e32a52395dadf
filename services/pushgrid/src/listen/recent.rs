use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pushgrid_types::limits::FIREFOX_RECENT_MESSAGES;

use crate::secret_file;

/// Lines after which the file is written anew, with the last [`FIREFOX_RECENT_MESSAGES`] alone.
const LINES: usize = 10 * FIREFOX_RECENT_MESSAGES;

/// Ids of the messages printed last, in a file beside the state: a redelivery carries the same id, and is not printed
/// again, nor by the next process.
///
/// Guarantee: a message that was added stays known when the process is killed (not when the machine loses power). A
/// process that is killed between printing and adding prints the message again: none is lost.
pub(super) struct Recent {
    path: PathBuf,
    known: VecDeque<String>,
    /// Opened at the first message.
    file: Option<File>,
    /// Lines in the file.
    lines: usize,
}

impl Recent {
    /// Reads the file beside the state file `state`, if there is one.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let mut path = state.as_os_str().to_owned();
        path.push(".recent");
        let path = PathBuf::from(path);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        // A line without its end is of a process that was killed in the middle of it.
        let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let mut known: VecDeque<_> = whole.map(str::to_owned).collect();
        let lines = if text.is_empty() || text.ends_with('\n') { known.len() } else { LINES };
        known.drain(..known.len().saturating_sub(FIREFOX_RECENT_MESSAGES));
        Ok(Self { path, known, file: None, lines })
    }

    pub(super) fn has(&self, version: &str) -> bool {
        self.known.iter().any(|known| known == version)
    }

    pub(super) fn add(&mut self, version: &str) -> Result<()> {
        if self.known.len() == FIREFOX_RECENT_MESSAGES {
            self.known.pop_front();
        }
        self.known.push_back(version.to_owned());
        if self.lines >= LINES {
            let all: String = self.known.iter().flat_map(|known| [known.as_str(), "\n"]).collect();
            secret_file::replace(&self.path, &all)?;
            (self.file, self.lines) = (None, self.known.len());
            return Ok(());
        }
        self.lines += 1;
        let failed = || format!("cannot write {}", self.path.display());
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(open(&self.path).with_context(failed)?),
        };
        file.write_all(format!("{version}\n").as_bytes()).with_context(failed)
    }
}

/// Opens the file for adding lines, and makes it if need be: for its owner alone, for an id is all that an
/// acknowledgement takes.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hundred_are_known_also_to_the_next_process_and_older_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.json");
        let mut recent = Recent::open(&state).unwrap();
        for version in 0..=FIREFOX_RECENT_MESSAGES {
            recent.add(&version.to_string()).unwrap();
        }
        for recent in [recent, Recent::open(&state).unwrap()] {
            assert!(!recent.has("0") && recent.has("1") && recent.has("100"));
        }
    }

    #[test]
    fn the_file_stays_short() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.json");
        let mut recent = Recent::open(&state).unwrap();
        for version in 0..3 * LINES {
            recent.add(&version.to_string()).unwrap();
            let text = std::fs::read_to_string(&recent.path).unwrap();
            assert!(text.lines().count() == recent.lines && recent.lines <= LINES);
        }
        assert!(Recent::open(&state).unwrap().has(&(3 * LINES - 1).to_string()));
    }

    #[test]
    fn half_a_line_is_none_and_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state.json");
        std::fs::write(folder.path().join("state.json.recent"), "one\ntw").unwrap();
        let mut recent = Recent::open(&state).unwrap();
        recent.add("three").unwrap();
        let next = Recent::open(&state).unwrap();
        assert!(next.has("one") && next.has("three") && !next.has("tw") && !next.has("twthree"));
    }
}
