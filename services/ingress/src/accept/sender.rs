//! Authorization: the credential of the sender against the one required by the subscription.

use pushgrid_crypto::SealedEndpoint;
use pushgrid_crypto::vapid::{PublicKey, Verified};
use pushgrid_types::Restriction;

use super::refusal::{Credential, Refusal};

/// The sender, as far as the request proves an identity. A dialect makes one only of a verified credential.
#[derive(Debug)]
pub(crate) struct Sender {
    /// The restriction fulfilled by the credential; [`Restriction::Open`] without a credential.
    pub(crate) fulfils: Restriction,
    /// The VAPID key of the credential, which must differ from the key of the message's encryption (RFC 8292
    /// section 3.2).
    pub(crate) vapid_key: Option<PublicKey>,
}

impl Sender {
    /// A sender without a credential.
    pub(crate) const ANONYMOUS: Self = Self { fulfils: Restriction::Open, vapid_key: None };
}

impl From<Verified> for Sender {
    fn from(verified: Verified) -> Self {
        Self { fulfils: Restriction::VapidKey(verified.hash), vapid_key: Some(verified.key) }
    }
}

/// The kind of credential required by a restriction; `None` when open to all.
const fn wanted(restriction: Restriction) -> Option<Credential> {
    match restriction {
        Restriction::Open => None,
        Restriction::VapidKey(_) => Some(Credential::VapidKey),
        Restriction::ApiKey(_) => Some(Credential::ApiKey),
        Restriction::Signature(_) => Some(Credential::Signature),
    }
}

/// Checks the sender's right to send to the subscription. An invalid endpoint is treated as one open to all;
/// `identified` refuses anonymous senders there, too.
pub(super) fn authorize(
    endpoint: Option<&SealedEndpoint>,
    sender: &Sender,
    identified: bool,
) -> Result<(), Refusal> {
    let restriction = endpoint.map_or(Restriction::Open, |endpoint| endpoint.restriction);
    let anonymous = sender.fulfils == Restriction::Open;
    //= RFC 8292 section 4.2
    //# A push service MUST reject a message sent to a restricted push message subscription if that message
    //# includes no "vapid" authentication or invalid "vapid" authentication.
    match wanted(restriction) {
        None if anonymous && identified => Err(Refusal::Anonymous),
        None => Ok(()),
        Some(_) if sender.fulfils == restriction => Ok(()),
        Some(wanted) if anonymous => Err(Refusal::NoCredential { wanted }),
        Some(wanted) => Err(Refusal::OtherCredential { wanted }),
    }
}
