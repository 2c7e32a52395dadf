//! `POST` to a push resource (RFC 8030 section 5).

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pushgrid_types::{Content, TraceParent, Ttl};

use super::content::{self, Envelope};
use super::fault::Fault;
use super::{DIALECT, authorization, fields};
use crate::accept::{self, Accepted, Sender, Submission, Terms};
use crate::request;
use crate::shared::Shared;

/// The answer to an accepted message.
#[derive(Debug)]
pub(super) struct Created {
    location: String,
    ttl: Ttl,
    /// The receipt subscription, if the message has a receipt.
    receipts: Option<String>,
}

/// Has the message of a request accepted.
pub(super) async fn push(ingress: &Shared, token: &str, request: Request) -> Result<Created, Fault> {
    let (head, body) = request.into_parts();
    let post = Post { ingress, head, body, envelope: Envelope::default() };
    let Accepted { message, ttl, receipts } = accept::accept(ingress, token, post).await?;
    let address = ingress.addresses.seal(&message);
    let receipts = receipts
        .map(|id| format!("{}{}{}", ingress.receipts_url, fields::RECEIPTS_PATH, ingress.receipts.seal(&id)));
    Ok(Created { location: format!("{}/m/{address}", ingress.public_url), ttl, receipts })
}

/// A request as a submission.
struct Post<'a> {
    ingress: &'a Shared,
    head: Parts,
    body: Body,
    /// Empty until the terms have been read.
    envelope: Envelope,
}

impl Submission for Post<'_> {
    type Refusal = Fault;

    const DIALECT: &'static str = DIALECT;

    fn label(refusal: &Fault) -> Option<&'static str> {
        refusal.label()
    }

    fn trace_parent(&self) -> Option<TraceParent> {
        fields::trace_parent(&self.head.headers)
    }

    fn length(&self) -> Option<u64> {
        request::length(&self.head.headers)
    }

    fn sender(&self) -> Result<Sender, Fault> {
        authorization::sender(self.ingress, &self.head.headers)
    }

    fn terms(&mut self) -> Result<Terms, Fault> {
        let terms = fields::parse(&self.head.headers, &self.ingress.receipts)?;
        self.envelope = content::envelope(&self.head.headers, self.ingress.config.require_encryption)?;
        Ok(terms)
    }

    async fn content(self, sender: &Sender) -> Result<Content, Fault> {
        let config = &self.ingress.config;
        let body = request::read(self.body, config.max_body, config.body_timeout).await?;
        self.envelope.seal(body, sender)
    }
}

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let mut fields = HeaderMap::with_capacity(3);
        //= RFC 8030 section 5
        //# A URI for the push message resource that was created in response to the request MUST be returned
        //# in the Location header field.
        let location = HeaderValue::try_from(self.location).expect("a checked origin and base64url");
        fields.insert(header::LOCATION, location);
        fields.insert(HeaderName::from_static("ttl"), HeaderValue::from(self.ttl.as_secs()));
        let Some(receipts) = self.receipts else { return (StatusCode::CREATED, fields).into_response() };
        //= RFC 8030 section 5.1
        //# The push service MUST also provide a URI for the receipt subscription resource in a link relation
        //# of type "urn:ietf:params:push:receipt".
        let link = format!("<{receipts}>; rel=\"{}\"", fields::RECEIPT);
        fields.insert(header::LINK, HeaderValue::try_from(link).expect("a checked origin and base64url"));
        //= RFC 8030 section 5.1
        //# When the push service accepts the message for delivery with confirmation, it MUST return a 202
        //# (Accepted) response.
        (StatusCode::ACCEPTED, fields).into_response()
    }
}
