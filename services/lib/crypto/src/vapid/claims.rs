//! Verification of one signed token: form, header, signature, times, audience.
//!
//! Invariant: no claim is used before the signature fits, and a token is good only within the times that it names,
//! give or take the leeways below. Remembering verified tokens is not done here.

use std::collections::BTreeMap;
use std::time::Duration;

use pushgrid_types::Timestamp;

use super::json::{self, Json};
use super::{Audiences, PublicKey, TOKEN_MAX, VapidError, signature};
use crate::text;

/// Furthest that `exp` may lie ahead (RFC 8292 section 2).
const LATEST_EXPIRY: Duration = Duration::from_hours(24);

/// Allowance for a sender's clock that is fast: for `exp` beyond 24 hours, and for `nbf`.
const LEEWAY_AHEAD: Duration = Duration::from_mins(2);

/// Allowance past `exp`: the clock of a sender may be slow, and a request takes its time.
const LEEWAY_PAST: Duration = Duration::from_mins(1);

/// The times between which a token is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    expires: Timestamp,
    not_before: Option<Timestamp>,
}

impl Validity {
    /// Fails with the reason when the token is not valid at `now`.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), VapidError> {
        if now > self.expires.plus(LEEWAY_PAST) {
            Err(VapidError::Expired)
        } else if self.expires > now.plus(LATEST_EXPIRY).plus(LEEWAY_AHEAD) {
            //= RFC 8292 section 2
            //# An "exp" claim MUST NOT be more than 24 hours from the time of the request.
            Err(VapidError::ExpiryTooFar)
        } else if self.not_before.is_some_and(|start| start > now.plus(LEEWAY_AHEAD)) {
            Err(VapidError::NotYetValid)
        } else {
            Ok(())
        }
    }
}

/// Verifies a whole token against the presented key: form, algorithm, signature, then claims, so that nothing
/// unsigned is used beyond the header. The answer holds for the times of [`Validity`].
pub(super) fn verify(
    token: &str,
    key: &PublicKey,
    audiences: &Audiences,
    now: Timestamp,
) -> Result<Validity, VapidError> {
    if token.len() > TOKEN_MAX {
        return Err(VapidError::TooLong);
    }
    //= RFC 8292 section 2
    //# The JWT MUST use a JSON Web Signature (JWS) [RFC7515].
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
    // Before the claims: nothing unsigned is used beyond the header.
    signature::verify(key, signed.as_bytes(), &signature)?;
    let claims = json::object(&claims).ok_or(VapidError::MalformedClaims)?;
    let validity = validity(&claims)?;
    validity.check(now)?;
    check_audience(claims.get("aud"), audiences)?;
    Ok(validity)
}

/// Checks the header (RFC 7515 section 4.1): `alg` is ES256 and `crit` is absent; other members have no effect here.
fn check_header(header: &BTreeMap<String, Json>) -> Result<(), VapidError> {
    if header.contains_key("crit") {
        return Err(VapidError::CriticalExtension);
    }
    //= RFC 8292 section 2
    //# The signature MUST use ECDSA on the NIST P-256 curve [FIPS186], which is identified as "ES256"
    //# [RFC7518].
    match header.get("alg") {
        Some(Json::Text(algorithm)) if algorithm == "ES256" => Ok(()),
        Some(_) | None => Err(VapidError::WrongAlgorithm),
    }
}

/// The times of the claims: `exp` and `nbf` of RFC 7519 sections 4.1.4 and 4.1.5.
fn validity(claims: &BTreeMap<String, Json>) -> Result<Validity, VapidError> {
    //= RFC 8292 section 2
    //# An "exp" (Expiry) claim MUST be included with the time after which the token expires.
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

/// A `NumericDate` (RFC 7519 section 2). A time before 1970 becomes 1970, and one too far ahead the last instant
/// there is: either is far from any present.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates, as it should; parts of a millisecond do not matter"
)]
fn numeric_date(seconds: f64) -> Timestamp {
    Timestamp::from_millis((seconds * 1000.0) as u64)
}

/// Compares `aud` (RFC 8292 section 2, RFC 7519 section 4.1.3): one string, or a list with this service among its
/// strings.
fn check_audience(claim: Option<&Json>, audiences: &Audiences) -> Result<(), VapidError> {
    //= RFC 8292 section 2
    //# An "aud" (Audience) claim in the token MUST include the Unicode serialization of the origin (Section
    //# 6.1 of [RFC6454]) of the push resource URL.
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
