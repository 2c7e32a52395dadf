//! The failures of sending a push message, with texts that name the remedy.
//!
//! Invariant: texts of the service are shortened and free of control characters before they are shown.

use std::fmt;
use std::time::Duration;

use pushgrid_crypto::encryption::EncryptError;
use serde::Deserialize;

use crate::Response;

/// Reason for not sending a push message.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The endpoint is no URL for a POST.
    #[error("not an endpoint: it must be an http or https URL; subscribe again")]
    Endpoint,
    /// A header field cannot stand in a request.
    #[error("the header field {0:?} has a name or a value that HTTP does not allow")]
    Field(String),
    /// The message could not be encrypted.
    #[error("the message could not be encrypted for this subscription")]
    Encrypt(#[source] EncryptError),
    /// The push service answered with another status than 2xx.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No answer in time: the message may have been accepted or not.
    #[error(
        "no answer within {0:?}: the message may have been accepted or not; send it again if a repeat does no harm"
    )]
    Timeout(Duration),
    /// No connection, or a broken one: in the latter case the message may have been accepted or not.
    #[error("the push service cannot be reached: check that it runs at the address of the endpoint")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    /// The answer broke off, or is larger than any of a push service.
    #[error(
        "the answer of the push service broke off or is too large: the message may have been accepted or not"
    )]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SendError {
    /// The status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            Self::Endpoint
            | Self::Field(_)
            | Self::Encrypt(_)
            | Self::Timeout(_)
            | Self::Unreachable(_)
            | Self::Answer(_) => None,
        }
    }
}

/// Answer of a push service that did not accept: the status, and the JSON error if one was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The number of the kind of error, as deployed services count them.
    pub errno: Option<u32>,
    /// The short name of the error.
    pub error: Option<String>,
    /// Explanation given by the service.
    pub message: Option<String>,
    /// Time to wait before the next try (RFC 9110 section 10.2.3).
    pub retry_after: Option<Duration>,
}

/// Longest text kept of a service's answer, in characters.
const TEXT_MAX: usize = 500;

#[derive(Deserialize)]
struct Json {
    errno: Option<u32>,
    error: Option<String>,
    message: Option<String>,
}

impl Refusal {
    /// Reads an answer. A body other than the JSON of an error is left out.
    pub(crate) fn of(response: &Response) -> Self {
        let json = serde_json::from_slice(&response.body).ok();
        let json: Json = json.unwrap_or(Json { errno: None, error: None, message: None });
        let shorten = |text: String| text.chars().filter(|it| !it.is_control()).take(TEXT_MAX).collect();
        Self {
            status: response.status,
            errno: json.errno,
            error: json.error.map(shorten),
            message: json.message.map(shorten),
            retry_after: response
                .header("retry-after")
                .and_then(|text| text.parse().ok())
                .map(Duration::from_secs),
        }
    }

    /// Remedy for the status, by the meaning that RFC 8030, RFC 8292 and deployed services give it.
    fn advice(&self) -> &'static str {
        match self.status {
            400 => "correct the request",
            401 => "the subscription is restricted: sign with the VAPID key that it was made with",
            403 => {
                "sign with the VAPID key that the subscription was made with, for this origin, for less than 24 hours"
            }
            404 | 410 => "the subscription has ended: forget it, and send no more to it",
            413 => "send less: 3993 octets of plaintext always fit",
            429 => "send less often, and wait before the next try",
            500..=599 => "try again later, and wait longer after each try",
            _ => "check that the endpoint is one of a push service",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the push service answered {}", self.status)?;
        if let Some(errno) = self.errno {
            write!(f, " (errno {errno})")?;
        }
        if let Some(said) = self.message.as_ref().or(self.error.as_ref()) {
            write!(f, " and said {said:?}")?;
        }
        write!(f, ": {}", self.advice())?;
        if let Some(after) = self.retry_after {
            write!(f, " (it asks to wait {} s)", after.as_secs())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn response(status: u16, body: &'static str) -> Response {
        Response { status, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn the_services_own_words_and_the_advice_are_shown() {
        let mut response =
            response(429, r#"{"code":429,"errno":7,"error":"Too Many","message":"slow\u001b[2J down"}"#);
        response.headers.insert("retry-after", "30".parse().unwrap());
        assert_eq!(
            Refusal::of(&response).to_string(),
            "the push service answered 429 (errno 7) and said \"slow[2J down\": \
             send less often, and wait before the next try (it asks to wait 30 s)"
        );
    }

    #[test]
    fn an_answer_without_json_still_has_its_advice() {
        let refusal = Refusal::of(&response(410, "<html>"));
        assert_eq!((refusal.errno, &refusal.message), (None, &None));
        assert!(refusal.to_string().ends_with("forget it, and send no more to it"));
    }
}
