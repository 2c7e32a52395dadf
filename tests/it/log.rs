use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result};

/// How much of a log is shown, in lines: enough for what led to a fault.
const SHOWN: usize = 150;

/// What a process says, kept in a file. Shown when it is dropped: the test runner keeps that back unless the test
/// fails.
#[derive(Debug)]
pub(crate) struct Log {
    of: &'static str,
    path: PathBuf,
}

impl Log {
    pub(crate) fn new(of: &'static str, path: PathBuf) -> Self {
        Self { of, path }
    }

    /// Where a process may write; what earlier ones wrote stays.
    pub(crate) fn sink(&self) -> Result<Stdio> {
        let file = File::options().create(true).append(true).open(&self.path);
        Ok(file.with_context(|| format!("open the log {}", self.path.display()))?.into())
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> String {
        let octets = std::fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&octets);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        eprintln!("--- what {} said last ---\n{}\n--- end ---", self.of, self.tail());
    }
}
