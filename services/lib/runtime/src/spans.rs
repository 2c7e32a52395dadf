//! Spans: what a log line is about, and the trace that a message belongs to. Names and fields stand here alone, for
//! operators search by them.
//!
//! | span | around | fields |
//! |---|---|---|
//! | `partition` | the stay of a partition at a router, from take-over to hand-over | `partition`; `leader_epoch` from the claim on (standalone has none) |
//! | `request` | a request of an application server | `dialect`; `user_agent`, once the token was opened; `trace_id` and `parent_id`, if a `traceparent` came |
//! | `session` | a log line about a connection of a user agent | `protocol`, `session`; `user_agent`, once it is known |
//! | `route`, `deliver`, `send`, `settle` | a step of a message with a trace context: the router's decision, the hand-over to a session, the frame to the user agent, the end | `message_id`, `user_agent`, `trace_id`, `parent_id` |
//!
//! `user_agent`, `session` and `message_id` are fingerprints. `trace_id` and `parent_id` are parts of the `traceparent` of
//! the sender (W3C Trace Context section 3.2.2).
//!
//! A span costs 0.6 µs and more with its fields, over a hundredth of what a message costs in all. So one that lasts is made
//! for what lasts (`partition`) and for what its sender has sampled (`request`); else a span is made when a line is
//! logged, and gone after it. The steps of a message are of level `debug` and target [`MESSAGES`]. A connection that is
//! idle has no span.
//!
//! Invariant: no identifier, token, address, key or body is in a field.
//! Invariant: a message without a trace context makes no span on its way.

use std::fmt;

use pushgrid_types::{LeaderEpoch, Message, MessageId, Partition, SessionRef, TraceParent, UserAgentId};
use tracing::field::Empty;
use tracing::instrument::{Instrument, Instrumented};
use tracing::{Span, debug_span, error_span};

/// Target of `partition`, `request` and `session`. They are made whatever the filter says ([`crate::logs`]): a line
/// that is logged says what it is about.
pub(crate) const CONTEXT: &str = "pushgrid::context";

/// Target of the steps of messages with a trace context, for a filter such as `info,pushgrid::message=debug`.
pub const MESSAGES: &str = "pushgrid::message";

/// Span of a partition, for its future at a router.
pub fn partition(partition: Partition) -> Span {
    error_span!(target: CONTEXT, "partition", partition = partition.0, leader_epoch = Empty)
}

/// Adds the leader epoch to the span of the partition that the caller runs in.
pub fn leads(leader_epoch: LeaderEpoch) {
    Span::current().record("leader_epoch", leader_epoch.0);
}

/// A request of an application server, as log lines name it.
#[derive(Debug)]
pub struct Request {
    dialect: &'static str,
    user_agent: Option<UserAgentId>,
    trace: Option<TraceParent>,
    /// Span of the whole request, if its sender sampled the trace.
    whole: Span,
}

impl Request {
    /// A request to `user_agent`, if its token was one.
    pub fn new(dialect: &'static str, user_agent: Option<UserAgentId>, trace: Option<TraceParent>) -> Self {
        let mut request = Self { dialect, user_agent, trace, whole: Span::none() };
        if request.trace.as_ref().is_some_and(TraceParent::is_sampled) {
            request.whole = request.make();
        }
        request
    }

    /// Runs the work of the request in its span. Costs nothing unless the sender sampled the trace.
    pub fn around<F: Future>(&self, work: F) -> Instrumented<F> {
        work.instrument(self.whole.clone())
    }

    /// Span for a log line about the request.
    pub fn span(&self) -> Span {
        if self.whole.is_disabled() { self.make() } else { self.whole.clone() }
    }

    /// Trace context of the request, for its message.
    pub fn trace(&self) -> Option<&TraceParent> {
        self.trace.as_ref()
    }

    fn make(&self) -> Span {
        error_span!(
            target: CONTEXT,
            "request",
            dialect = self.dialect,
            user_agent = self.user_agent.map(tracing::field::debug),
            trace_id = self.trace.as_ref().map(TraceParent::trace_id),
            parent_id = self.trace.as_ref().map(TraceParent::parent_id),
        )
    }
}

/// A connection of a user agent, as log lines name it.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    /// Protocol that the user agent speaks.
    pub protocol: &'static str,
    /// The connection.
    pub session: SessionRef,
    /// The user agent, once that is known.
    pub user_agent: Option<UserAgentId>,
}

impl Session {
    /// Span for a log line about the connection, made for that line: a connection keeps none.
    pub fn span(&self) -> Span {
        error_span!(
            target: CONTEXT,
            "session",
            protocol = self.protocol,
            session = ?Fingerprint(self.session),
            user_agent = self.user_agent.map(tracing::field::debug),
        )
    }
}

struct Fingerprint(SessionRef);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionRef(~{:08x})", self.0.fingerprint())
    }
}

/// Makes the span of a step, which is none without a trace context.
macro_rules! step {
    ($name:literal, $user_agent:expr, $message:expr, $trace:expr) => {
        match $trace {
            Some(trace) => debug_span!(
                target: MESSAGES,
                $name,
                message_id = ?$message,
                user_agent = ?$user_agent,
                trace_id = trace.trace_id(),
                parent_id = trace.parent_id(),
            ),
            None => Span::none(),
        }
    };
}

/// Span of a router's decision where a message goes.
#[inline]
pub fn route(message: &Message) -> Span {
    step!("route", message.to.user_agent, message.id, &message.content.trace_parent)
}

/// Span of the hand-over of a message to a session, at the node.
#[inline]
pub fn deliver(message: &Message) -> Span {
    step!("deliver", message.to.user_agent, message.id, &message.content.trace_parent)
}

/// Span of the frame that brings a message to its user agent.
#[inline]
pub fn send(message: &Message) -> Span {
    step!("send", message.to.user_agent, message.id, &message.content.trace_parent)
}

/// Span of the end of a message that a user agent, or its node, reports.
#[inline]
pub fn settle(user_agent: UserAgentId, message: MessageId, trace: Option<&TraceParent>) -> Span {
    step!("settle", user_agent, message, trace)
}

#[cfg(test)]
mod tests;
