use http::{HeaderMap, HeaderName, header};
use pushgrid_crypto::SealedEndpoint;
use pushgrid_crypto::vapid::{PublicKey, VapidError};

use crate::refusal::Refusal;
use crate::shared::Shared;

/// Who sends (RFC 8292): the key, where a valid token came with it. Nothing of an invalid token is used.
pub(super) fn authorize(
    ingress: &Shared,
    endpoint: &SealedEndpoint,
    fields: &HeaderMap,
) -> Result<Option<PublicKey>, Refusal> {
    let authorization = lines(fields, &header::AUTHORIZATION)?;
    let crypto_key = lines(fields, &HeaderName::from_static("crypto-key"))?;
    let now = ingress.deps.clock.now();
    let sender = ingress.deps.verifier.verify(&authorization, &crypto_key, now)?;
    match (endpoint.vapid, &sender) {
        (Some(_), None) => Err(Refusal::NoVapid),
        (Some(restriction), Some(sender)) if sender.hash != restriction => Err(Refusal::OtherKey),
        (None, None) if ingress.config.require_vapid => Err(Refusal::VapidRequired),
        _ => Ok(sender.map(|sender| sender.key)),
    }
}

/// All lines of a field. One that is not visible ASCII cannot be any of ours.
fn lines<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Result<Vec<&'a str>, Refusal> {
    let lines = fields.get_all(name).iter();
    lines.map(|line| line.to_str().map_err(|_| Refusal::Vapid(VapidError::MalformedParameters))).collect()
}
