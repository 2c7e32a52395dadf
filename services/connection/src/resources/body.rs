//! Bodies of requests, which are short.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::Edge;
use crate::refusal::refuse;

/// Reads a body of at most `limit` octets, in the time that a user agent has for its hello. Fails with the answer for the
/// client.
pub(super) async fn read(edge: &Edge, body: Body, limit: usize) -> Result<Bytes, Response> {
    let patience = edge.shared.config.hello_timeout;
    match timeout(patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("the body is too long: it has at most {limit} octets here");
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, &text))
        }
        Ok(Err(_cut_short)) => Err(refuse(StatusCode::BAD_REQUEST, "the body did not come to its end")),
        Err(_elapsed) => Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}
