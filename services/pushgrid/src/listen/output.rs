//! Output of `pushgrid listen`: subscriptions and messages on standard output, notes on standard error.
//!
//! Invariant: no character of a message can steer the terminal.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pushgrid_client::{NotDecrypted, Notification};
use pushgrid_types::WallClock;
use serde_json::json;

/// Output for a person or a script: subscriptions and messages on standard output, a line each; notes about the
/// connection on standard error.
pub(super) struct Output {
    json: bool,
    clock: Box<dyn WallClock>,
}

impl Output {
    pub(super) fn new(json: bool, clock: Box<dyn WallClock>) -> Self {
        Self { json, clock }
    }

    /// A note about the connection.
    pub(super) fn note(&self, text: &str) {
        eprintln!("{}  {text}", self.now());
    }

    /// Prints the subscription alone on a line, to be pasted into an application server.
    pub(super) fn subscription(&self, subscription: &str) -> Result<()> {
        if !self.json {
            return line(subscription);
        }
        let at = self.now();
        line(&format!(r#"{{"event":"subscription","at":"{at}","subscription":{subscription}}}"#))
    }

    pub(super) fn message(&self, notification: &Notification, plaintext: &[u8]) -> Result<()> {
        let at = self.now();
        if !self.json {
            return line(&format!("{at}  {} octets  {}", plaintext.len(), printable(plaintext)));
        }
        let mut event = json!({
            "event": "message", "at": at, "channel": notification.channel.to_string(),
            "version": notification.version, "octets": plaintext.len(),
        });
        match std::str::from_utf8(plaintext) {
            Ok(text) => event["text"] = text.into(),
            Err(_) => event["base64url"] = URL_SAFE_NO_PAD.encode(plaintext).into(),
        }
        line(&event.to_string())
    }

    pub(super) fn undecryptable(&self, notification: &Notification, why: &NotDecrypted) -> Result<()> {
        let at = self.now();
        if !self.json {
            return line(&format!("{at}  cannot be decrypted: {why}"));
        }
        let (channel, version) = (notification.channel.to_string(), &notification.version);
        let event = json!({
            "event": "undecryptable", "at": at, "channel": channel, "version": version, "why": why.to_string(),
        });
        line(&event.to_string())
    }

    fn now(&self) -> String {
        let since = Duration::from_millis(self.clock.wall().as_millis());
        humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
    }
}

/// Text of a stranger's octets, with control characters escaped.
fn printable(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn line(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("cannot write to standard output")
}

#[cfg(test)]
mod tests {
    use pushgrid_types::{ManualClock, Timestamp};

    use super::*;

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        assert_eq!(printable("caf\u{e9}\u{1b}[2J\n".as_bytes()), "caf\u{e9}\\u{1b}[2J\\n");
        assert_eq!(printable(&[b'a', 0xff]), "a\u{fffd}");
    }

    #[test]
    fn times_are_universal_and_have_milliseconds() {
        let clock = ManualClock::at(Timestamp::from_millis(1_700_000_000_123));
        assert_eq!(Output::new(false, Box::new(clock)).now(), "2023-11-14T22:13:20.123Z");
    }
}
