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

/// Three brokers on a machine that is busy otherwise.
const START: Duration = Duration::from_mins(3);

/// How long a process may take to be gone after SIGKILL.
const GONE: Duration = Duration::from_secs(20);

/// The ports of three brokers and their controllers, as distances from the first.
const KAFKA: [u16; 5] = [1, 100, 101, 200, 201];

/// A real Kafka and a real Redis that no other test uses: they may be stopped, killed and emptied.
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
    /// Starts them, with one broker or three, and waits until they answer.
    pub async fn start(brokers: usize) -> Result<Self> {
        let (script, kafka_home) = programs::servers()?;
        let (kafka, redis) = (Port::reserve_at(&KAFKA)?, Port::reserve()?);
        let folder = TempDir::with_prefix("pushgrid-it-servers-")?;
        let servers = Self { script, kafka_home, brokers, kafka, redis, folder };
        servers.start_again().await?;
        Ok(servers)
    }

    /// Starts those that do not run, on the data that they had.
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
        // Those of the test run are not these.
        command.env_remove("PUSHGRID_KAFKA__BROKERS").env_remove("PUSHGRID_REDIS__URL");
        command.env("PUSHGRID_LOCAL_DIR", self.folder.path()).env("PUSHGRID_LOCAL_KAFKA", &self.kafka_home);
        command.env("PUSHGRID_LOCAL_KAFKA_PORT", self.kafka[0].number().to_string());
        command.env("PUSHGRID_LOCAL_REDIS_PORT", self.redis.number().to_string());
        command.stdin(Stdio::null());
        command
    }

    /// Where they are.
    pub fn backing(&self) -> Backing {
        let brokers = (0..self.brokers).map(|number| self.kafka[2 * number].address());
        Backing { brokers: brokers.collect::<Vec<_>>().join(","), redis: self.redis_url() }
    }

    fn redis_url(&self) -> String {
        format!("redis://{}", self.redis.address())
    }

    /// A connection to the Redis.
    pub async fn redis(&self) -> Result<Redis> {
        Redis::connect(&self.redis_url()).await
    }

    /// The folder in which a broker keeps its records, of the topics whose names begin with `prefix`: how many octets.
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

    /// Kills the broker of this number, counted from one, and waits until it is gone.
    pub async fn kill_broker(&self, number: usize) -> Result<()> {
        self.kill(&format!("kafka-{number}")).await
    }

    /// Stops a broker where it stands, until [`Self::resume_broker`].
    pub fn pause_broker(&self, number: usize) -> Result<()> {
        Ok(kill_process(self.pid(&format!("kafka-{number}"))?, Signal::STOP)?)
    }

    /// Lets it go on.
    pub fn resume_broker(&self, number: usize) -> Result<()> {
        Ok(kill_process(self.pid(&format!("kafka-{number}"))?, Signal::CONT)?)
    }

    /// Kills the Redis, and waits until it is gone: with it everything that was in it.
    pub async fn kill_redis(&self) -> Result<()> {
        self.kill("redis").await
    }

    /// Stops the Redis where it stands, until [`Self::resume_redis`].
    pub fn pause_redis(&self) -> Result<()> {
        Ok(kill_process(self.pid("redis")?, Signal::STOP)?)
    }

    /// Lets it go on.
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

/// Whether nothing is left of a process but its id, because the one who started it has not asked for it yet.
fn is_dead(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with(['Z', 'X']))
}

/// What the segments of one partition hold, in octets.
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
    /// What this could not end is a fault of the script, and shows there.
    fn drop(&mut self) {
        let down = self.script().args(["down", "--wipe"]).output();
        if let Ok(output) = down
            && !output.status.success()
        {
            eprintln!("--- servers down ---\n{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
