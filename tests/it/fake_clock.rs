use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

/// Source of the library that a process preloads for a clock of its own.
const WALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fake_clock/wall.c");

/// Wall clock of one process, set by the test while the process runs. Monotonic clocks stay right, as when the clock of
/// a machine is set.
#[derive(Debug)]
pub struct FakeClock(TempDir);

impl FakeClock {
    /// Makes a clock `ahead` seconds before the real one.
    pub async fn new(ahead: i64) -> Result<Self> {
        let clock = Self(TempDir::with_prefix("pushgrid-it-clock-")?);
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(clock.library()).arg(WALL);
        let made = compiler.output().await.context("cc is missing: run `tests/run setup`")?;
        ensure!(made.status.success(), "{WALL}: {}", String::from_utf8_lossy(&made.stderr));
        clock.set(ahead)?;
        Ok(clock)
    }

    /// Sets the clock in one step: the process reads the file at each question.
    pub fn set(&self, ahead: i64) -> Result<()> {
        let new = self.0.path().join("new");
        std::fs::write(&new, ahead.to_string()).and_then(|()| std::fs::rename(&new, self.file()))?;
        Ok(())
    }

    fn library(&self) -> PathBuf {
        self.0.path().join("wall.so")
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("ahead")
    }

    /// Environment of a process that uses this clock.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", self.library()), ("FAKE_CLOCK_FILE", self.file())]
            .map(|(name, path)| (name, path.display().to_string()))
    }
}
