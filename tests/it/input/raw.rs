use std::io::{self, ErrorKind};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::{HeaderMap, HeaderName, HeaderValue};
use pushgrid_it::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take on a busy machine, beyond every time limit that a test sets.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Largest answer that is read: many times the largest that the service gives.
const ANSWER_MAX: usize = 1 << 20;

/// A TCP connection on which anything can be written, and HTTP/1.1 answers read.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a field that is there once.
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
        // Tests make more connections than there are ports to wait out.
        stream.set_zero_linger()?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Writes everything; a fault when the other side has closed.
    pub(crate) async fn send(&mut self, octets: &[u8]) -> Result<()> {
        within(PATIENCE, "a write", self.stream.write_all(octets)).await?.context("write")
    }

    /// Writes as much as the other side takes until it closes.
    pub(crate) async fn try_send(&mut self, octets: &[u8]) -> Result<()> {
        match within(PATIENCE, "a write", self.stream.write_all(octets)).await? {
            Err(error) if !is_closed(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Writes for as long as `limit`; whether everything was taken.
    pub(crate) async fn press(&mut self, octets: &[u8], limit: Duration) -> Result<bool> {
        match tokio::time::timeout(limit, self.stream.write_all(octets)).await {
            Ok(Err(error)) if !is_closed(&error) => Err(error.into()),
            Ok(written) => Ok(written.is_ok()),
            Err(_elapsed) => Ok(false),
        }
    }

    /// Says that nothing more is written.
    pub(crate) async fn finish(&mut self) -> Result<()> {
        match self.stream.shutdown().await {
            Err(error) if !is_closed(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The next answer; `None` when the other side closes before it. Interim answers are answers, too.
    pub(crate) async fn answer(&mut self) -> Result<Option<Answer>> {
        within(PATIENCE, "an answer", self.read_answer()).await?
    }

    /// The next answer, which must come.
    pub(crate) async fn expect_answer(&mut self) -> Result<Answer> {
        self.answer().await?.context("the service closed the connection without an answer")
    }

    /// Reads until the other side closes.
    pub(crate) async fn end(&mut self) -> Result<Vec<u8>> {
        within(PATIENCE, "the end of the connection", async {
            while self.fill().await? {
                ensure!(self.read.len() < ANSWER_MAX, "more than {ANSWER_MAX} octets came");
            }
            Ok(std::mem::take(&mut self.read))
        })
        .await?
    }

    /// At least `count` octets, which stay; `None` when the other side closes before them.
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

    /// Takes octets that [`Self::peek`] has shown.
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

    /// Reads some; `false` at the end.
    async fn fill(&mut self) -> Result<bool> {
        match self.stream.read_buf(&mut self.read).await {
            Ok(count) => Ok(count > 0),
            Err(error) if is_closed(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether an error says that the other side has closed.
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

/// Strict, for what the service writes must be beyond doubt.
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
