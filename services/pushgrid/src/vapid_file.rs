//! VAPID keys that a person gives: files of any tool, and public keys as text.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use pushgrid_crypto::vapid::{KeyPair, PublicKey};

/// Octets read of a file: far more than a key with any company has.
const MAX: u64 = 64 * 1024;

/// The private key in a file.
pub(crate) fn private_key(file: &Path) -> Result<KeyPair> {
    let content = read(file).with_context(|| {
        format!("cannot read {}: pushgrid keys vapid --out FILE makes one", file.display())
    })?;
    KeyPair::from_file(&content).with_context(|| format!("{} holds no VAPID key", file.display()))
}

/// A public key from its text, or from a file with the public key or the matching private key.
pub(crate) fn public_key(given: &str) -> Result<PublicKey> {
    let of_text = match PublicKey::from_file(given.as_bytes()) {
        Ok(key) => return Ok(key),
        Err(error) => error,
    };
    let file = Path::new(given);
    if !file.is_file() {
        // The text may be a private key, so it must not be repeated.
        return Err(of_text).context("--key is not a VAPID public key, nor a file with one");
    }
    let content = read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if let Ok(pair) = KeyPair::from_file(&content) {
        return Ok(pair.public());
    }
    PublicKey::from_file(&content).with_context(|| format!("{} holds no VAPID key", file.display()))
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(file)?.take(MAX).read_to_end(&mut content)?;
    Ok(content)
}
