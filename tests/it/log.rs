use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result};

/// Lines of a log shown at a fault: enough for its cause.
const SHOWN: usize = 150;

/// Output of a process, kept in a file. Shown on drop; the test runner hides the text unless the test fails.
#[derive(Debug)]
pub(crate) struct Log {
    of: String,
    path: PathBuf,
}

impl Log {
    pub(crate) fn new(of: impl Into<String>, path: PathBuf) -> Self {
        Self { of: of.into(), path }
    }

    /// Name of the process.
    pub(crate) fn of(&self) -> &str {
        &self.of
    }

    /// Handle for a process to append to.
    pub(crate) fn sink(&self) -> Result<Stdio> {
        let file = File::options().create(true).append(true).open(&self.path);
        Ok(file.with_context(|| format!("open the log {}", self.path.display()))?.into())
    }

    /// Whole text.
    pub(crate) fn whole(&self) -> Result<String> {
        let octets = std::fs::read(&self.path);
        let octets = octets.with_context(|| format!("read the log {}", self.path.display()))?;
        Ok(String::from_utf8_lossy(&octets).into_owned())
    }

    /// Last lines.
    pub(crate) fn tail(&self) -> String {
        let text = self.whole().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        eprintln!("--- what {} said last ---\n{}\n--- end ---", self.of, self.tail());
    }
}
