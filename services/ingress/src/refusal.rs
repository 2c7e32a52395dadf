//! Every way to say no, and how it looks on the wire: the answer table of the edge, in one file.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use pushgrid_crypto::vapid::{Status, VapidError};
use serde::Serialize;

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is nothing here; endpoints look like /push/... and messages like /m/...")]
    NoRoute,
    #[error("this is no endpoint of this service; ask the user agent for a new subscription")]
    NotAnEndpoint,
    #[error("there is no such message; it has been delivered, has ended, or was never here")]
    NoMessage,
    #[error("use {allow} here")]
    Method { allow: &'static str },
    #[error("this subscription has ended; forget it and stop sending to it")]
    Gone { status: StatusCode },
    #[error("the body has more than {limit} octets; send less, or several messages")]
    TooLarge { limit: usize },
    #[error(
        "this subscription takes messages of one application server only; sign the request with its VAPID key"
    )]
    NoVapid,
    #[error("every message needs VAPID here; sign the request")]
    VapidRequired,
    #[error(transparent)]
    Vapid(#[from] VapidError),
    #[error("this subscription is restricted to another VAPID key; sign with the key it was made with")]
    OtherKey,
    #[error("the VAPID key and the key that encrypts the message are the same; use separate keys")]
    SameKey,
    #[error("the TTL header field is missing; say how many seconds the message may wait, such as TTL: 60")]
    NoTtl,
    #[error("TTL must be one whole number of seconds, such as 60")]
    BadTtl,
    #[error("Topic must be one value of 1 to 32 characters of A-Z, a-z, 0-9, - and _")]
    BadTopic,
    #[error("Urgency must be one of very-low, low, normal and high, once")]
    BadUrgency,
    #[error("{0}")]
    Encoding(&'static str),
    #[error("the user agent gets more messages than it may; try again later")]
    TooMany { retry: Duration },
    #[error("too much is waiting for this user agent already; try again when it has been online")]
    MailboxFull,
    #[error("the body took too long to arrive; send it again")]
    SlowBody,
    #[error("the body ended before its length; send it again")]
    BrokenBody,
    #[error("the service has too much to do; try again")]
    Overloaded,
    #[error("the message could not be kept; try again")]
    Store,
}

/// How long an application server is asked to wait when a store is down.
const RETRY_STORE: Duration = Duration::from_secs(30);
/// How long it is asked to wait when there is too much to do.
const RETRY_LOAD: Duration = Duration::from_secs(1);
/// How long it is asked to wait for a user agent that has not been online.
const RETRY_MAILBOX: Duration = Duration::from_hours(1);

/// The body of a refusal, as deployed services word it and client libraries read it.
#[derive(Debug, Serialize)]
struct Body<'a> {
    code: u16,
    errno: u16,
    error: &'a str,
    message: String,
    more_info: &'static str,
}

impl Refusal {
    /// The status, the number that client libraries know the refusal by, and where to read more.
    fn number(&self) -> (StatusCode, u16, &'static str) {
        const RFC8030: &str = "https://www.rfc-editor.org/rfc/rfc8030";
        const DELIVERY: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-5";
        const TTL: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-5.2";
        const URGENCY: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-5.3";
        const TOPIC: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-5.4";
        const LOAD: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-7.2";
        const EXPIRY: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-7.3";
        const RATE: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-8.4";
        const VAPID: &str = "https://www.rfc-editor.org/rfc/rfc8292";
        const ENCRYPTION: &str = "https://www.rfc-editor.org/rfc/rfc8291#section-4";
        match self {
            Self::NoRoute => (StatusCode::NOT_FOUND, 100, RFC8030),
            Self::NotAnEndpoint => (StatusCode::NOT_FOUND, 102, DELIVERY),
            Self::NoMessage => (StatusCode::NOT_FOUND, 107, DELIVERY),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, 100, RFC8030),
            Self::Gone { status } => (*status, 106, EXPIRY),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, 104, LOAD),
            Self::NoVapid | Self::VapidRequired => (StatusCode::UNAUTHORIZED, 109, VAPID),
            Self::Vapid(error) => {
                let status = match error.status() {
                    Status::Malformed => StatusCode::BAD_REQUEST,
                    Status::Unauthorized => StatusCode::UNAUTHORIZED,
                    Status::Forbidden => StatusCode::FORBIDDEN,
                };
                (status, 109, VAPID)
            }
            Self::OtherKey => (StatusCode::FORBIDDEN, 109, VAPID),
            Self::SameKey => (StatusCode::BAD_REQUEST, 110, VAPID),
            Self::NoTtl => (StatusCode::BAD_REQUEST, 111, TTL),
            Self::BadTtl => (StatusCode::BAD_REQUEST, 112, TTL),
            Self::BadTopic => (StatusCode::BAD_REQUEST, 113, TOPIC),
            Self::BadUrgency => (StatusCode::BAD_REQUEST, 115, URGENCY),
            Self::Encoding(_) => (StatusCode::BAD_REQUEST, 110, ENCRYPTION),
            Self::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, 117, RATE),
            Self::MailboxFull => (StatusCode::TOO_MANY_REQUESTS, 118, LOAD),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, 119, DELIVERY),
            Self::BrokenBody => (StatusCode::BAD_REQUEST, 119, DELIVERY),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, 202, LOAD),
            Self::Store => (StatusCode::SERVICE_UNAVAILABLE, 201, DELIVERY),
        }
    }

    /// The word for it in the metrics; none for requests that were no push messages.
    pub(crate) const fn reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoRoute | Self::NoMessage | Self::Method { .. } => return None,
            Self::NotAnEndpoint => "token_invalid",
            Self::Gone { .. } => "subscription_gone",
            Self::TooLarge { .. } => "body_too_large",
            Self::NoVapid | Self::VapidRequired => "vapid_missing",
            Self::Vapid(_) => "vapid_invalid",
            Self::OtherKey => "vapid_mismatch",
            Self::SameKey
            | Self::NoTtl
            | Self::BadTtl
            | Self::BadTopic
            | Self::BadUrgency
            | Self::Encoding(_)
            | Self::BrokenBody => "header_invalid",
            Self::TooMany { .. } => "rate_limited",
            Self::MailboxFull => "queue_full",
            Self::SlowBody => "timeout",
            Self::Overloaded | Self::Store => "unavailable",
        })
    }

    /// How long to wait before the next try, where a next try makes sense.
    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry } => Some(*retry),
            Self::MailboxFull => Some(RETRY_MAILBOX),
            Self::Overloaded => Some(RETRY_LOAD),
            Self::Store => Some(RETRY_STORE),
            Self::NoRoute
            | Self::NotAnEndpoint
            | Self::NoMessage
            | Self::Method { .. }
            | Self::Gone { .. }
            | Self::TooLarge { .. }
            | Self::NoVapid
            | Self::VapidRequired
            | Self::Vapid(_)
            | Self::OtherKey
            | Self::SameKey
            | Self::NoTtl
            | Self::BadTtl
            | Self::BadTopic
            | Self::BadUrgency
            | Self::Encoding(_)
            | Self::SlowBody
            | Self::BrokenBody => None,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, errno, more_info) = self.number();
        let body = Body {
            code: status.as_u16(),
            errno,
            error: status.canonical_reason().unwrap_or("Refused"),
            message: self.to_string(),
            more_info,
        };
        let mut response = (status, axum::body::Body::from(json(&body))).into_response();
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after() {
            // Whole seconds, at least one: a caller that waits for 0 seconds has not waited.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            fields.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if status == StatusCode::UNAUTHORIZED {
            fields.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("vapid"));
        }
        match self {
            Self::Method { allow } => {
                fields.insert(header::ALLOW, HeaderValue::from_static(allow));
            }
            Self::Gone { .. } => {
                fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=86400"));
            }
            _ => {}
        }
        response
    }
}

fn json(body: &Body<'_>) -> Vec<u8> {
    serde_json::to_vec(body).expect("numbers and texts always serialise")
}
