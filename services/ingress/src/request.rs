//! Parts of a request read alike by all dialects over HTTP.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::accept::Refusal;

/// The part of the path with the name of a resource. Escapes that are no text name nothing, as an empty part
/// does.
pub(crate) fn segment(path: Result<Path<String>, PathRejection>) -> String {
    path.map_or_else(|_not_text| String::new(), |Path(segment)| segment)
}

/// The announced length of the body.
pub(crate) fn length(fields: &HeaderMap) -> Option<u64> {
    fields.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the body, and counts octets on arrival.
pub(crate) async fn read(body: Body, limit: usize, within: Duration) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(within, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge { limit }),
        Ok(Err(_cut_short)) => Err(Refusal::BrokenBody),
        Err(_elapsed) => Err(Refusal::SlowBody),
    }
}
