use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout};

use crate::log::Log;
use crate::metrics::Metrics;
use crate::ports::Port;
use crate::{programs, within};

/// A start on a busy machine, in which a store is made or asked for.
const START: Duration = Duration::from_mins(1);

/// Longer than any drain that a test sets.
const STOP: Duration = Duration::from_secs(40);

/// How long health and metrics may take.
const ANSWER: Duration = Duration::from_secs(10);

/// What a process of the service does: its subcommand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// All of it.
    Standalone,
    /// The edge for application servers.
    Ingress,
    /// The owner of partitions.
    Router,
    /// The edge for user agents.
    Connection,
}

impl Role {
    fn command(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Ingress => "ingress",
            Self::Router => "router",
            Self::Connection => "connection",
        }
    }

    /// What it listens for: each name of the ready line, the scheme of its URL, and the setting.
    fn listeners(self) -> &'static [(&'static str, &'static str, &'static str)] {
        const INGRESS: (&str, &str, &str) = ("ingress", "http://", "PUSHGRID_INGRESS__LISTEN");
        const ROUTER: (&str, &str, &str) = ("router", "http://", "PUSHGRID_ROUTER__LISTEN");
        const CONNECTION: (&str, &str, &str) = ("connection", "ws://", "PUSHGRID_CONNECTION__LISTEN");
        const GRPC: (&str, &str, &str) = ("grpc", "http://", "PUSHGRID_CONNECTION__GRPC_LISTEN");
        const ADMIN: (&str, &str, &str) = ("admin", "http://", "PUSHGRID_ADMIN__LISTEN");
        match self {
            Self::Standalone => &[INGRESS, CONNECTION, ADMIN],
            Self::Ingress => &[INGRESS, ADMIN],
            Self::Router => &[ROUTER, ADMIN],
            Self::Connection => &[CONNECTION, GRPC, ADMIN],
        }
    }
}

/// One process of the service, over all its lives: its ports, its settings and its log stay the same.
#[derive(Debug)]
pub struct Process {
    role: Role,
    running: Option<Running>,
    settings: Vec<(String, String)>,
    log: Log,
    folder: PathBuf,
    ports: Vec<Port>,
}

/// One life of the process, and what its ready line said.
#[derive(Debug)]
struct Running {
    process: Child,
    stdout: BufReader<ChildStdout>,
    addresses: BTreeMap<&'static str, String>,
}

impl Process {
    /// One that is not started yet, and writes its log to `folder`. Later settings win over earlier ones.
    pub(crate) fn new(role: Role, name: &str, folder: &Path, settings: &[(String, String)]) -> Result<Self> {
        let ports = role.listeners().iter().map(|_| Port::reserve()).collect::<Result<Vec<_>>>()?;
        let listen = role.listeners().iter().zip(&ports);
        let mut all: Vec<_> =
            listen.map(|((_, _, setting), port)| ((*setting).to_owned(), port.address())).collect();
        all.extend(settings.iter().cloned());
        let log = Log::new(name, folder.join(format!("{name}.log")));
        Ok(Self { role, running: None, settings: all, log, folder: folder.to_owned(), ports })
    }

    /// Where it listens, or will, as `host:port`. The name is that of the ready line.
    pub(crate) fn listens(&self, name: &str) -> Option<String> {
        let position = self.role.listeners().iter().position(|(listener, ..)| *listener == name)?;
        Some(self.ports.get(position)?.address())
    }

    /// One more setting for all its lives. Those that are there already win.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(0, (name.to_owned(), value.to_owned()));
    }

    /// Starts it and waits for its ready line.
    pub async fn start(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "{} is still running", self.log.of());
        let mut command = programs::pushgrid()?;
        command.arg(self.role.command()).envs(self.settings.iter().cloned()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(self.log.sink()?);
        let mut process = command.spawn().context("start the service")?;
        let mut stdout = BufReader::new(process.stdout.take().expect("it is a pipe, as set above"));
        let mut line = String::new();
        let of = self.log.of();
        let ready = within(START, &format!("the ready line of {of}"), stdout.read_line(&mut line)).await;
        ready.with_context(|| self.log.tail())??;
        if line.is_empty() {
            let status = within(STOP, "the end of the service", process.wait()).await??;
            bail!("{of} did not start: {status}\n{}", self.log.tail());
        }
        self.running = Some(Running { process, stdout, addresses: read(self.role, &line)? });
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits for it: [`Self::terminate`], then [`Self::ended`].
    pub async fn stop(&mut self) -> Result<()> {
        self.terminate()?;
        self.ended().await
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::TERM)?)
    }

    /// Waits until it has ended. A fault when it does not end well, or had more to say on standard output than the one
    /// line.
    pub async fn ended(&mut self) -> Result<()> {
        let status = self.gone().await?;
        ensure!(status.success(), "{} did not stop cleanly: {status}\n{}", self.log.of(), self.log.tail());
        Ok(())
    }

    /// Ends it without asking (SIGKILL), and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        kill_process(self.pid()?, Signal::KILL)?;
        self.gone().await.map(drop)
    }

    /// Stops it where it stands (SIGSTOP): it does nothing until [`Self::resume`].
    pub fn pause(&self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::STOP)?)
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::CONT)?)
    }

    async fn gone(&mut self) -> Result<ExitStatus> {
        let mut running = self.running.take().context("it is not running")?;
        let what = format!("the end of {}", self.log.of());
        let ended = within(STOP, &what, running.process.wait()).await;
        let status = ended.with_context(|| self.log.tail())??;
        let mut more = String::new();
        running.stdout.read_to_string(&mut more).await?;
        ensure!(more.is_empty(), "more than the ready line on standard output: {more:?}");
        Ok(status)
    }

    /// Whether the test has started it, and not ended it.
    pub fn is_started(&self) -> bool {
        self.running.is_some()
    }

    /// What it listens for, by its name in the ready line: a URL.
    pub fn url(&self, name: &str) -> &str {
        let running = self.running.as_ref().expect("the test has started it");
        running.addresses.get(name).expect("the role has such a listener")
    }

    /// For tests that look at it from outside.
    pub fn process_id(&self) -> Result<u32> {
        let running = self.running.as_ref().with_context(|| format!("{} is not running", self.log.of()))?;
        running.process.id().with_context(|| format!("{} has ended by itself", self.log.of()))
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.process_id()?)?).context("a process has an id above zero")
    }

    /// All that it has said on standard error, in all its lives.
    pub fn log(&self) -> Result<String> {
        self.log.whole()
    }

    /// Reads `path` of the admin listener: the status and the body.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let ask = async {
            let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
            let response = client.get(format!("{}{path}", self.url("admin")).parse()?).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        within(ANSWER, &format!("{path} of {}", self.log.of()), ask).await?
    }

    /// Reads its metrics once.
    pub async fn metrics(&self) -> Result<Metrics> {
        let (status, text) = self.get("/metrics").await?;
        ensure!(status == 200, "/metrics answered {status}: {text}");
        Metrics::parse(&text)
    }
}

/// Reads the ready line of a role.
fn read(role: Role, line: &str) -> Result<BTreeMap<&'static str, String>> {
    let mut words = line.split_whitespace();
    ensure!(words.next() == Some("ready"), "not a ready line: {line:?}");
    let words: BTreeMap<&str, &str> = words.filter_map(|word| word.split_once('=')).collect();
    // One process has no need to say what it is.
    let named = words.get("role").is_none_or(|name| *name == role.command());
    ensure!(named, "not the ready line of {role:?}: {line:?}");
    let listeners = role.listeners().iter().map(|(name, scheme, _)| {
        let url = words.get(name).with_context(|| format!("no {name} in the ready line {line:?}"))?;
        let address = url.strip_prefix(scheme).with_context(|| format!("no {scheme} url: {url}"))?;
        address.parse::<SocketAddr>().with_context(|| format!("no address: {url}"))?;
        Ok((*name, (*url).to_owned()))
    });
    listeners.collect()
}
