//! The promise of a message, and the answer that brings it.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LAST_MODIFIED, LINK,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use pushgrid_crypto::ResourceAddresses;
use pushgrid_types::Message;

use super::Origin;
use crate::monitor::message_path;

const ENCRYPTION: HeaderName = HeaderName::from_static("encryption");
const CRYPTO_KEY: HeaderName = HeaderName::from_static("crypto-key");

/// The synthetic request: a `GET` of the message's own address, with the link to its push resource.
pub(super) fn promise(
    message: &Message,
    origin: &Origin,
    addresses: &ResourceAddresses,
    link: &HeaderValue,
) -> Option<Request<()>> {
    let mut promise = promise_of(origin, &message_path(addresses, message))?;
    //= RFC 8030 section 6.1
    //# The synthetic request MUST provide a URI for the push resource corresponding to the push message
    //# subscription in a link relation of type "urn:ietf:params:push".
    promise.headers_mut().insert(LINK, link.clone());
    Some(promise)
}

/// A synthetic request: a `GET` of a path at the origin of the request that is open.
pub(super) fn promise_of(origin: &Origin, path: &str) -> Option<Request<()>> {
    let uri = Uri::builder()
        .scheme(origin.scheme.clone())
        .authority(origin.authority.clone())
        .path_and_query(path)
        .build()
        .ok()?;
    Request::get(uri).body(()).ok()
}

/// The answer that is a receipt: its status, and nothing else (RFC 8030 section 6.3).
pub(super) fn receipt(status: StatusCode) -> Response<()> {
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    answer
}

/// The answer to the synthetic request, without the body.
pub(crate) fn answer(message: &Message, link: &HeaderValue) -> Option<Response<()>> {
    let mut answer = Response::new(());
    fields(message, answer.headers_mut())?;
    answer.headers_mut().insert(LINK, link.clone());
    Some(answer)
}

/// The fields of a message as its user agent reads it: those that the body needs to be decrypted, as they came, and when
/// it was accepted.
fn fields(message: &Message, fields: &mut HeaderMap) -> Option<()> {
    //= RFC 8030 section 5.3
    //# The push service MUST NOT forward the Urgency header field to the user agent.
    //= RFC 8030 section 5.4
    //# The value of the Topic header field MUST NOT be forwarded to user agents.
    let content = &message.content;
    let of_sender = [
        (CONTENT_TYPE, &content.content_type),
        (CONTENT_ENCODING, &content.encoding),
        (ENCRYPTION, &content.encryption),
        (CRYPTO_KEY, &content.crypto_key),
    ];
    for (name, value) in of_sender {
        if let Some(value) = value {
            fields.insert(name, HeaderValue::from_str(value).ok()?);
        }
    }
    let accepted_at = UNIX_EPOCH + Duration::from_secs(message.accepted_at.as_secs());
    fields.insert(LAST_MODIFIED, HeaderValue::try_from(httpdate::fmt_http_date(accepted_at)).ok()?);
    // Server push asks for an answer that may be cached (RFC 9113 section 8.4); no other may have it.
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    fields.insert(CONTENT_LENGTH, content.body.len().into());
    Some(())
}
