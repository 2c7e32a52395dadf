//! A raw TCP connection for tests: any octets out, strictly parsed HTTP/1.1 answers in.

use std::io::{self, ErrorKind};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderMap, HeaderName, HeaderValue};
use pushgrid_it::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Deadline of an answer on a busy machine, beyond every time limit set by a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Largest answer to read: many times the largest of the service.
const ANSWER_MAX: usize = 1 << 20;

/// TCP connection for writing any octets and reading HTTP/1.1 answers.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// Answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Value of a field that occurs once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.fields.get_all(name).iter();
        let first = lines.next()?.to_str().ok();
        if lines.next().is_none() { first } else { None }
    }
}

impl Wire {
    /// Connects to `http://` or `ws://` and an address.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let (_, address) = url.split_once("://").context("an URL")?;
        let stream = within(PATIENCE, "a TCP connection", TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        // No TIME_WAIT: tests make more connections than there are ports.
        stream.set_zero_linger()?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Writes all octets. An error when the peer has closed.
    pub(crate) async fn send(&mut self, octets: &[u8]) -> Result<()> {
        within(PATIENCE, "a write", self.stream.write_all(octets)).await?.context("write")
    }

    /// Writes until the peer closes.
    pub(crate) async fn try_send(&mut self, octets: &[u8]) -> Result<()> {
        match within(PATIENCE, "a write", self.stream.write_all(octets)).await? {
            Err(error) if !is_closed(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes for at most `limit`; returns whether all octets were taken.
    pub(crate) async fn press(&mut self, octets: &[u8], limit: Duration) -> Result<bool> {
        match tokio::time::timeout(limit, self.stream.write_all(octets)).await {
            Ok(Err(error)) if !is_closed(&error) => Err(error.into()),
            Ok(written) => Ok(written.is_ok()),
            Err(_elapsed) => Ok(false),
        }
    }

    /// Ends the writing side.
    pub(crate) async fn finish(&mut self) -> Result<()> {
        match self.stream.shutdown().await {
            Err(error) if !is_closed(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Next answer, interim ones included; `None` when the peer closes before.
    pub(crate) async fn answer(&mut self) -> Result<Option<Answer>> {
        within(PATIENCE, "an answer", self.read_answer()).await?
    }

    /// Next answer. An error without one.
    pub(crate) async fn expect_answer(&mut self) -> Result<Answer> {
        self.answer().await?.context("the service closed the connection without an answer")
    }

    /// Reads until the peer closes.
    pub(crate) async fn end(&mut self) -> Result<Vec<u8>> {
        within(PATIENCE, "the end of the connection", async {
            while self.fill().await? {
                ensure!(self.read.len() < ANSWER_MAX, "more than {ANSWER_MAX} octets came");
            }
            Ok(std::mem::take(&mut self.read))
        })
        .await?
    }

    /// Returns at least `count` octets without consuming; `None` when the peer closes before.
    pub(crate) async fn peek(&mut self, count: usize) -> Result<Option<&[u8]>> {
        let all = within(PATIENCE, "octets", async {
            while self.read.len() < count {
                if !self.fill().await? {
                    return anyhow::Ok(false);
                }
            }
            Ok(true)
        })
        .await??;
        Ok(all.then_some(self.read.as_slice()))
    }

    /// Consumes octets returned by [`Self::peek`].
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.read.split_off(count);
        std::mem::replace(&mut self.read, rest)
    }

    async fn read_answer(&mut self) -> Result<Option<Answer>> {
        let head = loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                break self.take(end + 4);
            }
            ensure!(self.read.len() < ANSWER_MAX, "a head of more than {ANSWER_MAX} octets");
            if !self.fill().await? {
                ensure!(self.read.is_empty(), "an answer that was cut off: {}", self.read.escape_ascii());
                return Ok(None);
            }
        };
        let (status, fields) = parse(&head)?;
        let length = match fields.get(http::header::CONTENT_LENGTH) {
            Some(length) => length.to_str()?.parse()?,
            None => 0,
        };
        ensure!(length < ANSWER_MAX, "a body of {length} octets");
        while self.read.len() < length {
            ensure!(self.fill().await?, "an answer that was cut off");
        }
        Ok(Some(Answer { status, fields, body: self.take(length) }))
    }

    /// Reads more octets; `false` at the end.
    async fn fill(&mut self) -> Result<bool> {
        match self.stream.read_buf(&mut self.read).await {
            Ok(count) => Ok(count > 0),
            Err(error) if is_closed(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// True for an error that means that the peer has closed.
fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
    )
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets.windows(wanted.len()).position(|window| window == wanted)
}

/// Parses a head strictly, for the service's output must be beyond doubt.
fn parse(head: &[u8]) -> Result<(u16, HeaderMap)> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.strip_suffix("\r\n\r\n").context("the end of a head")?.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let Some((version, rest)) = line.split_once(' ') else { bail!("no status line: {line:?}") };
    ensure!(version == "HTTP/1.1" || version == "HTTP/1.0", "no status line: {line:?}");
    let status = rest.get(..3).with_context(|| format!("no status: {line:?}"))?.parse()?;
    let mut fields = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').with_context(|| format!("no field: {line:?}"))?;
        fields.append(name.parse::<HeaderName>()?, value.trim().parse::<HeaderValue>()?);
    }
    Ok((status, fields))
}
