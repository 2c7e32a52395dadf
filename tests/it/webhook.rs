//! A webhook written by others: a process around the Python library standardwebhooks.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::log::Log;
use crate::{programs, within};

/// Deadline of one line, with the start of the interpreter and the pauses of the service on a busy machine.
const SAID: Duration = Duration::from_mins(1);

/// Receiver of the posts of a webhook, each of which is verified.
#[derive(Debug)]
pub struct Webhook {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    port: u64,
    _process: Child,
    // Before the folder that holds its file: fields are dropped in this order.
    _log: Log,
    _folder: tempfile::TempDir,
}

impl Webhook {
    /// Starts a receiver. The error names a missing installation.
    pub async fn start() -> Result<Self> {
        let [program, script] = programs::webhook_receiver()?;
        let folder = tempfile::TempDir::with_prefix("pushgrid-it-")?;
        let log = Log::new("the webhook", folder.path().join("log"));
        let mut command = Command::new(&program);
        command
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.sink()?)
            .kill_on_drop(true);
        let mut process = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let input = process.stdin.take().expect("it is a pipe, as set above");
        let output = BufReader::new(process.stdout.take().expect("it is a pipe, as set above")).lines();
        let mut webhook = Self { input, output, port: 0, _process: process, _log: log, _folder: folder };
        let first = webhook.line().await?;
        webhook.port = first["port"].as_u64().context("it does not say its port")?;
        Ok(webhook)
    }

    /// URL of the webhook.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/receipts", self.port)
    }

    /// Sets the secret by which posts are verified, and the answers of the next ones; then 204.
    pub async fn expect(&mut self, secret: &str, statuses: &[u16]) -> Result<()> {
        let command = json!({"secret": secret, "statuses": statuses});
        self.input.write_all(format!("{command}\n").as_bytes()).await?;
        let answer = self.line().await?;
        ensure!(answer["done"] == true, "a post came first: {answer}");
        Ok(())
    }

    /// The next post: its `id`, `status` and `body`. One that cannot be verified is an error.
    pub async fn next(&mut self) -> Result<Value> {
        let post = self.line().await?;
        ensure!(post["verified"] == true, "not signed as it should be: {post}");
        Ok(post)
    }

    async fn line(&mut self) -> Result<Value> {
        let line = within(SAID, "a line of the webhook", self.output.next_line()).await??;
        Ok(serde_json::from_str(&line.context("it ended")?)?)
    }
}
