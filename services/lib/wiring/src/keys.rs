//! The endpoint keys: from the settings, or from the data directory of standalone.
//! Invariant: keys are written whole and synced before an endpoint is made with them, and never replace other
//! keys. Sealing with keys is `crypto`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use pushgrid_crypto::{EndpointKeys, InvalidEndpointKeys};
use pushgrid_runtime::config::Secret;
use pushgrid_runtime::metrics::{self, Meter};
use pushgrid_store_embedded::KeyOrigin;
use pushgrid_types::Rng;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// File in the data directory with the keys made on first start.
pub(crate) const FILE: &str = "endpoint-keys";

/// Name of that file until complete.
pub(crate) const UNFINISHED: &str = "endpoint-keys.new";

/// Failure to get endpoint keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// No keys are set.
    #[error("endpoint.keys is not set; make keys with `pushgrid keys endpoint`")]
    Missing,
    /// The configured keys cannot be parsed.
    #[error("endpoint.keys cannot be used; make keys with `pushgrid keys endpoint`")]
    Configured(#[source] InvalidEndpointKeys),
    /// The keys in the data directory cannot be parsed.
    #[error("{path} does not hold endpoint keys; restore it, for without it every endpoint is lost")]
    Kept {
        /// The file.
        path: PathBuf,
        /// The fault.
        source: InvalidEndpointKeys,
    },
    /// The file of keys could not be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Parses the configured keys. [`KeysError::Missing`] without any.
pub(crate) fn needed(keys: Option<&Secret>) -> Result<EndpointKeys, KeysError> {
    configured(keys.ok_or(KeysError::Missing)?)
}

fn configured(keys: &Secret) -> Result<EndpointKeys, KeysError> {
    keys.expose().parse().map_err(KeysError::Configured)
}

/// Loads the configured keys; else those in the data directory; else makes new ones, for [`keep`] to write.
pub(crate) fn load(
    configured: Option<&Secret>,
    data_dir: &Path,
    rng: &dyn Rng,
) -> Result<(EndpointKeys, KeyOrigin), KeysError> {
    if let Some(keys) = configured {
        return Ok((self::configured(keys)?, KeyOrigin::Configured));
    }
    match kept(data_dir)? {
        Some(keys) => Ok((keys, KeyOrigin::Kept)),
        None => Ok((EndpointKeys::generate(rng), KeyOrigin::Made)),
    }
}

/// Reads the keys in the data directory; `None` without the file.
pub(crate) fn kept(data_dir: &Path) -> Result<Option<EndpointKeys>, KeysError> {
    let path = data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.parse().map(Some).map_err(|source| KeysError::Kept { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeysError::File { path, source }),
    }
}

/// Writes new keys into the data directory, readable by this user alone. Fails when there are keys. A crash
/// leaves all of the keys or none: endpoints handed out must stay readable.
pub(crate) fn keep(keys: &EndpointKeys, data_dir: &Path) -> Result<(), KeysError> {
    let path = data_dir.join(FILE);
    write_whole(&path, &keys.to_text()).map_err(|source| KeysError::File { path, source })
}

/// Shows a checksum of the endpoint keys, so that a member of a grid with other keys stands out.
pub(crate) fn show(keys: &EndpointKeys, meter: &Meter) {
    // Names of keys are random, so a sum of their parts tells nothing of the keys.
    let parts = keys.ids().into_iter().map(|[a, b, c, d, ..]| u32::from_be_bytes([a, b, c, d]));
    let sum = parts.fold(0, u32::wrapping_add);
    meter.gauge(&metrics::ENDPOINT_KEYS, &[]).set(f64::from(sum));
}

fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_file_name(UNFINISHED);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    match renameat_with(CWD, &new, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP) => rename_after_a_look(&new, path)?,
        Err(error) => return Err(error.into()),
    }
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Checks, then renames: for file systems without an atomic rename that does not replace. No other process
/// writes here: a data directory is held by one process, and a backup has a temporary name.
fn rename_after_a_look(new: &Path, path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(new, path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use pushgrid_types::SystemRng;

    use super::*;

    #[test]
    fn keys_take_no_others_place() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (EndpointKeys::generate(&SystemRng), EndpointKeys::generate(&SystemRng));
        keep(&first, folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = keep(&second, folder.path()).unwrap_err();
        let KeysError::File { source, .. } = refused else { panic!("{refused}") };
        assert_eq!(source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), first.to_text());
    }

    #[test]
    fn where_a_rename_replaces_it_is_looked_first() {
        let folder = tempfile::tempdir().unwrap();
        let (new, path) = (folder.path().join("new"), folder.path().join(FILE));
        fs::write(&new, "first").unwrap();
        rename_after_a_look(&new, &path).unwrap();
        fs::write(&new, "second").unwrap();
        let refused = rename_after_a_look(&new, &path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    }
}
