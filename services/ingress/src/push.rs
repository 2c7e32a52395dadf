//! `POST` to a push resource (RFC 8030 section 5): the checks in their order, then the log, then the answer.

mod authorize;
mod content;
mod fields;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pushgrid_store::{StoreError, Usage};
use pushgrid_types::{Content, Message, MessageId, MessageRef, Sequence, SubscriptionRef, Ttl};

use crate::refusal::Refusal;
use crate::shared::Shared;

/// The answer to an accepted message.
#[derive(Debug)]
pub(crate) struct Accepted {
    location: String,
    ttl: Ttl,
}

/// Who lacks the key of a restricted subscription learns nothing about it: the key comes before the look-up.
pub(crate) async fn push(ingress: &Shared, token: &str, request: Request) -> Result<Accepted, Refusal> {
    let (head, body) = request.into_parts();
    let endpoint = ingress.deps.tokens.open(token).ok_or(Refusal::NotAnEndpoint)?;
    content::check_length(&head.headers, ingress.config.max_body)?;
    let _permit = ingress.in_flight.try_acquire().map_err(|_| Refusal::Overloaded)?;
    let sender = authorize::authorize(ingress, &endpoint, &head.headers)?;
    let waiting = look_up(ingress, &endpoint.to).await?;
    let asked = fields::parse(&head.headers)?;
    let envelope = content::envelope(&head.headers, ingress.config.require_encryption)?;
    ingress.rates.take(endpoint.to.user_agent).map_err(|retry| Refusal::TooMany { retry })?;
    check_mailbox(ingress, waiting)?;
    let body = content::read(body, ingress.config.max_body, ingress.config.body_timeout).await?;
    let content = Content {
        trace_parent: fields::trace_parent(&head.headers),
        ..envelope.seal(body, sender.as_ref())?
    };

    let accepted_at = ingress.deps.clock.now();
    let ttl = asked.ttl.at_most(ingress.config.max_ttl);
    let message = Message {
        id: MessageId::random(&*ingress.deps.rng),
        to: endpoint.to,
        sequence: Sequence::default(),
        accepted_at,
        ttl,
        expires_at: Message::expiry(accepted_at, ttl),
        urgency: asked.urgency,
        topic: asked.topic,
        content,
    };
    let (id, SubscriptionRef { user_agent, channel, .. }) = (message.id, message.to);
    let sequence = append(ingress, message).await?;
    let address = ingress.deps.addresses.seal(&MessageRef { user_agent, channel, id, sequence });
    Ok(Accepted { location: format!("{}/m/{address}", ingress.deps.public_url), ttl })
}

/// What the user agent has waiting. A subscription that cannot be looked up is not gone: senders delete on 404 and 410,
/// and retry on 503. One that is not in the directory is gone only when its router says so, too: a directory can lose the
/// last of what it was told.
async fn look_up(ingress: &Shared, to: &SubscriptionRef) -> Result<Usage, Refusal> {
    if let Some(waiting) = ingress.deps.directory.look_up(to).await.map_err(unavailable)? {
        return Ok(waiting);
    }
    match ingress.deps.router.alive(*to).await {
        Ok(true) => Ok(Usage::default()),
        Ok(false) => Err(Refusal::Gone { status: ingress.config.gone_status }),
        Err(error) => {
            tracing::warn!(%error, "could not ask a router whether a subscription is alive");
            Err(Refusal::Store)
        }
    }
}

/// Room for a message is refused before it is promised: nothing that was accepted is ever thrown out for another.
fn check_mailbox(ingress: &Shared, waiting: Usage) -> Result<(), Refusal> {
    let full = waiting.messages >= ingress.config.max_waiting_messages
        || waiting.octets >= ingress.config.max_waiting_octets;
    if full { Err(Refusal::MailboxFull) } else { Ok(()) }
}

/// Past the time-out nobody knows whether the message was kept, and the answer must not say that it was.
async fn append(ingress: &Shared, message: Message) -> Result<Sequence, Refusal> {
    match tokio::time::timeout(ingress.config.append_timeout, ingress.deps.log.append(message)).await {
        Ok(appended) => appended.map_err(unavailable),
        Err(_elapsed) => {
            tracing::warn!("the log did not take a message in time");
            Err(Refusal::Store)
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn unavailable(error: StoreError) -> Refusal {
    tracing::warn!(error = &error as &dyn std::error::Error, "a store failed");
    Refusal::Store
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let mut fields = HeaderMap::with_capacity(2);
        let location = HeaderValue::try_from(self.location).expect("a checked origin and base64url");
        fields.insert(header::LOCATION, location);
        fields.insert(HeaderName::from_static("ttl"), HeaderValue::from(self.ttl.as_secs()));
        (StatusCode::CREATED, fields).into_response()
    }
}
