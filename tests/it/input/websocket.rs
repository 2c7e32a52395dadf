//! A raw WebSocket for tests: any frames out, strictly parsed frames in, no automatic pong.

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use pushgrid_types::UserAgentId;
use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{Frame as Raw, FrameHeader};

use super::raw::Wire;

/// Upgrade request, with the key of RFC 6455 section 1.2.
pub(super) const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Answer to that key.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Mask of all frames. The standard wants random ones, for the sake of proxies; there is none here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Length of a readable reason that fits a close frame (RFC 6455 section 5.5).
const REASON: std::ops::RangeInclusive<usize> = 10..=123;

/// WebSocket for writing any octets. Answers no ping by itself.
#[derive(Debug)]
pub(super) struct Socket {
    wire: Wire,
}

/// Frame sent by the service.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Text(String),
    Ping,
    Pong(Vec<u8>),
    Close(Close),
}

/// Close by the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Close {
    /// Checks for a documented code and a readable reason.
    pub(super) fn is_clear(&self) -> Result<()> {
        let known = [1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 4774];
        ensure!(known.contains(&self.code), "an unknown code: {self:?}");
        ensure!(REASON.contains(&self.reason.len()), "not a reason: {self:?}");
        ensure!(self.reason.split_whitespace().count() >= 4, "not a sentence: {self:?}");
        Ok(())
    }
}

/// Masked text frame of a client, with any octets as text.
pub(super) fn text(payload: &[u8]) -> Vec<u8> {
    raw(&FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() }, payload)
}

/// Ping frame of a client.
pub(super) fn ping(payload: &[u8]) -> Vec<u8> {
    raw(&FrameHeader { opcode: OpCode::Control(Control::Ping), ..FrameHeader::default() }, payload)
}

/// Masked frame of any kind.
pub(super) fn raw(header: &FrameHeader, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader { mask: Some(MASK), ..header.clone() };
    let mut octets = Vec::new();
    let frame = Raw::from_payload(header, Bytes::copy_from_slice(payload));
    frame.format(&mut octets).expect("a list takes all that is written");
    octets
}

/// Text of a hello.
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

    /// Wraps a connection that was just upgraded.
    pub(super) fn upgraded_by(wire: Wire) -> Self {
        Self { wire }
    }

    async fn upgraded(&mut self) -> Result<()> {
        let answer = self.wire.expect_answer().await?;
        ensure!(answer.status == 101, "no upgrade: {}", answer.status);
        ensure!(answer.field("sec-websocket-accept") == Some(ACCEPT), "not the answer to the key");
        Ok(())
    }

    /// Writes any octets; a close by the peer is no error.
    pub(super) async fn send(&mut self, octets: &[u8]) -> Result<()> {
        self.wire.try_send(octets).await
    }

    /// Ends the writing side.
    pub(super) async fn finish(&mut self) -> Result<()> {
        self.wire.finish().await
    }

    /// Next text frame, as JSON.
    pub(super) async fn reply(&mut self) -> Result<Value> {
        loop {
            match self.next().await? {
                Some(Frame::Text(text)) => return Ok(serde_json::from_str(&text)?),
                Some(Frame::Ping | Frame::Pong(_)) => {}
                end => bail!("no reply, but {end:?}"),
            }
        }
    }

    /// Next frame; `None` when the connection ends without a close frame.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>> {
        let Some(head) = self.wire.peek(2).await? else { return Ok(None) };
        // A server does not mask, and this one sends no fragments here.
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

    /// Waits for the close by the service, skipping other frames. `None` without a close frame.
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
    // A close without a code counts as this one (RFC 6455 section 7.1.5).
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return Ok(Close { code: 1005, reason: String::new() });
    };
    Ok(Close { code: u16::from_be_bytes(*code), reason: String::from_utf8(reason.to_vec())? })
}
