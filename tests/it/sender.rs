//! Application servers written by others: a process around each library, which sends messages on request.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pushgrid_client::PushSubscription;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::log::Log;
use crate::{programs, within};

/// Deadline of one message, with the start of the interpreter on a busy machine.
const SEND: Duration = Duration::from_mins(1);

/// TTL of messages in these tests, in seconds.
const TTL: u32 = 3600;

/// Library that sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// pywebpush, in Python.
    PyWebPush,
    /// web-push, in JavaScript.
    NpmWebPush,
    /// web-push, in Rust.
    RustWebPush,
}

/// Encryption of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// RFC 8188 and RFC 8291.
    Aes128Gcm,
    /// The draft before those RFCs.
    AesGcm,
}

/// Message to send.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// Subscription of the user agent.
    pub to: &'a PushSubscription,
    /// Payload to encrypt.
    pub payload: &'a [u8],
    /// Encryption of the payload.
    pub encoding: Encoding,
    /// Private VAPID key, base64url; `None` for a message without VAPID.
    pub key: Option<&'a str>,
    /// Topic, if any (RFC 8030 section 5.4).
    pub topic: Option<&'a str>,
    /// Urgency, if any (RFC 8030 section 5.3).
    pub urgency: Option<&'a str>,
    /// True for a message with a receipt (RFC 8030 section 5.1), for libraries that take fields of their caller.
    pub receipt: bool,
}

/// Answer of the service, as seen by the library.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The address of the message.
    pub location: Option<String>,
    /// Body of a refusal, or the library's version of it.
    pub body: Option<String>,
}

/// Application server written by others: a process that sends one message after the other.
#[derive(Debug)]
pub struct Sender {
    library: Library,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _process: Child,
    // Before the folder that holds its file: fields are dropped in this order.
    _log: Log,
    _folder: tempfile::TempDir,
}

impl Library {
    /// All libraries.
    pub const ALL: [Self; 3] = [Self::PyWebPush, Self::NpmWebPush, Self::RustWebPush];

    /// Largest payload that the library sends in one record that every service must take (RFC 8030 section 7.2), or
    /// that the library allows.
    pub const fn largest(self, encoding: Encoding) -> usize {
        match (self, encoding) {
            // The library's own bound.
            (Self::RustWebPush, _) => 3052,
            (Self::PyWebPush | Self::NpmWebPush, Encoding::Aes128Gcm) => 3993,
            (Self::PyWebPush | Self::NpmWebPush, Encoding::AesGcm) => 4078,
        }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PyWebPush => "pywebpush",
            Self::NpmWebPush => "npm web-push",
            Self::RustWebPush => "the crate web-push",
        })
    }
}

impl Encoding {
    /// All encodings.
    pub const ALL: [Self; 2] = [Self::Aes128Gcm, Self::AesGcm];

    /// Value of `Content-Encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes128gcm",
            Self::AesGcm => "aesgcm",
        }
    }
}

impl<'a> Job<'a> {
    /// Makes an `aes128gcm` message signed with `key`.
    pub fn signed(to: &'a PushSubscription, payload: &'a [u8], key: &'a str) -> Self {
        Self {
            to,
            payload,
            encoding: Encoding::Aes128Gcm,
            key: Some(key),
            topic: None,
            urgency: None,
            receipt: false,
        }
    }

    /// One line of JSON, as in `tests/clients/README.md`.
    fn line(&self) -> String {
        let job = json!({
            "endpoint": self.to.endpoint,
            "p256dh": self.to.p256dh,
            "auth": self.to.auth,
            "vapid_private": self.key,
            "subject": "mailto:operator@example.com",
            "encoding": self.encoding.as_str(),
            "payload_base64": STANDARD.encode(self.payload),
            "ttl": TTL,
            "topic": self.topic,
            "urgency": self.urgency,
            "receipt": self.receipt,
        });
        format!("{job}\n")
    }
}

impl Sender {
    /// Starts a sender. The error names a missing installation.
    pub fn start(library: Library) -> Result<Self> {
        let [program, argument] = match library {
            Library::PyWebPush => programs::pywebpush()?.map(Some),
            Library::NpmWebPush => programs::npm_web_push()?.map(Some),
            Library::RustWebPush => [Some(programs::rust_web_push()?), None],
        };
        let program = program.expect("each library has a program");
        let folder = tempfile::TempDir::with_prefix("pushgrid-it-")?;
        let log = Log::new("the sender", folder.path().join("log"));
        let mut command = Command::new(&program);
        command
            .args(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.sink()?)
            .kill_on_drop(true);
        let mut process = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let input = process.stdin.take().expect("it is a pipe, as set above");
        let output = BufReader::new(process.stdout.take().expect("it is a pipe, as set above")).lines();
        Ok(Self { library, input, output, _process: process, _log: log, _folder: folder })
    }

    /// Sends one message, and returns the service's answer. A fault without an answer.
    pub async fn send(&mut self, job: &Job<'_>) -> Result<Answer> {
        let library = self.library;
        let exchange = async {
            self.input.write_all(job.line().as_bytes()).await?;
            self.output.next_line().await?.context("it ended")
        };
        let line =
            within(SEND, "an answer", exchange).await.flatten().with_context(|| library.to_string())?;
        serde_json::from_str(&line).with_context(|| format!("{library} said {line}"))
    }

    /// Sends one message, which the service must accept.
    pub async fn deliver(&mut self, job: &Job<'_>) -> Result<()> {
        let answer = self.send(job).await?;
        ensure!(answer.status == 201, "{}: the service answered {answer:?}", self.library);
        ensure!(answer.location.is_some(), "{}: no Location", self.library);
        Ok(())
    }
}
