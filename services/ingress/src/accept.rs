//! Acceptance of a message in any dialect: recipient, sender and content in; accepted or refused out.
//!
//! A dialect presents its request as a [`Submission`], whose parts are asked for one after the other: the
//! order of the checks decides how much a sender may learn from an answer. The body of [`accept`] is this
//! order, the same for all dialects. [`cancel`] takes a message back.
//!
//! Log lines are in the span of their request ([`Request`]).
//!
//! Not here: HTTP. Neither the form of a request nor of an answer; a [`Refusal`] is a reason, put into words
//! by each dialect.
//!
//! Invariant: a message is accepted only after [`pushgrid_store::EventLog::append`] has returned (promise
//! P1).
//! Invariant: a refused request has changed nothing.

mod cancel;
mod receipts;
mod recipient;
mod refusal;
mod sender;
mod submission;

use pushgrid_crypto::SealedEndpoint;
use pushgrid_runtime::Outage;
use pushgrid_runtime::spans::Request;
use pushgrid_types::{
    Content, Message, MessageId, MessageRef, ReceiptRequest, Sequence, SubscriptionRef, Ttl,
};
use tracing::Level;

pub(crate) use cancel::cancel;
pub(crate) use refusal::{Credential, Refusal};
pub(crate) use sender::Sender;
pub(crate) use submission::{Receipts, Submission, Terms};

use crate::shared::Shared;

/// An accepted message, for the dialect's answer.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The message; sealed, this is the address for a cancellation.
    pub(crate) message: MessageRef,
    /// Time to live as granted.
    pub(crate) ttl: Ttl,
    /// The receipt subscription that gets the receipt, if one was asked for.
    pub(crate) receipts: Option<SubscriptionRef>,
}

/// Accepts a message to the subscription of an endpoint token, or refuses it.
///
/// A sender without the credential of a restricted subscription learns nothing about the subscription: the
/// sender comes before the look-up. Nor does anybody learn whether an invalid endpoint was ever a valid one:
/// both go the same way, up to the look-up.
pub(crate) async fn accept<S: Submission>(
    ingress: &Shared,
    token: &str,
    submission: S,
) -> Result<Accepted, S::Refusal> {
    let endpoint = ingress.tokens.open(token);
    let user_agent = endpoint.as_ref().map(|endpoint| endpoint.to.user_agent);
    let request = Request::new(S::DIALECT, user_agent, submission.trace_parent());
    let answer = request.around(take(ingress, &request, endpoint, submission)).await;
    if tracing::enabled!(Level::DEBUG) {
        request.span().in_scope(|| match &answer {
            Ok(Accepted { message, .. }) => {
                tracing::debug!(message_id = ?message.id, "a message is accepted");
            }
            Err(refusal) => {
                tracing::debug!(reason = S::label(refusal), "a message is refused");
            }
        });
    }
    answer
}

/// The checks in order, then the log.
async fn take<S: Submission>(
    ingress: &Shared,
    request: &Request,
    endpoint: Option<SealedEndpoint>,
    mut submission: S,
) -> Result<Accepted, S::Refusal> {
    submission::check_length(submission.length(), ingress.config.max_body)?;
    let _permit = ingress.in_flight.try_acquire().map_err(|_| Refusal::Overloaded)?;
    let sender = submission.sender()?;
    sender::authorize(endpoint.as_ref(), &sender, ingress.config.require_vapid)?;
    let endpoint = endpoint.ok_or(Refusal::NotAnEndpoint)?;
    let waiting = recipient::look_up(ingress, request, &endpoint.to).await?;
    let terms = submission.terms()?;
    ingress.rates.take(endpoint.to.user_agent).map_err(|retry| Refusal::TooMany { retry })?;
    recipient::check_room(ingress, waiting)?;
    receipts::check(ingress, request, terms.receipts).await?;
    let content = submission.content(&sender).await?;
    let content = Content { trace_parent: request.trace().cloned(), ..content };

    let receipt = receipts::ask(ingress, request, terms.receipts).await?;
    let message = stamp(ingress, endpoint.to, terms, receipt, content);
    let (id, ttl) = (message.id, message.ttl);
    let SubscriptionRef { user_agent, channel, .. } = message.to;
    let sequence = append(ingress, request, message).await?;
    let receipts = receipt.map(|asked| asked.to);
    Ok(Accepted { message: MessageRef { user_agent, channel, id, sequence }, ttl, receipts })
}

/// The message for the log: named, and with its life cut to the granted time and begun.
fn stamp(
    ingress: &Shared,
    to: SubscriptionRef,
    terms: Terms,
    receipt: Option<ReceiptRequest>,
    content: Content,
) -> Message {
    let accepted_at = ingress.clock.now();
    //= RFC 8030 section 5.2
    //# This TTL value MUST be less than or equal to the value provided by the application server.
    let ttl = terms.ttl.at_most(ingress.config.max_ttl);
    Message {
        id: MessageId::random(&*ingress.rng),
        to,
        sequence: Sequence::default(),
        accepted_at,
        ttl,
        expires_at: Message::expiry(accepted_at, ttl),
        urgency: terms.urgency,
        topic: terms.replaces,
        receipt: receipt.map(Box::new),
        content,
    }
}

/// Appends to the log. Past the time-out the fate of the message is unknown, and the answer must not claim
/// success.
async fn append(ingress: &Shared, request: &Request, message: Message) -> Result<Sequence, Refusal> {
    match tokio::time::timeout(ingress.config.append_timeout, ingress.log.append(message)).await {
        Ok(Ok(sequence)) => {
            ingress.outages.append.worked();
            Ok(sequence)
        }
        Ok(Err(error)) => Err(failed(&ingress.outages.append, request, &error)),
        Err(elapsed) => Err(failed(&ingress.outages.append, request, &elapsed)),
    }
}

/// The refusal during an outage. The log tells of each outage once, with the first request that met it.
fn failed(outage: &Outage, request: &Request, error: &(dyn std::error::Error + 'static)) -> Refusal {
    request.span().in_scope(|| outage.failed(error));
    Refusal::Store
}
