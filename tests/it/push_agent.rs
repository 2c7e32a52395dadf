//! A user agent written by others: a process around the Python library h2, which takes server push.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::log::Log;
use crate::{programs, within};

/// Deadline of one command, with the start of the interpreter on a busy machine.
const DONE: Duration = Duration::from_mins(1);

/// User agent that does one command after the other, as in the head of `tests/clients/h2/agent.py`.
#[derive(Debug)]
pub struct PushAgent {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _process: Child,
    // Before the folder that holds its file: fields are dropped in this order.
    _log: Log,
    _folder: tempfile::TempDir,
}

impl PushAgent {
    /// Starts a user agent of the service at `address`, as `host:port`. The error names a missing installation.
    pub fn start(address: &str) -> Result<Self> {
        let [program, script] = programs::push_agent()?;
        let (host, port) = address.split_once(':').context("no host:port")?;
        let folder = tempfile::TempDir::with_prefix("pushgrid-it-")?;
        let log = Log::new("the user agent", folder.path().join("log"));
        let mut command = Command::new(&program);
        command
            .arg(script)
            .args([host, port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.sink()?)
            .kill_on_drop(true);
        let mut process = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let input = process.stdin.take().expect("it is a pipe, as set above");
        let output = BufReader::new(process.stdout.take().expect("it is a pipe, as set above")).lines();
        Ok(Self { input, output, _process: process, _log: log, _folder: folder })
    }

    /// Does a command, and returns the answer.
    pub async fn act(&mut self, command: &Value) -> Result<Value> {
        let exchange = async {
            self.input.write_all(format!("{command}\n").as_bytes()).await?;
            self.output.next_line().await?.context("it ended")
        };
        let what = command["do"].as_str().unwrap_or_default();
        let line = within(DONE, what, exchange).await.flatten().with_context(|| what.to_owned())?;
        serde_json::from_str(&line).with_context(|| format!("it said {line}"))
    }
}
