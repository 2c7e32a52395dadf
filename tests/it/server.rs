use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout};

use crate::log::Log;
use crate::metrics::{Accounts, Metrics};
use crate::ports::Port;
use crate::{eventually, programs, within};

/// A start on a busy machine, in which the embedded store is made.
const START: Duration = Duration::from_mins(1);

/// Longer than any drain that a test sets.
const STOP: Duration = Duration::from_secs(30);

/// How long the service may take to come to rest once nothing is sent any more.
const QUIET: Duration = Duration::from_secs(30);

/// `pushgrid standalone` as a process, with a data directory and ports that stay the same over all its starts.
#[derive(Debug)]
pub struct Server {
    running: Option<Running>,
    settings: Vec<(String, String)>,
    // Before the folder that holds its file: fields are dropped in this order.
    log: Log,
    folder: TempDir,
    _ports: [Port; 3],
}

/// One life of the process, and what its ready line said.
#[derive(Debug)]
struct Running {
    process: Child,
    stdout: BufReader<ChildStdout>,
    ingress: String,
    connection: String,
    admin: String,
}

impl Server {
    /// Starts it with the default settings, and waits until it is ready.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts it with `settings` (variables of the environment), and waits until it is ready.
    pub async fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let folder = TempDir::with_prefix("pushgrid-it-")?;
        let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
        let mut all = vec![
            ("PUSHGRID_INGRESS__LISTEN".to_owned(), ports[0].address()),
            ("PUSHGRID_CONNECTION__LISTEN".to_owned(), ports[1].address()),
            ("PUSHGRID_ADMIN__LISTEN".to_owned(), ports[2].address()),
            ("PUSHGRID_STANDALONE__DATA_DIR".to_owned(), folder.path().join("data").display().to_string()),
        ];
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let log = Log::new("the service", folder.path().join("log"));
        let mut server = Self { running: None, settings: all, folder, log, _ports: ports };
        server.start_again().await?;
        Ok(server)
    }

    /// Starts it again, after [`Self::stop`] or [`Self::kill`], on the same data and the same ports.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "the service is still running");
        let mut command = programs::pushgrid()?;
        command.arg(programs::target()?).envs(self.settings.iter().cloned()).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(self.log.sink()?);
        let mut process = command.spawn().context("start the service")?;
        let mut stdout = BufReader::new(process.stdout.take().expect("it is a pipe, as set above"));
        let mut line = String::new();
        within(START, "the ready line of the service", stdout.read_line(&mut line)).await??;
        if line.is_empty() {
            let status = within(STOP, "the end of the service", process.wait()).await??;
            bail!("the service did not start: {status}\n{}", self.log.tail());
        }
        self.running = Some(Running::new(process, stdout, &line)?);
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits for it. A fault when it does not end well, or had more to say on standard
    /// output than the one line.
    pub async fn stop(&mut self) -> Result<()> {
        let status = self.end(Signal::TERM).await?;
        ensure!(status.success(), "the service did not stop cleanly: {status}");
        Ok(())
    }

    /// Ends it without asking (SIGKILL), and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.end(Signal::KILL).await.map(drop)
    }

    /// [`Self::stop`], then [`Self::start_again`].
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    async fn end(&mut self, signal: Signal) -> Result<ExitStatus> {
        let mut running = self.running.take().context("the service is not running")?;
        kill_process(pid(&running.process)?, signal)?;
        let status = within(STOP, "the end of the service", running.process.wait()).await??;
        let mut more = String::new();
        running.stdout.read_to_string(&mut more).await?;
        ensure!(more.is_empty(), "more than the ready line on standard output: {more:?}");
        Ok(status)
    }

    /// Where application servers post: `http://127.0.0.1:…`.
    pub fn ingress(&self) -> &str {
        &self.running().ingress
    }

    /// Where user agents connect: `ws://127.0.0.1:…`.
    pub fn connection(&self) -> &str {
        &self.running().connection
    }

    /// Health and metrics: `http://127.0.0.1:…`.
    pub fn admin(&self) -> &str {
        &self.running().admin
    }

    /// The folder of what it keeps.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it said last on standard error.
    pub fn said(&self) -> String {
        self.log.tail()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the test has started the service")
    }

    /// The process, for tests that look at it from outside.
    pub fn process_id(&self) -> Result<u32> {
        self.running().process.id().context("the service has ended")
    }

    /// Reads `path` of the admin listener: the status and the body.
    pub async fn admin_get(&self, path: &str) -> Result<(u16, String)> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let response = client.get(format!("{}{path}", self.admin()).parse()?).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Reads the metrics once.
    pub async fn metrics(&self) -> Result<Metrics> {
        let (status, text) = self.admin_get("/metrics").await?;
        ensure!(status == 200, "/metrics answered {status}: {text}");
        Metrics::parse(&text)
    }

    /// Waits until the accounts add up and are `as_hoped`. The fault shows how they stand.
    pub async fn accounts(&self, what: &str, as_hoped: impl Fn(&Accounts) -> bool) -> Result<Accounts> {
        eventually(QUIET, what, async || {
            let accounts = self.metrics().await?.accounts()?;
            ensure!(accounts.add_up(), "the accounts do not add up: {accounts:?}");
            ensure!(as_hoped(&accounts), "the accounts are {accounts:?}");
            Ok(Some(accounts))
        })
        .await
    }

    /// Waits until no message is pending any more, and the accounts add up.
    pub async fn settled(&self) -> Result<Accounts> {
        self.accounts("every message ended", |accounts| accounts.pending == 0).await
    }
}

impl Running {
    fn new(process: Child, stdout: BufReader<ChildStdout>, line: &str) -> Result<Self> {
        let mut words = line.split_whitespace();
        ensure!(words.next() == Some("ready"), "not a ready line: {line:?}");
        let words: Vec<_> = words.filter_map(|word| word.split_once('=')).collect();
        let address = |name: &str, scheme: &str| {
            let found = words.iter().find(|(key, _)| *key == name);
            let url = found.with_context(|| format!("no {name} in the ready line {line:?}"))?.1;
            let address = url.strip_prefix(scheme).with_context(|| format!("no {scheme} url: {url}"))?;
            address.parse::<SocketAddr>().with_context(|| format!("no address: {url}"))?;
            anyhow::Ok(url.to_owned())
        };
        Ok(Self {
            ingress: address("ingress", "http://")?,
            connection: address("connection", "ws://")?,
            admin: address("admin", "http://")?,
            process,
            stdout,
        })
    }
}

fn pid(process: &Child) -> Result<Pid> {
    let id = process.id().context("the service has ended by itself")?;
    Pid::from_raw(i32::try_from(id)?).context("a process has an id above zero")
}
