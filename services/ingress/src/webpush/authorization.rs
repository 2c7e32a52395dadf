use http::{HeaderMap, HeaderName, header};
use pushgrid_crypto::vapid::VapidError;

use super::fault::Fault;
use crate::accept::Sender;
use crate::shared::Shared;

/// The holder of the VAPID key of a request (RFC 8292), if a valid token came with the request. Nothing of an
/// invalid token is used.
pub(super) fn sender(ingress: &Shared, fields: &HeaderMap) -> Result<Sender, Fault> {
    //= RFC 8292 section 3
    //# Therefore, this authentication scheme MUST NOT be used with the Proxy-Authenticate or
    //# Proxy-Authorization header fields.
    let authorization = lines(fields, &header::AUTHORIZATION)?;
    let crypto_key = lines(fields, &HeaderName::from_static("crypto-key"))?;
    let now = ingress.wall.wall();
    let verified = ingress.verifier.verify(&authorization, &crypto_key, now)?;
    Ok(verified.map_or(Sender::ANONYMOUS, Sender::from))
}

/// All lines of a field. A line with anything but visible ASCII cannot be any of ours.
fn lines<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Result<Vec<&'a str>, VapidError> {
    let lines = fields.get_all(name).iter();
    lines.map(|line| line.to_str().map_err(|_| VapidError::MalformedParameters)).collect()
}
