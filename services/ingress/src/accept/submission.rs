use std::future::Future;

use pushgrid_types::{Content, ReplaceKey, SubscriptionRef, TraceParent, Ttl, Urgency};

use super::{Refusal, Sender};

/// One request for the acceptance of a message, as read by its dialect. [`super::accept`] asks for the parts
/// in the order of the methods, each once, and for none after a refusal. So a fault in a part is told only to
/// a sender entitled to know the parts before.
pub(crate) trait Submission: Send {
    /// A refusal in the words of the dialect: the reasons of acceptance, and the faults of the dialect's own.
    type Refusal: From<Refusal> + Send;

    /// Name of the dialect in log lines.
    const DIALECT: &'static str;

    /// The word for a refusal in metrics and log lines.
    fn label(refusal: &Self::Refusal) -> Option<&'static str>;

    /// The trace begun by the sender, if any. An invalid trace context counts as none.
    fn trace_parent(&self) -> Option<TraceParent>;

    /// The announced length of the body in octets, if any.
    fn length(&self) -> Option<u64>;

    /// Verifies the sender's credential. An invalid one is a refusal, and nothing of the credential is used.
    fn sender(&self) -> Result<Sender, Self::Refusal>;

    /// Reads the terms of the message, and checks everything about the content known before the body.
    fn terms(&mut self) -> Result<Terms, Self::Refusal>;

    /// Receives the body and checks the content, in the form for the user agent.
    fn content(self, sender: &Sender) -> impl Future<Output = Result<Content, Self::Refusal>> + Send;
}

/// The sender's wishes for a message.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Time to live as asked for; the service may grant less.
    pub(crate) ttl: Ttl,
    /// Urgency of the message.
    pub(crate) urgency: Urgency,
    /// Receipts that are wished for.
    pub(crate) receipts: Receipts,
    /// Key under which the message replaces a waiting one; a dialect other than Web Push has a namespace of
    /// its own.
    pub(crate) replaces: Option<ReplaceKey>,
}

/// The sender's wish for a receipt (RFC 8030 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Receipts {
    /// None.
    #[default]
    Unwanted,
    /// None, though a receipt subscription is named, which has to be a valid one.
    Named(SubscriptionRef),
    /// One, to a new receipt subscription.
    New,
    /// One, to this receipt subscription.
    To(SubscriptionRef),
}

/// Refuses a body too large by its announced length, before the body is sent.
pub(super) fn check_length(length: Option<u64>, limit: usize) -> Result<(), Refusal> {
    match length {
        Some(length) if length > limit as u64 => Err(Refusal::TooLarge { limit }),
        _ => Ok(()),
    }
}
