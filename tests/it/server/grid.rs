use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use pushgrid_types::{Rng as _, SystemRng};
use tempfile::TempDir;

use super::Accounts;
use super::books::{self, QUIET};
use super::process::{Process, Role};
use crate::metrics::Metrics;
use crate::{eventually, programs};

/// How long it may take until every partition has an owner that serves it: the lease of one that was killed has to run
/// out first.
const OWNED: Duration = Duration::from_mins(1);

/// Few, so that a grid starts quickly, and more than there are routers.
const PARTITIONS: u16 = 3;

/// What endpoints begin with.
const PUBLIC_URL: &str = "PUSHGRID_INGRESS__PUBLIC_URL";

/// How many processes of each role.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Edges for application servers.
    pub ingress: usize,
    /// Owners of partitions.
    pub router: usize,
    /// Edges for user agents.
    pub connection: usize,
}

impl Shape {
    /// One of each.
    pub const SMALLEST: Self = Self { ingress: 1, router: 1, connection: 1 };
}

/// The servers below a grid.
#[derive(Debug, Clone)]
pub struct Backing {
    /// Kafka: `host:port`, with commas between several.
    pub brokers: String,
    /// Redis: a URL.
    pub redis: String,
}

impl Backing {
    /// Those that the environment names, which many grids share.
    pub fn shared() -> Result<Self> {
        let named = |name| {
            std::env::var(name).with_context(|| {
                format!("{name} is not set: `deploy/local/servers up`, then `eval \"$(deploy/local/servers env)\"`")
            })
        };
        Ok(Self { brokers: named("PUSHGRID_KAFKA__BROKERS")?, redis: named("PUSHGRID_REDIS__URL")? })
    }
}

/// `pushgrid ingress`, `router` and `connection` as processes, with topics, keys and ports of their own that stay the
/// same over all their starts.
#[derive(Debug)]
pub struct Grid {
    /// Edges for application servers. The first is the one that endpoints name.
    pub ingress: Vec<Process>,
    /// Owners of partitions.
    pub router: Vec<Process>,
    /// Edges for user agents.
    pub connection: Vec<Process>,
    partitions: u16,
    settings: Vec<(String, String)>,
    // Last, for the logs of the processes are in it.
    folder: TempDir,
}

impl Grid {
    /// Starts one over `backing`, with `settings` (variables of the environment) for every process, and waits until
    /// every partition is served.
    pub async fn start(shape: Shape, backing: &Backing, settings: &[(&str, &str)]) -> Result<Self> {
        let folder = TempDir::with_prefix("pushgrid-it-")?;
        let mut grid = Self {
            ingress: Vec::new(),
            router: Vec::new(),
            connection: Vec::new(),
            partitions: PARTITIONS,
            settings: common(backing, folder.path()).await?,
            folder,
        };
        let given = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        grid.settings.extend(given);
        if let Some((_, count)) = settings.iter().find(|(name, _)| *name == "PUSHGRID_KAFKA__PARTITIONS") {
            grid.partitions = count.parse()?;
        }
        for number in 0..shape.ingress {
            let mut ingress = grid.another(Role::Ingress, number)?;
            if number == 0 {
                // It has its port before anyone is told of it.
                let address = ingress.listens("ingress").context("an ingress listens")?;
                let url = format!("http://{}", address.replace("127.0.0.1", "localhost"));
                ingress.set(PUBLIC_URL, &url);
                grid.settings.insert(0, (PUBLIC_URL.to_owned(), url));
            }
            grid.ingress.push(ingress);
        }
        for number in 0..shape.router {
            grid.router.push(grid.another(Role::Router, number)?);
        }
        for number in 0..shape.connection {
            grid.connection.push(grid.another(Role::Connection, number)?);
        }
        grid.start_again().await?;
        Ok(grid)
    }

    /// One more process for this grid, not started. It belongs to the caller.
    pub fn another(&self, role: Role, number: usize) -> Result<Process> {
        let name = format!("{role:?}-{number}").to_lowercase();
        Process::new(role, &name, self.folder.path(), &self.settings)
    }

    /// Starts all processes that do not run, at once, and waits until every partition is served.
    pub async fn start_again(&mut self) -> Result<()> {
        let idle = self.processes_mut().filter(|process| !process.is_started());
        try_join_all(idle.map(Process::start)).await?;
        self.is_whole().await
    }

    /// Asks all to end: first those who take in, last those who keep.
    pub async fn stop(&mut self) -> Result<()> {
        for role in [&mut self.ingress, &mut self.connection, &mut self.router] {
            try_join_all(role.iter_mut().map(Process::stop)).await?;
        }
        Ok(())
    }

    /// Ends all at once without asking.
    pub async fn kill(&mut self) -> Result<()> {
        try_join_all(self.processes_mut().map(Process::kill)).await?;
        Ok(())
    }

    /// Waits until each partition is served by one router.
    pub async fn is_whole(&self) -> Result<()> {
        eventually(OWNED, "every partition has an owner", async || {
            let owned = partitions(&self.metrics().await?)?;
            ensure!(owned == self.partitions, "{owned} of {} partitions are served", self.partitions);
            Ok(Some(()))
        })
        .await
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// All of them: ingresses, routers, connection nodes.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.ingress.iter().chain(&self.router).chain(&self.connection)
    }

    fn processes_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.ingress.iter_mut().chain(&mut self.router).chain(&mut self.connection)
    }

    /// The metrics of all that run, together: a sum is one over the grid.
    pub async fn metrics(&self) -> Result<Metrics> {
        let running = self.processes().filter(|process| process.is_started());
        Ok(Metrics::together(try_join_all(running.map(Process::metrics)).await?))
    }

    /// Waits until the accounts of all partitions add up and are `as_hoped`. The fault shows how they stand.
    pub async fn accounts(&self, what: &str, as_hoped: impl Fn(&Accounts) -> bool) -> Result<Accounts> {
        books::wait(QUIET, what, as_hoped, async || {
            let metrics = self.metrics().await?;
            let owned = partitions(&metrics)?;
            ensure!(owned == self.partitions, "{owned} of {} partitions are served", self.partitions);
            Ok(metrics)
        })
        .await
    }

    /// Waits until no message is pending any more, and the accounts add up.
    pub async fn settled(&self) -> Result<Accounts> {
        self.accounts("every message ended", |accounts| accounts.pending == 0).await
    }
}

/// How many partitions are served.
pub(super) fn partitions(metrics: &Metrics) -> Result<u16> {
    let owned = metrics.sum("pushgrid_router_partitions", &[]);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    Ok(owned.context("no router says how many partitions it serves")? as u16)
}

/// What all processes of one grid have in common, and no other grid has.
async fn common(backing: &Backing, folder: &Path) -> Result<Vec<(String, String)>> {
    let mut octets = [0; 8];
    SystemRng.fill(&mut octets);
    let prefix = format!("it-{:016x}", u64::from_le_bytes(octets));
    let keys = folder.join("endpoint-keys");
    let mut command = programs::pushgrid()?;
    command.args(["keys", "endpoint", "--out"]).arg(&keys).stdin(Stdio::null());
    let made = command.output().await?;
    ensure!(made.status.success(), "no endpoint keys: {}", String::from_utf8_lossy(&made.stderr));
    let settings = [
        ("PUSHGRID_KAFKA__BROKERS", backing.brokers.clone()),
        ("PUSHGRID_KAFKA__TOPIC_PREFIX", prefix.clone()),
        ("PUSHGRID_KAFKA__PARTITIONS", PARTITIONS.to_string()),
        ("PUSHGRID_REDIS__URL", backing.redis.clone()),
        ("PUSHGRID_REDIS__PREFIX", prefix),
        // As one process has it; a test of the drain sets its own.
        ("PUSHGRID_CONNECTION__DRAIN", "0s".to_owned()),
        ("PUSHGRID_ENDPOINT__KEYS_FILE", keys.display().to_string()),
    ];
    Ok(settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
