//! The service as processes: all in one, or a grid.

mod books;
mod grid;
mod process;
mod recorded;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use tempfile::TempDir;

use crate::metrics::{Accounts, Metrics};
use crate::programs::{self, Target};

pub use grid::{Backing, Grid, Shape};
pub use process::{Process, Role};

/// Service under test, as seen by its clients: one edge for application servers, one for user agents. The form behind
/// them is chosen by the test run.
#[derive(Debug)]
pub struct Server(Kind);

#[derive(Debug)]
enum Kind {
    Standalone(Box<Standalone>),
    /// One process of each role.
    Grid(Box<Grid>),
}

/// Process and data directory. Fields in this order: the log is in the folder.
#[derive(Debug)]
struct Standalone {
    process: Process,
    folder: TempDir,
}

impl Server {
    /// Starts the service with default settings, and waits for readiness.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts the service with `settings` (environment variables), and waits for readiness.
    pub async fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        match programs::target()? {
            Target::Standalone => Self::standalone_with(settings).await,
            Target::Grid => {
                let grid = Grid::start(Shape::SMALLEST, &Backing::shared()?, settings).await?;
                Ok(Self(Kind::Grid(Box::new(grid))))
            }
        }
    }

    /// Starts the service as one process, for tests of standalone alone.
    pub async fn standalone_with(settings: &[(&str, &str)]) -> Result<Self> {
        let folder = TempDir::with_prefix("pushgrid-it-")?;
        let data = folder.path().join("data").display().to_string();
        let mut all = vec![("PUSHGRID_STANDALONE__DATA_DIR".to_owned(), data)];
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut process = Process::new(Role::Standalone, "standalone", folder.path(), &all)?;
        process.start().await?;
        Ok(Self(Kind::Standalone(Box::new(Standalone { process, folder }))))
    }

    /// Starts the service as one process, with its data on a disk of `size`, as `mount` takes it. Each life has a new
    /// disk.
    pub async fn standalone_on_a_disk(size: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let folder = TempDir::with_prefix("pushgrid-it-")?;
        let disk = folder.path().join("disk");
        std::fs::create_dir(&disk)?;
        let data = disk.join("data").display().to_string();
        let mut all = vec![("PUSHGRID_STANDALONE__DATA_DIR".to_owned(), data)];
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut process = Process::new(Role::Standalone, "standalone", folder.path(), &all)?;
        process.give_disk(&disk, size);
        process.start().await?;
        Ok(Self(Kind::Standalone(Box::new(Standalone { process, folder }))))
    }

    /// Starts the service again after [`Self::stop`] or [`Self::kill`], on the same data and ports.
    pub async fn start_again(&mut self) -> Result<()> {
        match &mut self.0 {
            Kind::Standalone(one) => one.process.start().await,
            Kind::Grid(grid) => grid.start_again().await,
        }
    }

    /// Adds a setting (an environment variable) of one process, from its next start on.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match &mut self.0 {
            Kind::Standalone(one) => one.process.set(name, value),
            Kind::Grid(_) => bail!("this is for a service of one process"),
        }
        Ok(())
    }

    /// Stops the service (SIGTERM), and waits for the end. A fault unless it ends cleanly, with one line on standard
    /// output.
    pub async fn stop(&mut self) -> Result<()> {
        match &mut self.0 {
            Kind::Standalone(one) => one.process.stop().await,
            Kind::Grid(grid) => grid.stop().await,
        }
    }

    /// Stops the service as [`Self::stop`], with a deadline of `limit` for each process.
    pub async fn stop_within(&mut self, limit: Duration) -> Result<()> {
        match &mut self.0 {
            Kind::Standalone(one) => one.process.stop_within(limit).await,
            Kind::Grid(grid) => {
                for role in [&mut grid.ingress, &mut grid.connection, &mut grid.router] {
                    try_join_all(role.iter_mut().map(|process| process.stop_within(limit))).await?;
                }
                Ok(())
            }
        }
    }

    /// Kills the service (SIGKILL), and waits for the end.
    pub async fn kill(&mut self) -> Result<()> {
        match &mut self.0 {
            Kind::Standalone(one) => one.process.kill().await,
            Kind::Grid(grid) => grid.kill().await,
        }
    }

    /// Stops the service, then starts it again.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    /// URL for application servers: `http://127.0.0.1:…`.
    pub fn ingress(&self) -> &str {
        match &self.0 {
            Kind::Standalone(one) => one.process.url("ingress"),
            Kind::Grid(grid) => grid.ingress[0].url("ingress"),
        }
    }

    /// URL for user agents: `ws://127.0.0.1:…`.
    pub fn connection(&self) -> &str {
        match &self.0 {
            Kind::Standalone(one) => one.process.url("connection"),
            Kind::Grid(grid) => grid.connection[0].url("connection"),
        }
    }

    /// URL of the admin listener of the process that serves user agents.
    pub fn operator(&self) -> &str {
        match &self.0 {
            Kind::Standalone(one) => one.process.url("admin"),
            Kind::Grid(grid) => grid.connection[0].url("admin"),
        }
    }

    /// All listeners: name in the ready line, and URL.
    pub fn listeners(&self) -> Vec<(&'static str, String)> {
        let all = self.processes().into_iter().flat_map(Process::urls);
        all.map(|(name, url)| (name, url.to_owned())).collect()
    }

    fn processes(&self) -> Vec<&Process> {
        match &self.0 {
            Kind::Standalone(one) => vec![&one.process],
            Kind::Grid(grid) => grid.processes().collect(),
        }
    }

    /// Standard error of all processes, over all lives.
    pub fn log(&self) -> Result<String> {
        let logs = self.processes().into_iter().map(Process::log).collect::<Result<Vec<_>>>()?;
        Ok(logs.concat())
    }

    /// Reads `path` of each process's admin listener: the highest status, and the bodies joined.
    pub async fn admin_get(&self, path: &str) -> Result<(u16, String)> {
        let answers = try_join_all(self.processes().into_iter().map(|process| process.get(path))).await?;
        let status = answers.iter().map(|(status, _)| *status).max().context("it has a process")?;
        Ok((status, answers.into_iter().map(|(_, body)| body).collect()))
    }

    /// Reads the metrics of all processes once.
    pub async fn metrics(&self) -> Result<Metrics> {
        match &self.0 {
            Kind::Standalone(one) => one.process.metrics().await,
            Kind::Grid(grid) => grid.metrics().await,
        }
    }

    /// Waits until the account adds up and is `as_hoped`. The error shows the account.
    pub async fn accounts(&self, what: &str, as_hoped: impl Fn(&Accounts) -> bool) -> Result<Accounts> {
        match &self.0 {
            Kind::Standalone(one) => {
                books::wait(books::QUIET, what, as_hoped, async || one.process.metrics().await).await
            }
            Kind::Grid(grid) => grid.accounts(what, as_hoped).await,
        }
    }

    /// Waits until no message is pending, and the account adds up.
    pub async fn settled(&self) -> Result<Accounts> {
        self.accounts("every message ended", |accounts| accounts.pending == 0).await
    }
}
