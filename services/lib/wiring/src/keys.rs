use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use pushgrid_crypto::{EndpointKeys, InvalidEndpointKeys};
use pushgrid_runtime::config::Secret;
use pushgrid_types::Rng;

/// The file in the data directory that holds the keys made on first start.
const FILE: &str = "endpoint-keys";

/// Why there are no endpoint keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There are none.
    #[error("endpoint.keys is not set; make keys with `pushgrid keys endpoint`")]
    Missing,
    /// The configured keys are not keys.
    #[error("endpoint.keys cannot be used; make keys with `pushgrid keys endpoint`")]
    Configured(#[source] InvalidEndpointKeys),
    /// The keys in the data directory are not keys.
    #[error("{path} does not hold endpoint keys; restore it, for without it every endpoint is lost")]
    Kept {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidEndpointKeys,
    },
    /// The file of keys could not be read or written.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The configured keys, which a grid cannot do without.
pub(crate) fn needed(keys: Option<&Secret>) -> Result<EndpointKeys, KeysError> {
    configured(keys.ok_or(KeysError::Missing)?)
}

fn configured(keys: &Secret) -> Result<EndpointKeys, KeysError> {
    keys.expose().parse().map_err(KeysError::Configured)
}

/// The configured keys; else those in the data directory; else new ones, kept there for this user alone.
pub(crate) fn load_or_make(
    configured: Option<&Secret>,
    data_dir: &Path,
    rng: &dyn Rng,
) -> Result<EndpointKeys, KeysError> {
    if let Some(keys) = configured {
        return self::configured(keys);
    }
    let path = data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => text.parse().map_err(|source| KeysError::Kept { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let keys = EndpointKeys::generate(rng);
            write_whole(&path, &keys.to_text()).map_err(|source| KeysError::File { path, source })?;
            Ok(keys)
        }
        Err(source) => Err(KeysError::File { path, source }),
    }
}

/// Writes a secret so that a crash leaves all of it or nothing: endpoints that were handed out must stay readable.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
