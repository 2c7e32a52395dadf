//! A monitoring request that is answered with Server-Sent Events.

use std::fmt;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use pushgrid_types::ChannelId;
use serde::Deserialize;
use tokio::time::timeout;

use super::{Monitored, Receipt, SILENCE, refused};
use crate::application_server::ApplicationServer;
use crate::{ClientError, Notification, Response, text};

/// Largest event that is read, in octets.
const EVENT_MAX: usize = 256 * 1024;

/// The answer.
pub(super) struct Events {
    channel: ChannelId,
    /// `None` if there is no such subscription.
    body: Option<Incoming>,
    unread: Vec<u8>,
}

/// Data of an event.
#[derive(Deserialize)]
struct Data {
    message: String,
    #[serde(rename = "data")]
    body: Option<String>,
    #[serde(default)]
    headers: Headers,
}

/// Data of the event of a receipt.
#[derive(Deserialize)]
struct ReceiptData {
    message: String,
    status: u16,
    receipt: String,
}

#[derive(Default, Deserialize)]
struct Headers {
    encoding: Option<String>,
    encryption: Option<String>,
    crypto_key: Option<String>,
    content_type: Option<String>,
}

impl Events {
    pub(super) async fn open(
        mut request: Request<Bytes>,
        channel: ChannelId,
        requests: &ApplicationServer,
    ) -> Result<Self, ClientError> {
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let (head, body) = requests.open(request).await.map_err(ClientError::Request)?.into_parts();
        let body = match head.status.as_u16() {
            200 => Some(body),
            404 => None,
            status => {
                let body = body.collect().await.map_err(ClientError::stream)?.to_bytes();
                return Err(refused("monitor", &Response { status, headers: head.headers, body }));
            }
        };
        Ok(Self { channel, body, unread: Vec::new() })
    }

    pub(super) async fn next(&mut self) -> Result<Monitored, ClientError> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                return self.event(&block);
            }
            if self.unread.len() > EVENT_MAX {
                return Err(ClientError::Unreadable("an event is too large"));
            }
            let Some(body) = &mut self.body else { return Ok(Monitored::Gone) };
            let silent = ClientError::Silent { after: SILENCE };
            let Some(frame) = timeout(SILENCE, body.frame()).await.map_err(|_| silent)? else {
                return Ok(Monitored::Ended("the answer is at its end".to_owned()));
            };
            if let Ok(octets) = frame.map_err(ClientError::stream)?.into_data() {
                self.unread.extend_from_slice(&octets);
            }
        }
    }

    fn event(&self, block: &[u8]) -> Result<Monitored, ClientError> {
        let block = std::str::from_utf8(block).map_err(|_| ClientError::Unreadable("an event is no text"))?;
        let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
        match (field("event: "), field("data: ")) {
            (Some("message"), Some(data)) => self.message(data),
            (Some("receipt"), Some(data)) => receipt(data),
            (Some("close"), Some(data)) => Ok(Monitored::Ended(reason(data))),
            _ => Ok(Monitored::Alive),
        }
    }

    fn message(&self, data: &str) -> Result<Monitored, ClientError> {
        let data: Data =
            serde_json::from_str(data).map_err(|_| ClientError::Unreadable("an event is no message"))?;
        let octets = data.body.as_deref().map(text::decode);
        let octets = match octets {
            Some(None) => return Err(ClientError::Unreadable("a message is not in base64url")),
            Some(Some(octets)) => Some(Bytes::from(octets)),
            None => None,
        };
        Ok(Monitored::Message(Notification {
            channel: self.channel,
            version: data.message,
            data: octets,
            encoding: data.headers.encoding,
            encryption: data.headers.encryption,
            crypto_key: data.headers.crypto_key,
            content_type: data.headers.content_type,
        }))
    }
}

fn receipt(data: &str) -> Result<Monitored, ClientError> {
    let data: ReceiptData =
        serde_json::from_str(data).map_err(|_| ClientError::Unreadable("an event is no receipt"))?;
    let ReceiptData { message, status, receipt } = data;
    Ok(Monitored::Receipt(Receipt { message, status, acknowledge: Some(receipt) }))
}

fn reason(data: &str) -> String {
    let data: Option<serde_json::Value> = serde_json::from_str(data).ok();
    let text = data.as_ref().and_then(|data| data["message"].as_str()).unwrap_or_default();
    text.chars().take(200).collect()
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("unread", &self.unread.len()).finish_non_exhaustive()
    }
}
