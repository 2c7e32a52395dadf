//! The ways in which VAPID authentication fails, each with a status and a text: the sender's remedy.
//!
//! Invariant: no error holds anything sent. The HTTP answer itself is made by the ingress.

use std::sync::Arc;

use super::{InvalidPublicKey, TOKEN_MAX};

/// HTTP status of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// 400: the request contradicts itself.
    Malformed = 400,
    /// 401: there is no VAPID authentication; goes with `WWW-Authenticate: vapid`.
    Unauthorized = 401,
    /// 403: the VAPID authentication is not valid (RFC 8292 section 4.2).
    Forbidden = 403,
}

impl Status {
    /// The HTTP status code.
    pub const fn as_u16(self) -> u16 {
        self as u16
    }
}

/// Reason for not identifying an application server. The text tells the sender the remedy, and holds nothing sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VapidError {
    /// Several `Authorization` fields.
    #[error("there are several Authorization fields: send one")]
    SeveralAuthorizations,
    /// `k` and `p256ecdsa` are both given, and differ.
    #[error(
        "k in Authorization and p256ecdsa in Crypto-Key are different keys: leave p256ecdsa out, or send k again"
    )]
    DifferentKeys,
    /// An authentication scheme other than VAPID.
    #[error(
        "this is not VAPID authentication: send `Authorization: vapid t=<token>, k=<public key>` (RFC 8292)"
    )]
    OtherScheme,
    /// The scheme of the draft without the key in `Crypto-Key`.
    #[error(
        "the public key is missing: send `Authorization: vapid t=<token>, k=<public key>`, \
         or add `Crypto-Key: p256ecdsa=<public key>`"
    )]
    MissingCryptoKey,
    /// Longer than any library sends.
    #[error(
        "the authentication is too long: send a token of at most {TOKEN_MAX} characters, without further claims"
    )]
    TooLong,
    /// The parameters after the scheme do not follow RFC 9110 section 11.2.
    #[error("the parameters of Authorization cannot be read: send `vapid t=<token>, k=<public key>`")]
    MalformedParameters,
    /// A parameter is given twice.
    #[error("a parameter is there twice: send each of t, k and p256ecdsa once")]
    RepeatedParameter,
    /// No `t`.
    #[error("the token is missing: send `Authorization: vapid t=<token>, k=<public key>`")]
    MissingToken,
    /// No `k`.
    #[error("the public key is missing: send `Authorization: vapid t=<token>, k=<public key>`")]
    MissingKey,
    /// The key is not a VAPID public key.
    #[error("the VAPID public key is not valid: {0}")]
    InvalidKey(#[from] InvalidPublicKey),
    /// Not three parts.
    #[error("the token is not a signed JWT: it must be three parts joined by dots")]
    NotThreeParts,
    /// A part not in canonical base64url.
    #[error("the parts of the token must be base64url without padding or white space")]
    NotBase64Url,
    /// The first part is not a JSON object with unique names.
    #[error("the header of the token must be a JSON object in which no name is there twice")]
    MalformedHeader,
    /// Another signature algorithm, or none.
    #[error("the token must be signed with ES256, and its header must say so in alg")]
    WrongAlgorithm,
    /// A critical extension.
    #[error("the header of the token must not have crit: VAPID knows no extensions")]
    CriticalExtension,
    /// Not the 64 octets of r and s.
    #[error("the signature must be the 64 octets of r and s (RFC 7515), not DER")]
    MalformedSignature,
    /// The signature is of another key or another text.
    #[error("the signature does not fit: sign with the private key that belongs to the public key you send")]
    WrongSignature,
    /// The second part is not a JSON object with unique names.
    #[error("the claims of the token must be a JSON object in which no name is there twice")]
    MalformedClaims,
    /// No `exp`, or one other than a number.
    #[error("the token needs exp: a JSON number of seconds since 1970, at most 24 hours ahead")]
    MissingExpiry,
    /// `exp` has passed.
    #[error("the token has expired: sign a new one, and check the clock of the machine that signs")]
    Expired,
    /// `exp` is too far ahead.
    #[error("exp is more than 24 hours ahead: bring it closer, and give it in seconds, not milliseconds")]
    ExpiryTooFar,
    /// `nbf` is given and is not a number.
    #[error("nbf must be a JSON number of seconds since 1970, or be left out")]
    MalformedNotBefore,
    /// `nbf` is still to come.
    #[error("the token is not valid yet: check the clock of the machine that signs, or leave nbf out")]
    NotYetValid,
    /// No `aud`, or one other than a string or a list of strings.
    #[error("the token needs aud: a string, here {wanted}")]
    MissingAudience {
        /// The expected origin: this service's own, which is no secret.
        wanted: Arc<str>,
    },
    /// A token for another service.
    #[error("the token is for another service: set aud to {wanted}, the origin of the endpoint")]
    WrongAudience {
        /// The expected origin: this service's own, which is no secret.
        wanted: Arc<str>,
    },
}

impl VapidError {
    /// HTTP status of the answer, on restricted and open subscriptions alike.
    pub const fn status(&self) -> Status {
        match self {
            Self::SeveralAuthorizations | Self::DifferentKeys => Status::Malformed,
            Self::OtherScheme | Self::MissingCryptoKey => Status::Unauthorized,
            Self::TooLong
            | Self::MalformedParameters
            | Self::RepeatedParameter
            | Self::MissingToken
            | Self::MissingKey
            | Self::InvalidKey(_)
            | Self::NotThreeParts
            | Self::NotBase64Url
            | Self::MalformedHeader
            | Self::WrongAlgorithm
            | Self::CriticalExtension
            | Self::MalformedSignature
            | Self::WrongSignature
            | Self::MalformedClaims
            | Self::MissingExpiry
            | Self::Expired
            | Self::ExpiryTooFar
            | Self::MalformedNotBefore
            | Self::NotYetValid
            | Self::MissingAudience { .. }
            | Self::WrongAudience { .. } => Status::Forbidden,
        }
    }
}
