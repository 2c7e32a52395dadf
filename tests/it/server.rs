//! The service as processes: all in one, or a grid.

mod books;
mod grid;
mod process;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use tempfile::TempDir;

use crate::metrics::{Accounts, Metrics};
use crate::programs::{self, Target};

pub use grid::{Backing, Grid, Shape};
pub use process::{Process, Role};

/// The service under test, as its clients see it: one edge for application servers, one for user agents. What is behind
/// them, the switch of the test run says.
#[derive(Debug)]
pub struct Server(Kind);

#[derive(Debug)]
enum Kind {
    Standalone(Box<Standalone>),
    /// One process of each role.
    Grid(Box<Grid>),
}

/// One process, and the folder of its data. In this order: the log is in the folder.
#[derive(Debug)]
struct Standalone {
    process: Process,
    _folder: TempDir,
}

impl Server {
    /// Starts it with the default settings, and waits until it is ready.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts it with `settings` (variables of the environment), and waits until it is ready.
    pub async fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        match programs::target()? {
            Target::Standalone => Self::standalone_with(settings).await,
            Target::Grid => {
                let grid = Grid::start(Shape::SMALLEST, &Backing::shared()?, settings).await?;
                Ok(Self(Kind::Grid(Box::new(grid))))
            }
        }
    }

    /// Starts it as one process, for a test of what only that has.
    pub async fn standalone_with(settings: &[(&str, &str)]) -> Result<Self> {
        let folder = TempDir::with_prefix("pushgrid-it-")?;
        let data = folder.path().join("data").display().to_string();
        let mut all = vec![("PUSHGRID_STANDALONE__DATA_DIR".to_owned(), data)];
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut process = Process::new(Role::Standalone, "standalone", folder.path(), &all)?;
        process.start().await?;
        Ok(Self(Kind::Standalone(Box::new(Standalone { process, _folder: folder }))))
    }

    /// Starts it again, after [`Self::stop`] or [`Self::kill`], on the same data and the same ports.
    pub async fn start_again(&mut self) -> Result<()> {
        match &mut self.0 {
            Kind::Standalone(one) => one.process.start().await,
            Kind::Grid(grid) => grid.start_again().await,
        }
    }

    /// Asks it to end (SIGTERM) and waits for it. A fault when it does not end well, or had more to say on standard
    /// output than the one line.
    pub async fn stop(&mut self) -> Result<()> {
        match &mut self.0 {
            Kind::Standalone(one) => one.process.stop().await,
            Kind::Grid(grid) => grid.stop().await,
        }
    }

    /// Ends it without asking (SIGKILL), and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        match &mut self.0 {
            Kind::Standalone(one) => one.process.kill().await,
            Kind::Grid(grid) => grid.kill().await,
        }
    }

    /// [`Self::stop`], then [`Self::start_again`].
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    /// Where application servers post: `http://127.0.0.1:…`.
    pub fn ingress(&self) -> &str {
        match &self.0 {
            Kind::Standalone(one) => one.process.url("ingress"),
            Kind::Grid(grid) => grid.ingress[0].url("ingress"),
        }
    }

    /// Where user agents connect: `ws://127.0.0.1:…`.
    pub fn connection(&self) -> &str {
        match &self.0 {
            Kind::Standalone(one) => one.process.url("connection"),
            Kind::Grid(grid) => grid.connection[0].url("connection"),
        }
    }

    fn processes(&self) -> Vec<&Process> {
        match &self.0 {
            Kind::Standalone(one) => vec![&one.process],
            Kind::Grid(grid) => grid.processes().collect(),
        }
    }

    /// All that its processes have said on standard error, in all their lives.
    pub fn log(&self) -> Result<String> {
        let logs = self.processes().into_iter().map(Process::log).collect::<Result<Vec<_>>>()?;
        Ok(logs.concat())
    }

    /// Reads `path` of the admin listener of each process: the highest status, and the bodies one after the other.
    pub async fn admin_get(&self, path: &str) -> Result<(u16, String)> {
        let answers = try_join_all(self.processes().into_iter().map(|process| process.get(path))).await?;
        let status = answers.iter().map(|(status, _)| *status).max().context("it has a process")?;
        Ok((status, answers.into_iter().map(|(_, body)| body).collect()))
    }

    /// Reads the metrics of all its processes once.
    pub async fn metrics(&self) -> Result<Metrics> {
        match &self.0 {
            Kind::Standalone(one) => one.process.metrics().await,
            Kind::Grid(grid) => grid.metrics().await,
        }
    }

    /// Waits until the accounts add up and are `as_hoped`. The fault shows how they stand.
    pub async fn accounts(&self, what: &str, as_hoped: impl Fn(&Accounts) -> bool) -> Result<Accounts> {
        match &self.0 {
            Kind::Standalone(one) => {
                books::wait(books::QUIET, what, as_hoped, async || one.process.metrics().await).await
            }
            Kind::Grid(grid) => grid.accounts(what, as_hoped).await,
        }
    }

    /// Waits until no message is pending any more, and the accounts add up.
    pub async fn settled(&self) -> Result<Accounts> {
        self.accounts("every message ended", |accounts| accounts.pending == 0).await
    }
}
