//! HTTP/1.1 requests of which every line can be bent.

use anyhow::{Context as _, Result};
use pushgrid_client::Subscription;
use pushgrid_crypto::encryption::encrypt_aes128gcm;
use pushgrid_types::SystemRng;

/// Request as written on the wire, with every line open to change.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Makes a request without a body.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let fields = vec![("Host".to_owned(), "localhost".to_owned())];
        Self { method: method.to_owned(), target: target.to_owned(), fields, body: Vec::new() }
    }

    /// Makes a valid push message for `to`.
    pub(crate) fn push(to: &Subscription, payload: &[u8]) -> Result<Self> {
        let keys = to.push_subscription();
        let body = encrypt_aes128gcm(&SystemRng, &keys.p256dh, &keys.auth, payload)?;
        let request = Self::new("POST", path(to.endpoint())?);
        Ok(request.with("TTL", "60").with("Content-Encoding", "aes128gcm").with_body(body))
    }

    /// Adds a line.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes all lines of a field.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces all lines of a field by one.
    pub(crate) fn instead(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// Replaces the method.
    pub(crate) fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// Replaces the target.
    pub(crate) fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Sets the body, and its length.
    pub(crate) fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.instead("Content-Length", &length)
    }

    /// Sends the body in chunks of at most `size` octets.
    pub(crate) fn chunked(self, size: usize) -> Self {
        let mut chunks = Vec::new();
        for chunk in self.body.chunks(size) {
            chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunks.extend_from_slice(chunk);
            chunks.extend_from_slice(b"\r\n");
        }
        chunks.extend_from_slice(b"0\r\n\r\n");
        Self { body: chunks, ..self.without("Content-Length").with("Transfer-Encoding", "chunked") }
    }

    /// Octets of the request line and the fields, up to the body.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            head.extend([name.as_str(), ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Octets of the whole request.
    pub(crate) fn octets(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }
}

/// Path of an absolute URL of the service.
pub(crate) fn path(url: &str) -> Result<&str> {
    let (_, rest) = url.split_once("://").context("an URL")?;
    Ok(&rest[rest.find('/').context("a path")?..])
}
