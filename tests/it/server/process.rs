//! One process of the service over all its lives, with its ports, settings and log.
//! Invariant: nothing but the ready line is on standard output, and a dropped process is killed.

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

/// Deadline of a start on a busy machine, with the creation of a store.
const START: Duration = Duration::from_mins(1);

/// Deadline of a stop, longer than any drain set by a test.
const STOP: Duration = Duration::from_secs(40);

/// Deadline of an answer of the admin listener.
const ANSWER: Duration = Duration::from_secs(10);

/// Role of a process: its subcommand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// All roles.
    Standalone,
    /// Ingress, the edge for application servers.
    Ingress,
    /// Router, the owner of partitions.
    Router,
    /// Connection node, the edge for user agents.
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

    /// Listeners: name in the ready line, scheme of the URL, and setting.
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

/// One process of the service, over all its lives, with the same ports, settings and log.
#[derive(Debug)]
pub struct Process {
    role: Role,
    running: Option<Running>,
    disk: Option<(PathBuf, String)>,
    build: Option<PathBuf>,
    settings: Vec<(String, String)>,
    log: Log,
    folder: PathBuf,
    ports: Vec<Port>,
}

/// One life of the process, with the addresses of its ready line once read.
#[derive(Debug)]
struct Running {
    process: Child,
    stdout: BufReader<ChildStdout>,
    addresses: BTreeMap<&'static str, String>,
}

impl Process {
    /// Makes a process that is not started, with its log in `folder`. Later settings win over earlier ones.
    pub(crate) fn new(role: Role, name: &str, folder: &Path, settings: &[(String, String)]) -> Result<Self> {
        let ports = role.listeners().iter().map(|_| Port::reserve()).collect::<Result<Vec<_>>>()?;
        let listen = role.listeners().iter().zip(&ports);
        let mut all: Vec<_> =
            listen.map(|((_, _, setting), port)| ((*setting).to_owned(), port.address())).collect();
        all.extend(settings.iter().cloned());
        let log = Log::new(name, folder.join(format!("{name}.log")));
        Ok(Self {
            role,
            running: None,
            disk: None,
            build: None,
            settings: all,
            log,
            folder: folder.to_owned(),
            ports,
        })
    }

    /// Address of a listener, running or not, as `host:port`. The name is that of the ready line.
    pub fn listens(&self, name: &str) -> Result<String> {
        let position = self.role.listeners().iter().position(|(listener, ..)| *listener == name);
        let port = position.and_then(|position| self.ports.get(position));
        Ok(port.with_context(|| format!("{} does not listen for {name}", self.log.of()))?.address())
    }

    /// Gives each life a new disk at `path`, of `size` as `mount` takes it.
    pub(crate) fn give_disk(&mut self, path: &Path, size: &str) {
        self.disk = Some((path.to_owned(), size.to_owned()));
    }

    /// Sets the build of the command for the next lives; `None` is the one under test.
    pub fn update(&mut self, build: Option<&Path>) {
        self.build = build.map(Path::to_owned);
    }

    /// Adds a setting for all lives. Existing ones win.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(0, (name.to_owned(), value.to_owned()));
    }

    /// Starts the process, and waits for its ready line.
    pub async fn start(&mut self) -> Result<()> {
        self.begin()?;
        self.ready().await
    }

    /// Starts the process without waiting, for [`Self::ready`] to be called later.
    pub fn begin(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "{} is still running", self.log.of());
        let mut command = match (&self.disk, &self.build) {
            (Some((path, size)), _) => programs::pushgrid_on_a_disk(path, size)?,
            (None, Some(build)) => programs::pushgrid_of(build),
            (None, None) => programs::pushgrid()?,
        };
        command.arg(self.role.command()).envs(self.settings.iter().cloned()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(self.log.sink()?);
        let mut process = command.spawn().context("start the service")?;
        let stdout = BufReader::new(process.stdout.take().expect("it is a pipe, as set above"));
        self.running = Some(Running { process, stdout, addresses: BTreeMap::new() });
        Ok(())
    }

    /// Waits for the ready line, after [`Self::begin`]. A process that does not come up has ended afterwards.
    pub async fn ready(&mut self) -> Result<()> {
        let of = self.log.of();
        // Killed on drop, unless put back.
        let mut running = self.running.take().with_context(|| format!("{of} was not started"))?;
        let mut line = String::new();
        let what = format!("the ready line of {of}");
        let ready = within(START, &what, running.stdout.read_line(&mut line)).await;
        ready.with_context(|| self.log.tail())??;
        if line.is_empty() {
            let status = within(STOP, "the end of the service", running.process.wait()).await??;
            bail!("{of} did not start: {status}\n{}", self.log.tail());
        }
        running.addresses = read(self.role, &line)?;
        self.running = Some(running);
        Ok(())
    }

    /// Stops the process: [`Self::terminate`], then [`Self::ended`].
    pub async fn stop(&mut self) -> Result<()> {
        self.terminate()?;
        self.ended().await
    }

    /// Stops the process within `limit`.
    pub(crate) async fn stop_within(&mut self, limit: Duration) -> Result<()> {
        let what = format!("a stop of {}", self.log.of());
        within(limit, &what, self.stop()).await?
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::TERM)?)
    }

    /// Waits for the end. A fault unless the process ends cleanly, with only the ready line on standard output.
    pub async fn ended(&mut self) -> Result<()> {
        let status = self.gone().await?;
        ensure!(status.success(), "{} did not stop cleanly: {status}\n{}", self.log.of(), self.log.tail());
        Ok(())
    }

    /// Sends SIGKILL, and waits for the end.
    pub async fn kill(&mut self) -> Result<()> {
        kill_process(self.pid()?, Signal::KILL)?;
        self.gone().await.map(drop)
    }

    /// Suspends the process (SIGSTOP), until [`Self::resume`].
    pub fn pause(&self) -> Result<()> {
        Ok(kill_process(self.pid()?, Signal::STOP)?)
    }

    /// Resumes the process (SIGCONT).
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

    /// True while started by the test and not ended by it.
    pub fn is_started(&self) -> bool {
        self.running.is_some()
    }

    /// URL of a listener, by its name in the ready line.
    pub fn url(&self, name: &str) -> &str {
        let running = self.running.as_ref().expect("the test has started it");
        running.addresses.get(name).expect("the role has such a listener")
    }

    /// URLs of all listeners, by name.
    pub(crate) fn urls(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let running = self.running.as_ref().expect("the test has started it");
        running.addresses.iter().map(|(name, url)| (*name, url.as_str()))
    }

    /// Process id, for tests that look from outside.
    pub fn process_id(&self) -> Result<u32> {
        let running = self.running.as_ref().with_context(|| format!("{} is not running", self.log.of()))?;
        running.process.id().with_context(|| format!("{} has ended by itself", self.log.of()))
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.process_id()?)?).context("a process has an id above zero")
    }

    /// Standard error over all lives.
    pub fn log(&self) -> Result<String> {
        self.log.whole()
    }

    /// Reads `path` of the admin listener: status and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let ask = async {
            let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
            let response = client.get(format!("http://{}{path}", self.listens("admin")?).parse()?).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        within(ANSWER, &format!("{path} of {}", self.log.of()), ask).await?
    }

    /// Reads the metrics once.
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
    // Standalone does not name its role.
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
