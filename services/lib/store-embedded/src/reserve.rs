//! Reserve of disk space: a file that takes room until there is no other. Giving the reserve up lets the write-ahead
//! log move into the database on a full disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// Name of the reserve in its directory.
pub(crate) const RESERVE_FILE: &str = "reserve";

/// Least size: less would hardly let the file grow.
const LEAST: u64 = 256 << 10;

/// Octets of one write where the file system cannot allocate.
const CHUNK: usize = 1 << 20;

/// File for taking up room, and nothing else.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    wanted: u64,
    /// Octets held; 0 without a reserve.
    octets: u64,
    /// Octets held before it was given up.
    had: u64,
}

impl Reserve {
    /// Describes a reserve of up to `wanted` octets in `directory`, not taken yet.
    pub(crate) fn new(directory: &Path, wanted: u64) -> Self {
        Self { path: directory.join(RESERVE_FILE), wanted, octets: 0, had: 0 }
    }

    /// Octets held.
    pub(crate) fn octets(&self) -> u64 {
        self.octets
    }

    /// True while octets are held.
    pub(crate) fn is_held(&self) -> bool {
        self.octets > 0
    }

    /// Takes the wanted octets, or half of the rest of a small disk. After it was given up, takes as many octets as
    /// before, and only if half as many again are free: it must not become smaller each time. False without room.
    pub(crate) fn take(&mut self) -> bool {
        if fs::metadata(&self.path).is_ok_and(|file| file.len() == self.wanted) {
            self.octets = self.wanted;
            return true;
        }
        let _ = fs::remove_file(&self.path);
        match self.allocate() {
            Ok(octets) => {
                self.octets = octets;
                octets > 0
            }
            Err(error) => {
                tracing::debug!(%error, "no reserve");
                let _ = fs::remove_file(&self.path);
                false
            }
        }
    }

    /// Releases the octets. False if there were none.
    pub(crate) fn give_up(&mut self) -> bool {
        self.had = self.had.max(std::mem::take(&mut self.octets));
        fs::remove_file(&self.path).is_ok()
    }

    /// Free octets of the disk; `None` if unknown.
    pub(crate) fn free_octets(&self) -> Option<u64> {
        self.free().ok()
    }

    fn free(&self) -> io::Result<u64> {
        let disk = statvfs(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn allocate(&self) -> io::Result<u64> {
        let free = self.free()?;
        let octets = if self.had == 0 { self.wanted.min(free / 2) } else { self.had };
        if octets < LEAST || free < octets + octets / 2 {
            return Ok(0);
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, octets) {
            Ok(()) => {}
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => fill(&file, octets)?,
            Err(error) => return Err(error.into()),
        }
        file.sync_all()?;
        Ok(octets)
    }
}

fn fill(mut file: &File, octets: u64) -> io::Result<()> {
    let chunk = vec![0xa5; CHUNK];
    let mut left = octets;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        file.write_all(&chunk[..length])?;
        left -= u64::try_from(length).unwrap_or(left);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_takes_room_that_it_gives_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::new(directory.path(), 3 << 20);
        assert!(!reserve.is_held());
        assert!(reserve.take());
        let file = fs::metadata(directory.path().join(RESERVE_FILE)).unwrap();
        assert_eq!((file.len(), reserve.octets()), (3 << 20, 3 << 20));
        assert!(std::os::unix::fs::MetadataExt::blocks(&file) * 512 >= 3 << 20, "it is really there");
        assert!(reserve.give_up());
        assert!(!reserve.give_up(), "there is only one");
        assert!(!directory.path().join(RESERVE_FILE).exists());
    }

    #[test]
    fn where_it_cannot_be_allocated_it_is_written() {
        let file = tempfile::tempfile().unwrap();
        fill(&file, (2 << 20) + 5).unwrap();
        assert_eq!(file.metadata().unwrap().len(), (2 << 20) + 5);
    }
}
