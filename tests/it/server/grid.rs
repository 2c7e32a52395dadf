//! A grid as processes over a shared or private Kafka and Redis.
//! Invariant: topics, keys and ports are of this grid alone, and stay the same over all starts.

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
use crate::{eventually, programs, within};

/// Deadline for every partition to have an owner: the lease of a killed one must end first.
const OWNED: Duration = Duration::from_mins(1);

/// Deadline of a tool that writes some records.
const TAMPERED: Duration = Duration::from_mins(1);

/// Few partitions for a quick start, but more than routers.
const PARTITIONS: u16 = 3;

/// Setting of the prefix of endpoints.
const RECEIPTS_URL: &str = "PUSHGRID_INGRESS__RECEIPTS_URL";
const PUBLIC_URL: &str = "PUSHGRID_INGRESS__PUBLIC_URL";

/// Number of processes of each role.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Ingresses.
    pub ingress: usize,
    /// Routers.
    pub router: usize,
    /// Connection nodes.
    pub connection: usize,
}

impl Shape {
    /// One process of each role.
    pub const SMALLEST: Self = Self { ingress: 1, router: 1, connection: 1 };
}

/// Servers of a grid.
#[derive(Debug, Clone)]
pub struct Backing {
    /// Kafka: `host:port`, with commas between several.
    pub brokers: String,
    /// Redis: a URL.
    pub redis: String,
}

impl Backing {
    /// Shared servers, named by the environment.
    pub fn shared() -> Result<Self> {
        let named = |name| {
            std::env::var(name).with_context(|| {
                format!("{name} is not set: `deploy/local/servers up`, then `eval \"$(deploy/local/servers env)\"`")
            })
        };
        Ok(Self { brokers: named("PUSHGRID_KAFKA__BROKERS")?, redis: named("PUSHGRID_REDIS__URL")? })
    }
}

/// Processes of `pushgrid ingress`, `router` and `connection`, with topics, keys and ports of their own, the same over
/// all starts.
#[derive(Debug)]
pub struct Grid {
    /// Ingresses. Endpoints name the first.
    pub ingress: Vec<Process>,
    /// Routers.
    pub router: Vec<Process>,
    /// Connection nodes.
    pub connection: Vec<Process>,
    partitions: u16,
    settings: Vec<(String, String)>,
    // Last: the logs of the processes are in it.
    folder: TempDir,
}

impl Grid {
    /// Starts a grid over `backing`, with `settings` (environment variables) for every process, and waits until every
    /// partition is served.
    pub async fn start(shape: Shape, backing: &Backing, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_of(None, shape, backing, settings).await
    }

    /// Starts a grid of another build of the command: see [`Process::update`].
    pub async fn start_of(
        build: Option<&Path>,
        shape: Shape,
        backing: &Backing,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
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
                // Its port is reserved before any other process learns of it.
                let address = ingress.listens("ingress")?;
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
        if build.is_none() {
            // Earlier releases have no receipts.
            let address = grid.connection[0].listens("connection")?;
            let url = format!("http://{}", address.replace("127.0.0.1", "localhost"));
            grid.ingress.iter_mut().for_each(|ingress| ingress.set(RECEIPTS_URL, &url));
        }
        grid.processes_mut().for_each(|process| process.update(build));
        grid.start_again().await?;
        Ok(grid)
    }

    /// Makes one more process for this grid, not started, for the caller to own.
    pub fn another(&self, role: Role, number: usize) -> Result<Process> {
        let name = format!("{role:?}-{number}").to_lowercase();
        Process::new(role, &name, self.folder.path(), &self.settings)
    }

    /// Starts all processes that are not running, at once, and waits until every partition is served.
    pub async fn start_again(&mut self) -> Result<()> {
        let idle = self.processes_mut().filter(|process| !process.is_started());
        try_join_all(idle.map(Process::start)).await?;
        self.is_whole().await
    }

    /// Stops all processes: the edges first, the routers last.
    pub async fn stop(&mut self) -> Result<()> {
        for role in [&mut self.ingress, &mut self.connection, &mut self.router] {
            try_join_all(role.iter_mut().map(Process::stop)).await?;
        }
        Ok(())
    }

    /// Kills all processes at once.
    pub async fn kill(&mut self) -> Result<()> {
        let running = self.processes_mut().filter(|process| process.is_started());
        try_join_all(running.map(Process::kill)).await?;
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

    /// Damages the topics, and returns the output of the tool: see the example `tamper` of `log-kafka`.
    pub async fn tamper(&self, what: &str) -> Result<String> {
        let mut command = tokio::process::Command::new(programs::tamper()?);
        command.arg(self.setting("PUSHGRID_KAFKA__TOPIC_PREFIX")?).arg(what);
        command.env("PUSHGRID_KAFKA__BROKERS", self.setting("PUSHGRID_KAFKA__BROKERS")?);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = within(TAMPERED, what, command.output()).await??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{what} has failed: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Value of a setting common to all processes.
    pub(super) fn setting(&self, name: &str) -> Result<&str> {
        let found = self.settings.iter().rev().find(|(setting, _)| setting == name);
        found.map(|(_, value)| value.as_str()).with_context(|| format!("{name} is not set"))
    }

    /// Number of partitions.
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// All processes: ingresses, routers, connection nodes.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.ingress.iter().chain(&self.router).chain(&self.connection)
    }

    fn processes_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.ingress.iter_mut().chain(&mut self.router).chain(&mut self.connection)
    }

    /// Metrics of all running processes, joined: a sum is one over the grid.
    pub async fn metrics(&self) -> Result<Metrics> {
        let running = self.processes().filter(|process| process.is_started());
        Ok(Metrics::together(try_join_all(running.map(Process::metrics)).await?))
    }

    /// Waits until the account over all partitions adds up and is `as_hoped`. The error shows the account.
    pub async fn accounts(&self, what: &str, as_hoped: impl Fn(&Accounts) -> bool) -> Result<Accounts> {
        books::wait(QUIET, what, as_hoped, async || {
            let metrics = self.metrics().await?;
            let owned = partitions(&metrics)?;
            ensure!(owned == self.partitions, "{owned} of {} partitions are served", self.partitions);
            Ok(metrics)
        })
        .await
    }

    /// Waits until no message is pending, and the account adds up.
    pub async fn settled(&self) -> Result<Accounts> {
        self.accounts("every message ended", |accounts| accounts.pending == 0).await
    }
}

/// Number of partitions being served.
pub(super) fn partitions(metrics: &Metrics) -> Result<u16> {
    let owned = metrics.sum("pushgrid_router_partitions", &[]);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    Ok(owned.context("no router says how many partitions it serves")? as u16)
}

/// Prefix of topics and keys, used by no other grid.
pub(super) fn prefix() -> String {
    let mut octets = [0; 8];
    SystemRng.fill(&mut octets);
    format!("it-{:016x}", u64::from_le_bytes(octets))
}

/// Settings common to the processes of one grid, and to no other grid.
async fn common(backing: &Backing, folder: &Path) -> Result<Vec<(String, String)>> {
    let prefix = prefix();
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
        // As in standalone; a test of the drain sets its own.
        ("PUSHGRID_CONNECTION__DRAIN", "0s".to_owned()),
        ("PUSHGRID_ENDPOINT__KEYS_FILE", keys.display().to_string()),
    ];
    Ok(settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
