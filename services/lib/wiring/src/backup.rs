//! Backups of standalone: one directory with a consistent copy of the database, and the endpoint keys.
//! Invariant: a backup without the keys of its endpoints is neither made nor restored, and an interrupted one
//! never has the name asked for.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use pushgrid_crypto::EndpointKeys;
use pushgrid_store_embedded::backup::{self, BackupError, Restore};
pub use pushgrid_store_embedded::backup::{Holdings, Progress};
use pushgrid_types::SystemRng;

use crate::keys::{self, KeysError};
use crate::settings::Settings;

/// File name of the database in a backup.
const DATABASE: &str = "pushgrid.sqlite";

/// Failure of a backup or a restore.
#[derive(Debug, thiserror::Error)]
pub enum BackupFailure {
    /// The database cannot be copied.
    #[error(transparent)]
    Store(#[from] BackupError),
    /// The endpoint keys cannot be read or written.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// There are no keys.
    #[error("there are no endpoint keys in {} and endpoint.keys is not set: without them a backup restores no endpoint", path.display())]
    NoKeys {
        /// Directory without the keys.
        path: PathBuf,
    },
    /// The keys open no endpoint of the database.
    #[error(
        "the endpoint keys are not those that the database was used with: without them a backup restores no endpoint"
    )]
    OtherKeys,
    /// An interrupted restore of another backup has left its keys.
    #[error("{} is not from this backup: restore the one that it is from, or move it away", path.display())]
    KeysInTheWay {
        /// File of those keys.
        path: PathBuf,
    },
    /// The target of the backup exists.
    #[error("{} is there already: name a directory that does not exist yet", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The folder of the backup cannot be written.
    #[error("cannot write {}", path.display())]
    File {
        /// The path that failed.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl BackupFailure {
    /// True when a setting has to change before a retry can succeed.
    pub fn is_bad_configuration(&self) -> bool {
        matches!(self, Self::Keys(KeysError::Configured(_)))
    }
}

/// Backs up the data of a standalone, running or stopped, into the new directory `to`. The directory gets its
/// name once complete, checked and synced.
pub fn back_up(
    settings: &Settings,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Holdings, BackupFailure> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupFailure::Exists { path: to.to_owned() });
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupFailure::File { path, source }
    };
    let to = std::path::absolute(to).map_err(failed(to))?;
    let folder = to.parent().unwrap_or(Path::new("/"));
    let unfinished = Unfinished::beside(&to).map_err(failed(folder))?;
    let holdings = backup::back_up(&settings.data_dir, &unfinished.0.join(DATABASE), progress)?;
    // After the database: keys are only ever added, and made before anything is sealed with them.
    let keys = match settings.endpoint_keys.as_ref() {
        Some(keys) => keys::needed(Some(keys))?,
        None => keys::kept(&settings.data_dir)?
            .ok_or_else(|| BackupFailure::NoKeys { path: settings.data_dir.clone() })?,
    };
    fit(&holdings, &keys)?;
    keys::keep(&keys, &unfinished.0)?;
    unfinished.finish(&to).map_err(failed(&to))?;
    Ok(holdings)
}

/// Restores the backup `from` into the data directory of the settings, which must be missing, empty, or left
/// by an interrupted restore.
pub fn restore(
    settings: &Settings,
    from: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Holdings, BackupFailure> {
    let database = from.join(DATABASE);
    // Checked before the keys: a data directory given by mistake may have none, and deserves the better message.
    backup::must_be_backup(&database)?;
    let keys = keys::kept(from)?.ok_or_else(|| BackupFailure::NoKeys { path: from.to_owned() })?;
    fit(&backup::inspect(&database)?, &keys)?;
    let restore = Restore::begin(&settings.data_dir, &[keys::FILE, keys::UNFINISHED])?;
    // An interrupted restore may have left keys.
    let there = keys::kept(&settings.data_dir)?;
    if there.as_ref().is_some_and(|there| there.ids() != keys.ids()) {
        return Err(BackupFailure::KeysInTheWay { path: settings.data_dir.join(keys::FILE) });
    }
    let holdings = restore.copy(&database, progress)?;
    // Keys first: a database that has its name must be found with its keys.
    if there.is_none() {
        keys::keep(&keys, &settings.data_dir)?;
    }
    restore.finish()?;
    Ok(holdings)
}

/// Checks that the keys open endpoints that the database holds.
fn fit(holdings: &Holdings, keys: &EndpointKeys) -> Result<(), BackupFailure> {
    let ids = keys.ids();
    let opens = holdings.sealed_with.is_empty() || holdings.sealed_with.iter().any(|id| ids.contains(id));
    if opens || holdings.subscriptions == 0 { Ok(()) } else { Err(BackupFailure::OtherKeys) }
}

/// Directory under a temporary name, removed on drop unless finished.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Unfinished {
    fn beside(to: &Path) -> io::Result<Self> {
        let mut random = [0; 8];
        pushgrid_types::Rng::fill(&SystemRng, &mut random);
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(format!(".unfinished-{:016x}", u64::from_ne_bytes(random)));
        let path = to.with_file_name(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn finish(self, to: &Path) -> io::Result<()> {
        File::open(&self.0)?.sync_all()?;
        // A rename replaces an empty directory at most.
        fs::rename(&self.0, to)?;
        File::open(to.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Missing once renamed.
        let _ = fs::remove_dir_all(&self.0);
    }
}
