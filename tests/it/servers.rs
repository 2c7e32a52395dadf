//! A real Kafka and Redis for one test, which may kill, pause and empty them.
//! Invariant: both end with the value.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use crate::ports::Port;
use crate::redis::Redis;
use crate::server::Backing;
use crate::{eventually, programs, within};

/// Deadline of a start: three brokers on a busy machine.
const START: Duration = Duration::from_mins(3);

/// Deadline for the end of a process after SIGKILL.
const GONE: Duration = Duration::from_secs(20);

/// Ports of three brokers and their controllers, as distances from the first.
const KAFKA: [u16; 5] = [1, 100, 101, 200, 201];

/// A real Kafka and Redis used by one test alone, which may stop, kill and empty them.
#[derive(Debug)]
pub struct Servers {
    script: PathBuf,
    kafka_home: PathBuf,
    brokers: usize,
    kafka: Vec<Port>,
    redis: Port,
    folder: TempDir,
}

impl Servers {
    /// Starts the servers, with one broker or three, and waits until all answer.
    pub async fn start(brokers: usize) -> Result<Self> {
        let (script, kafka_home) = programs::servers()?;
        let (kafka, redis) = (Port::reserve_at(&KAFKA)?, Port::reserve()?);
        let folder = TempDir::with_prefix("pushgrid-it-servers-")?;
        let servers = Self { script, kafka_home, brokers, kafka, redis, folder };
        servers.start_again().await?;
        Ok(servers)
    }

    /// Starts the servers that are not running, on their earlier data.
    pub async fn start_again(&self) -> Result<()> {
        let mut up = tokio::process::Command::from(self.script());
        up.args(["up", "--brokers", &self.brokers.to_string()]).kill_on_drop(true);
        let output = within(START, "the start of Kafka and Redis", up.output()).await??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "Kafka and Redis did not start: {said}");
        Ok(())
    }

    fn script(&self) -> Command {
        let mut command = Command::new(&self.script);
        // The servers of the test run are others.
        command.env_remove("PUSHGRID_KAFKA__BROKERS").env_remove("PUSHGRID_REDIS__URL");
        command.env("PUSHGRID_LOCAL_DIR", self.folder.path()).env("PUSHGRID_LOCAL_KAFKA", &self.kafka_home);
        command.env("PUSHGRID_LOCAL_KAFKA_PORT", self.kafka[0].number().to_string());
        command.env("PUSHGRID_LOCAL_REDIS_PORT", self.redis.number().to_string());
        command.stdin(Stdio::null());
        command
    }

    /// Addresses of the servers.
    pub fn backing(&self) -> Backing {
        let brokers = (0..self.brokers).map(|number| self.kafka[2 * number].address());
        Backing { brokers: brokers.collect::<Vec<_>>().join(","), redis: self.redis_url() }
    }

    fn redis_url(&self) -> String {
        format!("redis://{}", self.redis.address())
    }

    /// Connects to the Redis.
    pub async fn redis(&self) -> Result<Redis> {
        Redis::connect(&self.redis_url()).await
    }

    /// Octets of records on a broker's disk, of the topics with the prefix `prefix`.
    pub fn records(&self, prefix: &str) -> Result<u64> {
        let mut octets = 0;
        for number in 1..=self.brokers {
            let data = self.folder.path().join(format!("kafka/data-{number}"));
            for partition in std::fs::read_dir(&data).with_context(|| data.display().to_string())? {
                let partition = partition?;
                if partition.file_name().to_string_lossy().starts_with(prefix) {
                    octets += segments(&partition.path())?;
                }
            }
        }
        Ok(octets)
    }

    /// Kills the broker of this number, counted from one, and waits for the end.
    pub async fn kill_broker(&self, number: usize) -> Result<()> {
        self.kill(&format!("kafka-{number}")).await
    }

    /// Suspends a broker, until [`Self::resume_broker`].
    pub fn pause_broker(&self, number: usize) -> Result<()> {
        Ok(kill_process(self.pid(&format!("kafka-{number}"))?, Signal::STOP)?)
    }

    /// Resumes a broker.
    pub fn resume_broker(&self, number: usize) -> Result<()> {
        Ok(kill_process(self.pid(&format!("kafka-{number}"))?, Signal::CONT)?)
    }

    /// Kills the Redis with all its data, and waits for the end.
    pub async fn kill_redis(&self) -> Result<()> {
        self.kill("redis").await
    }

    /// Suspends the Redis, until [`Self::resume_redis`].
    pub fn pause_redis(&self) -> Result<()> {
        Ok(kill_process(self.pid("redis")?, Signal::STOP)?)
    }

    /// Resumes the Redis.
    pub fn resume_redis(&self) -> Result<()> {
        Ok(kill_process(self.pid("redis")?, Signal::CONT)?)
    }

    async fn kill(&self, name: &str) -> Result<()> {
        let pid = self.pid(name)?;
        kill_process(pid, Signal::KILL)?;
        let gone = async || Ok((test_kill_process(pid).is_err() || is_dead(pid)).then_some(()));
        eventually(GONE, &format!("the end of {name}"), gone).await
    }

    fn pid(&self, name: &str) -> Result<Pid> {
        let path = self.folder.path().join(format!("{name}.pid"));
        let text = std::fs::read_to_string(&path).with_context(|| format!("{name} does not run"))?;
        Pid::from_raw(text.trim().parse()?).context("a process has an id above zero")
    }
}

/// True for a process that has ended and was not reaped by its parent yet.
fn is_dead(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with(['Z', 'X']))
}

/// Octets of the segments of one partition.
fn segments(partition: &Path) -> Result<u64> {
    let mut octets = 0;
    for file in std::fs::read_dir(partition)? {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "log") {
            octets += file.metadata()?.len();
        }
    }
    Ok(octets)
}

impl Drop for Servers {
    /// A server left running is a fault of the script, and shows there.
    fn drop(&mut self) {
        let down = self.script().args(["down", "--wipe"]).output();
        if let Ok(output) = down
            && !output.status.success()
        {
            eprintln!("--- servers down ---\n{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
