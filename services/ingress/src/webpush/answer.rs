//! The answer table of Web Push: every refusal, as on the wire.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use pushgrid_crypto::vapid::Status;
use serde::Serialize;

use super::fault::Fault;
use crate::Config;
use crate::accept::{Credential, Refusal};
use crate::figures::Figures;
use crate::service::Edge;

/// The body of a refusal, as worded by deployed services and read by client libraries.
#[derive(Debug, Serialize)]
struct Body<'a> {
    code: u16,
    errno: u16,
    error: &'a str,
    message: String,
    more_info: &'static str,
}

/// Makes the response for the result of a route, and counts the response.
pub(super) fn answer(
    ingress: &Edge,
    route: &'static str,
    answer: Result<impl IntoResponse, Fault>,
) -> Response {
    let (response, refused) = match answer {
        Ok(done) => (done.into_response(), None),
        Err(fault) => {
            if matches!(fault, Fault::Vapid(_)) {
                Figures::vapid_refused(&ingress.0.meter);
            }
            (refuse(&fault, &ingress.0.config), fault.label())
        }
    };
    ingress.count(route, response.status(), refused);
    response
}

/// The status, the number of the refusal for client libraries, and a link for more.
fn number(fault: &Fault, config: &Config) -> (StatusCode, u16, &'static str) {
    const RFC8030: &str = "https://www.rfc-editor.org/rfc/rfc8030";
    const DELIVERY: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-5";
    const RECEIPTS: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-5.1";
    const TTL: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-5.2";
    const URGENCY: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-5.3";
    const TOPIC: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-5.4";
    const LOAD: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-7.2";
    const EXPIRY: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-7.3";
    const RATE: &str = "https://www.rfc-editor.org/rfc/rfc8030#section-8.4";
    const VAPID: &str = "https://www.rfc-editor.org/rfc/rfc8292";
    const ENCRYPTION: &str = "https://www.rfc-editor.org/rfc/rfc8291#section-4";
    match fault {
        Fault::Refused(refusal) => match refusal {
            Refusal::NoMessage => (StatusCode::NOT_FOUND, 107, DELIVERY),
            //= RFC 8030 section 7.3
            //# A push service MUST return a 404 (Not Found) status code if an application server attempts to
            //# send a push message to an expired push message subscription.
            // As libraries know it by its status.
            Refusal::NotAnEndpoint | Refusal::Gone => {
                (config.gone_status, if config.gone_status == StatusCode::GONE { 106 } else { 102 }, EXPIRY)
            }
            Refusal::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, 104, LOAD),
            Refusal::NoCredential { wanted: Credential::VapidKey } | Refusal::Anonymous => {
                (StatusCode::UNAUTHORIZED, 109, VAPID)
            }
            Refusal::OtherCredential { wanted: Credential::VapidKey } => (config.vapid_status, 109, VAPID),
            // No challenge: no VAPID key would do.
            Refusal::NoCredential { wanted: Credential::ApiKey | Credential::Signature }
            | Refusal::OtherCredential { wanted: Credential::ApiKey | Credential::Signature } => {
                (StatusCode::FORBIDDEN, 109, RFC8030)
            }
            Refusal::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, 117, RATE),
            Refusal::MailboxFull => (StatusCode::TOO_MANY_REQUESTS, 118, LOAD),
            //= RFC 8030 section 5.1
            //# A push service MUST return a 400 (Bad Request) status code for requests that contain an invalid
            //# receipt subscription.
            Refusal::InvalidReceipts => (StatusCode::BAD_REQUEST, 120, RECEIPTS),
            Refusal::NewReceipts => (StatusCode::TOO_MANY_REQUESTS, 120, RECEIPTS),
            Refusal::ReceiptsFull => (StatusCode::TOO_MANY_REQUESTS, 118, RECEIPTS),
            Refusal::SlowBody => (StatusCode::REQUEST_TIMEOUT, 119, DELIVERY),
            Refusal::BrokenBody => (StatusCode::BAD_REQUEST, 119, DELIVERY),
            Refusal::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, 202, LOAD),
            Refusal::Store => (StatusCode::SERVICE_UNAVAILABLE, 201, DELIVERY),
        },
        Fault::NoRoute => (StatusCode::NOT_FOUND, 100, RFC8030),
        Fault::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, 100, RFC8030),
        Fault::Vapid(error) => {
            let status = match error.status() {
                Status::Malformed => StatusCode::BAD_REQUEST,
                Status::Unauthorized => StatusCode::UNAUTHORIZED,
                Status::Forbidden => config.vapid_status,
            };
            (status, 109, VAPID)
        }
        Fault::SameKey => (StatusCode::BAD_REQUEST, 110, VAPID),
        //= RFC 8030 section 5.2
        //# A push service MUST return a 400 (Bad Request) status code in response to requests that omit the
        //# TTL header field.
        Fault::NoTtl => (StatusCode::BAD_REQUEST, 111, TTL),
        Fault::BadTtl => (StatusCode::BAD_REQUEST, 112, TTL),
        //= RFC 8030 section 5.4
        //# A push service that receives a request with a Topic header field that does not meet these
        //# constraints MUST return a 400 (Bad Request) status code to the application server.
        Fault::BadTopic => (StatusCode::BAD_REQUEST, 113, TOPIC),
        Fault::BadUrgency => (StatusCode::BAD_REQUEST, 115, URGENCY),
        Fault::BadReceipts => (StatusCode::BAD_REQUEST, 120, RECEIPTS),
        Fault::Encoding(_) => (StatusCode::BAD_REQUEST, 110, ENCRYPTION),
    }
}

fn refuse(fault: &Fault, config: &Config) -> Response {
    let (status, errno, more_info) = number(fault, config);
    let body = Body {
        code: status.as_u16(),
        errno,
        error: status.canonical_reason().unwrap_or("Refused"),
        message: fault.to_string(),
        more_info,
    };
    let mut response = (status, axum::body::Body::from(json(&body))).into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Fault::Refused(refusal) = fault
        && let Some(wait) = refusal.retry_after()
    {
        // Whole seconds, at least one: a caller that waits for 0 seconds has not waited.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        fields.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if status == StatusCode::UNAUTHORIZED {
        fields.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("vapid"));
    }
    match fault {
        Fault::Method { allow } => {
            fields.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        Fault::Refused(Refusal::NotAnEndpoint | Refusal::Gone) => {
            fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=86400"));
        }
        _ => {}
    }
    response
}

fn json(body: &Body<'_>) -> Vec<u8> {
    serde_json::to_vec(body).expect("numbers and texts always serialise")
}
