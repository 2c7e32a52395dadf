//! A dialect as unlike Web Push as can be: a request is a line of text, which holds everything; every answer is 200 and
//! one more line.
//!
//! `<token> <seconds> <text>` is answered `accepted <address> <seconds>` or `refused <word>`, and `cancel <address>`
//! `cancelled` or `refused <word>`. A text `<key>=<value>` replaces the one of that key. A sender says who it is by `by <key> ` in front; it has a registry of four keys.

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::post;
use bytes::Bytes;
use http::StatusCode;
use pushgrid_types::{
    ApplicationId, Content, InvalidReplaceKey, ReplaceKey, Restriction, SigningKeyHash, TraceParent, Ttl,
    Urgency,
};

use crate::accept::{self, Receipts, Refusal, Sender, Submission, Terms};
use crate::service::Edge;
use crate::{request, shared};

pub(super) const FIRST_APPLICATION: Restriction = Restriction::ApiKey(ApplicationId([1; 32]));
pub(super) const SIGNER: Restriction = Restriction::Signature(SigningKeyHash([1; 32]));

/// The first application has two keys, one of which is going to be revoked.
const KEYS: &[(&str, Restriction)] = &[
    ("old-key", FIRST_APPLICATION),
    ("new-key", FIRST_APPLICATION),
    ("others-key", Restriction::ApiKey(ApplicationId([2; 32]))),
    ("signed", SIGNER),
];

pub(super) fn routes() -> Router<Edge> {
    Router::new().route("/line", post(line))
}

/// The reason of a refusal: acceptance's, or that the line is none.
enum Reason {
    Refused(Refusal),
    NoNumber,
    NoSuchKey,
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Reason {
    fn label(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) => refusal.label(),
            Self::NoNumber | Self::NoSuchKey => Some("header_invalid"),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.label().unwrap_or("no_message"),
            Self::NoNumber => "no_number",
            Self::NoSuchKey => "no_such_key",
        }
    }
}

async fn line(State(ingress): State<Edge>, request: Request) -> (StatusCode, String) {
    let config = &ingress.0.config;
    let read = request::read(request.into_body(), config.max_body, config.body_timeout).await;
    let answer = match read {
        Ok(octets) => speak(&ingress.0, std::str::from_utf8(&octets).unwrap_or_default()).await,
        Err(refusal) => Err(refusal.into()),
    };
    let refused = answer.as_ref().err().and_then(Reason::label);
    ingress.count("push", StatusCode::OK, refused);
    (StatusCode::OK, answer.unwrap_or_else(|reason| format!("refused {}", reason.word())))
}

async fn speak(ingress: &shared::Shared, line: &str) -> Result<String, Reason> {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    if first == "cancel" {
        accept::cancel(ingress, "line", None, rest).await?;
        return Ok("cancelled".to_owned());
    }
    let (key, first, rest) = match first {
        "by" => {
            let (key, line) = rest.split_once(' ').unwrap_or((rest, ""));
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            (Some(key), first, rest)
        }
        _ => (None, first, rest),
    };
    let (seconds, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let accepted = accept::accept(ingress, first, Line { key, seconds, text }).await?;
    let address = ingress.addresses.seal(&accepted.message);
    Ok(format!("accepted {address} {}", accepted.ttl.as_secs()))
}

struct Line<'a> {
    key: Option<&'a str>,
    seconds: &'a str,
    text: &'a str,
}

impl Submission for Line<'_> {
    type Refusal = Reason;

    const DIALECT: &'static str = "line";

    fn label(refusal: &Reason) -> Option<&'static str> {
        refusal.label()
    }

    fn trace_parent(&self) -> Option<TraceParent> {
        None
    }

    fn length(&self) -> Option<u64> {
        Some(self.text.len() as u64)
    }

    fn sender(&self) -> Result<Sender, Reason> {
        let Some(key) = self.key else { return Ok(Sender::ANONYMOUS) };
        let known = KEYS.iter().find(|(name, _)| *name == key).ok_or(Reason::NoSuchKey)?;
        Ok(Sender { fulfils: known.1, vapid_key: None })
    }

    fn terms(&mut self) -> Result<Terms, Reason> {
        let ttl = Ttl::from_secs(self.seconds.parse().map_err(|_| Reason::NoNumber)?);
        let words = self.text.split_once('=');
        let key = words.map(|(key, _)| ReplaceKey::in_namespace("line", key)).transpose();
        let replaces = key.map_err(|InvalidReplaceKey| Reason::NoNumber)?;
        Ok(Terms { ttl, urgency: Urgency::Normal, receipts: Receipts::default(), replaces })
    }

    async fn content(self, _: &Sender) -> Result<Content, Reason> {
        Ok(Content { body: Bytes::copy_from_slice(self.text.as_bytes()), ..Content::default() })
    }
}
