//! Promises to operators: backups, refused starts with the ways out, and every command of README.

mod backup;
mod damage;
mod keys;
mod readme;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pushgrid_it::{Server, within};
use tempfile::TempDir;

/// Deadline of a command that ends by itself.
const COMMAND: Duration = Duration::from_mins(1);

/// Service with a data directory that the test can change.
struct House {
    folder: TempDir,
    server: Server,
}

impl House {
    async fn start() -> Result<Self> {
        let folder = TempDir::with_prefix("pushgrid-operator-")?;
        let data = folder.path().join("data").display().to_string();
        let server = Server::standalone_with(&[("PUSHGRID_STANDALONE__DATA_DIR", &data)]).await?;
        Ok(Self { folder, server })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the service, which must exit with `code`; returns its output.
    async fn refuses_to_start(&self, code: i32, settings: &[&str]) -> Result<String> {
        let data = format!("standalone.data_dir={}", self.data().display());
        let listen = ["ingress", "connection", "admin"].map(|part| format!("{part}.listen=127.0.0.1:0"));
        let mut words = vec!["standalone"];
        let all = listen.iter().map(String::as_str).chain([data.as_str()]).chain(settings.iter().copied());
        words.extend(all.flat_map(|setting| ["--set", setting]));
        let output = pushgrid(self.folder.path(), &words).await?;
        let text = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(code), "ended with {}: {text}", output.status);
        ensure!(output.stdout.is_empty(), "it said that it was ready");
        Ok(text)
    }
}

/// Runs the command to its end.
async fn pushgrid(folder: &Path, words: &[&str]) -> Result<Output> {
    let mut command = pushgrid_it::pushgrid()?;
    let output = command.args(words).current_dir(folder).output();
    Ok(within(COMMAND, &format!("pushgrid {}", words.join(" ")), output).await??)
}

/// Runs a command that must succeed; returns its output.
async fn succeeds(folder: &Path, words: &[&str]) -> Result<String> {
    let output = pushgrid(folder, words).await?;
    let fault = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pushgrid {}: {}: {fault}", words.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Loss named by a refused start.
fn loss(text: &str) -> Result<String> {
    let (_, rest) = text.split_once("standalone.accept_loss=").context("the way out is named")?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len());
    Ok(rest[..end].to_owned())
}
