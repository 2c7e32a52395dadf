use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use pushgrid_types::UserAgentId;
use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame as Raw, FrameHeader};

use super::raw::Wire;

/// The upgrade request, with the key of RFC 6455 section 1.2.
pub(super) const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The answer that belongs to the key.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The standard wants it random, for the sake of proxies; there is none here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a person can read of a reason, and what fits a close frame (RFC 6455 section 5.5).
const REASON: std::ops::RangeInclusive<usize> = 10..=123;

/// A WebSocket on which anything can be written. It answers no ping by itself.
#[derive(Debug)]
pub(super) struct Socket {
    wire: Wire,
}

/// What the service sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Text(String),
    Ping,
    Pong(Vec<u8>),
    Close(Close),
}

/// Why the service has closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Close {
    /// A code that the service documents, and a reason that a person can read.
    pub(super) fn is_clear(&self) -> Result<()> {
        let known = [1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 4774];
        ensure!(known.contains(&self.code), "an unknown code: {self:?}");
        ensure!(REASON.contains(&self.reason.len()), "not a reason: {self:?}");
        ensure!(self.reason.split_whitespace().count() >= 4, "not a sentence: {self:?}");
        Ok(())
    }
}

/// A frame of a client, masked, with any octets as its text.
pub(super) fn text(payload: &[u8]) -> Vec<u8> {
    raw(&FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() }, payload)
}

/// A ping of a client.
pub(super) fn ping(payload: &[u8]) -> Vec<u8> {
    raw(&FrameHeader { opcode: OpCode::Control(Control::Ping), ..FrameHeader::default() }, payload)
}

/// Any frame, masked.
pub(super) fn raw(header: &FrameHeader, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { mask: Some(MASK), ..header.clone() };
    let mut octets = Vec::new();
    let frame = Raw::from_payload(header, Bytes::copy_from_slice(payload));
    frame.format(&mut octets).expect("a list takes all that is written");
    octets
}

/// The text of a hello.
pub(super) fn hello(user_agent: Option<UserAgentId>) -> String {
    match user_agent {
        Some(id) => format!(r#"{{"messageType":"hello","uaid":"{}","use_webpush":true}}"#, id.to_hex()),
        None => r#"{"messageType":"hello","use_webpush":true}"#.to_owned(),
    }
}

impl Socket {
    /// Connects to `ws://`, without a hello.
    pub(super) async fn connect(url: &str) -> Result<Self> {
        let mut wire = Wire::open(url).await?;
        wire.send(UPGRADE).await?;
        let mut socket = Self { wire };
        socket.upgraded().await?;
        Ok(socket)
    }

    /// Connects and says hello.
    pub(super) async fn open(url: &str, user_agent: Option<UserAgentId>) -> Result<Self> {
        let mut wire = Wire::open(url).await?;
        let hello = text(hello(user_agent).as_bytes());
        wire.send(&[UPGRADE, &hello].concat()).await?;
        let mut socket = Self { wire };
        socket.upgraded().await?;
        let reply = socket.reply().await?;
        ensure!(reply["messageType"] == "hello" && reply["status"] == 200, "no hello: {reply}");
        Ok(socket)
    }

    /// On a connection that has just been upgraded.
    pub(super) fn upgraded_by(wire: Wire) -> Self {
        Self { wire }
    }

    async fn upgraded(&mut self) -> Result<()> {
        let answer = self.wire.expect_answer().await?;
        ensure!(answer.status == 101, "no upgrade: {}", answer.status);
        ensure!(answer.field("sec-websocket-accept") == Some(ACCEPT), "not the answer to the key");
        Ok(())
    }

    /// Writes any octets; what the other side does not take because it closes is not a fault.
    pub(super) async fn send(&mut self, octets: &[u8]) -> Result<()> {
        self.wire.try_send(octets).await
    }

    /// Says that nothing more is written.
    pub(super) async fn finish(&mut self) -> Result<()> {
        self.wire.finish().await
    }

    /// The next text frame as JSON.
    pub(super) async fn reply(&mut self) -> Result<Value> {
        loop {
            match self.next().await? {
                Some(Frame::Text(text)) => return Ok(serde_json::from_str(&text)?),
                Some(Frame::Ping | Frame::Pong(_)) => {}
                end => bail!("no reply, but {end:?}"),
            }
        }
    }

    /// The next frame; `None` when the connection ends without a close frame.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>> {
        let Some(head) = self.wire.peek(2).await? else { return Ok(None) };
        // A server does not mask, and sends no fragments here.
        let (opcode, short) = (head[0], usize::from(head[1]));
        let extra = match short {
            126 => 2,
            127 => 8,
            0..126 => 0,
            _ => bail!("a masked frame came"),
        };
        let Some(head) = self.wire.peek(2 + extra).await? else { return Ok(None) };
        let long = head[2..2 + extra].iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
        let length = if extra == 0 { short } else { long };
        if self.wire.peek(2 + extra + length).await?.is_none() {
            return Ok(None);
        }
        let frame = self.wire.take(2 + extra + length);
        let payload = &frame[2 + extra..];
        Ok(Some(match opcode {
            0x81 => Frame::Text(String::from_utf8(payload.to_vec()).context("text that is not UTF-8")?),
            0x88 => Frame::Close(close(payload)?),
            0x89 => Frame::Ping,
            0x8a => Frame::Pong(payload.to_vec()),
            _ => bail!("an unexpected frame: {opcode:#x}"),
        }))
    }

    /// How the service closes; what comes before is passed over. `None` when it does so without a close frame.
    pub(super) async fn closed(&mut self) -> Result<Option<Close>> {
        let close = loop {
            match self.next().await? {
                Some(Frame::Close(close)) => break Some(close),
                Some(_) => {}
                None => break None,
            }
        };
        let rest = self.wire.end().await?;
        ensure!(rest.is_empty() || close.is_none(), "something came after the close frame");
        Ok(close)
    }
}

fn close(payload: &[u8]) -> Result<Close> {
    // Without a code it counts as this one (RFC 6455 section 7.1.5).
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return Ok(Close { code: 1005, reason: String::new() });
    };
    Ok(Close { code: u16::from_be_bytes(*code), reason: String::from_utf8(reason.to_vec())? })
}
