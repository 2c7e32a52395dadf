//! `pushgrid keys`: make and rotate the keys of endpoints, and make VAPID keys.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pushgrid_crypto::EndpointKeys;
use pushgrid_crypto::vapid::KeyPair;
use pushgrid_types::{Rng, SystemRng};

use crate::{say, secret_file};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(clap::Subcommand)]
enum Kind {
    /// Keys to seal endpoints and message addresses with: the same for every process of a service
    Endpoint(Endpoint),
    /// The key pair of an application server, to sign messages with
    Vapid(Vapid),
}

#[derive(clap::Args)]
struct Endpoint {
    /// Write the key to a new file (mode 0600) instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Put a new key in front of those in this file; the old keys still open the endpoints sealed under them
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    rotate: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Vapid {
    /// Write the private key to a new file (mode 0600) instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The private key as base64url of 32 octets, the form of npm web-push, instead of PEM
    #[arg(long)]
    text: bool,
}

/// Makes the keys. Secrets go to the file or to standard output, and nowhere else.
pub(crate) fn run(args: Args) -> Result<()> {
    match args.kind {
        Kind::Endpoint(Endpoint { rotate: Some(file), .. }) => rotate(&file, &SystemRng),
        Kind::Endpoint(Endpoint { out, rotate: None }) => endpoint(out.as_deref(), &SystemRng),
        Kind::Vapid(Vapid { out, text }) => vapid(out.as_deref(), text, &SystemRng),
    }
}

fn endpoint(out: Option<&Path>, rng: &dyn Rng) -> Result<()> {
    let text = EndpointKeys::generate(rng).to_text();
    match out {
        None => say::line(&text),
        Some(file) => {
            secret_file::create(file, &format!("{text}\n"))?;
            eprintln!("wrote one endpoint key to {0}: set PUSHGRID_ENDPOINT__KEYS_FILE={0}", file.display());
        }
    }
    Ok(())
}

fn rotate(file: &Path, rng: &dyn Rng) -> Result<()> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read {}: make it with keys endpoint --out", file.display()))?;
    let old: EndpointKeys = text.parse().with_context(|| format!("{} has no valid keys", file.display()))?;
    let new = old.with_new_first(rng);
    secret_file::replace(file, &format!("{}\n", new.to_text()))?;
    eprintln!(
        "{} now has {} endpoint keys: restart the service to seal with the new one",
        file.display(),
        new.count()
    );
    if new.count() == old.count() {
        eprintln!("the oldest key was left out: endpoints that were sealed under it have ended");
    }
    Ok(())
}

fn vapid(out: Option<&Path>, text: bool, rng: &dyn Rng) -> Result<()> {
    let pair = KeyPair::generate(rng);
    let private = if text { format!("{}\n", pair.to_text()) } else { pair.to_pem() };
    let public = pair.public().to_text();
    match out {
        // Standard output can be sent to a file: it holds the private key alone.
        None => {
            say::text(&private);
            eprintln!("public key (applicationServerKey): {public}");
        }
        Some(file) => {
            secret_file::create(file, &private)?;
            eprintln!(
                "wrote the private key to {}; the public key (applicationServerKey) is:",
                file.display()
            );
            say::line(&public);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_puts_a_new_key_in_front_and_keeps_the_old_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        endpoint(Some(&file), &SystemRng).unwrap();
        let before = fs::read_to_string(&file).unwrap();
        rotate(&file, &SystemRng).unwrap();
        let after = fs::read_to_string(&file).unwrap();
        assert!(after.ends_with(&before) && after.len() == 2 * before.len(), "new,old");
        assert_eq!(after.parse::<EndpointKeys>().unwrap().count(), 2);
    }

    #[test]
    fn a_file_without_keys_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        fs::write(&file, "not a key").unwrap();
        assert!(rotate(&file, &SystemRng).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "not a key");
    }

    #[test]
    fn a_written_vapid_key_signs_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vapid.pem");
        vapid(Some(&file), false, &SystemRng).unwrap();
        let pem = fs::read_to_string(&file).unwrap();
        assert!(pem.starts_with("-----BEGIN"));
        KeyPair::from_text(&pem).unwrap();
        assert!(vapid(Some(&file), false, &SystemRng).is_err(), "a key is never overwritten");
        let file = folder.path().join("vapid.txt");
        vapid(Some(&file), true, &SystemRng).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.trim_end().len(), 43, "32 octets as base64url");
        KeyPair::from_text(text.trim_end()).unwrap();
    }
}
