use std::collections::BTreeMap;
use std::time::Duration;

use pushgrid_types::Timestamp;

use super::json::{self, Json};
use super::{Audiences, PublicKey, VapidError, signature};
use crate::text;

/// The longest token that is looked at, in characters. Libraries send 250 to 400.
pub(super) const TOKEN_MAX: usize = 4096;

/// `exp` lies at most this far ahead (RFC 8292 section 2).
const LATEST_EXPIRY: Duration = Duration::from_hours(24);

/// How far the clock of a sender may be fast: for `exp` beyond 24 hours, and for `nbf`.
const LEEWAY_AHEAD: Duration = Duration::from_mins(2);

/// How long ago `exp` may be: the clock of a sender may be slow, and a request takes its time.
const LEEWAY_PAST: Duration = Duration::from_mins(1);

/// The times that a token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    expires: Timestamp,
    not_before: Option<Timestamp>,
}

impl Validity {
    /// Whether the token is valid now, and if not, why.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), VapidError> {
        if now > self.expires.plus(LEEWAY_PAST) {
            Err(VapidError::Expired)
        } else if self.expires > now.plus(LATEST_EXPIRY).plus(LEEWAY_AHEAD) {
            Err(VapidError::ExpiryTooFar)
        } else if self.not_before.is_some_and(|start| start > now.plus(LEEWAY_AHEAD)) {
            Err(VapidError::NotYetValid)
        } else {
            Ok(())
        }
    }
}

/// Checks a whole token against the key that should have signed it: form, algorithm, signature, then claims,
/// so that nothing unsigned is looked at beyond the header. The answer is for as long as `Validity` says.
pub(super) fn verify(
    token: &str,
    key: &PublicKey,
    audiences: &Audiences,
    now: Timestamp,
) -> Result<Validity, VapidError> {
    if token.len() > TOKEN_MAX {
        return Err(VapidError::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(VapidError::NotThreeParts)?;
    let (header, claims) = signed.split_once('.').ok_or(VapidError::NotThreeParts)?;
    if claims.contains('.') {
        return Err(VapidError::NotThreeParts);
    }
    let [header, claims, signature] = [header, claims, signature].map(text::decode_strictly);
    let header = header.ok_or(VapidError::NotBase64Url)?;
    let claims = claims.ok_or(VapidError::NotBase64Url)?;
    let signature = signature.ok_or(VapidError::NotBase64Url)?;

    check_header(&json::object(&header).ok_or(VapidError::MalformedHeader)?)?;
    signature::verify(key, signed.as_bytes(), &signature)?;
    let claims = json::object(&claims).ok_or(VapidError::MalformedClaims)?;
    let validity = validity(&claims)?;
    validity.check(now)?;
    check_audience(claims.get("aud"), audiences)?;
    Ok(validity)
}

/// RFC 7515 section 4.1: `alg` must be the one, `crit` must not be; every other member is without effect
/// here.
fn check_header(header: &BTreeMap<String, Json>) -> Result<(), VapidError> {
    if header.contains_key("crit") {
        return Err(VapidError::CriticalExtension);
    }
    match header.get("alg") {
        Some(Json::Text(algorithm)) if algorithm == "ES256" => Ok(()),
        Some(_) | None => Err(VapidError::WrongAlgorithm),
    }
}

/// RFC 7519 sections 4.1.4 and 4.1.5.
fn validity(claims: &BTreeMap<String, Json>) -> Result<Validity, VapidError> {
    let Some(Json::Number(expires)) = claims.get("exp") else {
        return Err(VapidError::MissingExpiry);
    };
    let not_before = match claims.get("nbf") {
        None => None,
        Some(Json::Number(start)) => Some(numeric_date(*start)),
        Some(_) => return Err(VapidError::MalformedNotBefore),
    };
    Ok(Validity { expires: numeric_date(*expires), not_before })
}

/// A `NumericDate` (RFC 7519 section 2). What lies before 1970 is taken as 1970, what lies too far ahead as
/// the last instant there is: either is far from any present.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates, as it should; parts of a millisecond do not matter"
)]
fn numeric_date(seconds: f64) -> Timestamp {
    Timestamp::from_millis((seconds * 1000.0) as u64)
}

/// RFC 8292 section 2 and RFC 7519 section 4.1.3: one string, or a list of strings that includes it.
fn check_audience(claim: Option<&Json>, audiences: &Audiences) -> Result<(), VapidError> {
    let missing = || VapidError::MissingAudience { wanted: audiences.wanted() };
    let accepted = match claim {
        Some(Json::Text(origin)) => audiences.accept(origin),
        Some(Json::Array(list)) => {
            let origins = list.iter().map(|item| match item {
                Json::Text(origin) => Some(origin),
                Json::Object(_) | Json::Array(_) | Json::Number(_) | Json::Other => None,
            });
            let origins: Option<Vec<_>> = origins.collect();
            origins.ok_or_else(missing)?.into_iter().any(|origin| audiences.accept(origin))
        }
        Some(Json::Object(_) | Json::Number(_) | Json::Other) | None => return Err(missing()),
    };
    if accepted { Ok(()) } else { Err(VapidError::WrongAudience { wanted: audiences.wanted() }) }
}
