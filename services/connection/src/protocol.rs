//! The seam between a connection and the protocol of its user agent.
//!
//! [`crate::connection`] decides on the messages to send and the time of each, on requests and reports to the
//! router, and on the end of a connection with its reason. A [`Protocol`] is one transport with a codec:
//! input comes out as a [`Command`], [`Output`] goes in. Another protocol is another implementation, a folder
//! of its own, and an entry in [`crate::Connections`].

use std::fmt;
use std::task::{Context, Poll};

use pushgrid_store::Settlement;
use pushgrid_types::{
    AskedBroadcast, ChannelId, CloseReason, Message, Restriction, Timestamp, Urgency, UserAgentId,
};
use smallvec::SmallVec;

use crate::broadcasts::Told;
use crate::end::End;
use crate::router_session::Answer;

/// Protocol of one connection.
///
/// Order of the calls, all by one task: [`Self::poll_input`] at any time but after an error; [`Self::decode`]
/// for each request polled, in order; [`Self::put`] once for each time [`Self::poll_room`] is ready; and
/// [`Self::poll_flush`] before the task waits, so that all output leaves. [`Self::close`] is the last call.
///
/// Polls register the task's waker, and may be given up at any time. Unread output is the caller's to bound:
/// a protocol needs no timer for it.
pub(crate) trait Protocol: Send + 'static {
    /// Name of the protocol in log lines.
    const NAME: &'static str;

    /// False if messages are acknowledged by other ways than [`Command::Acknowledge`]: then a message is owed until it
    /// is sent, and the router's window alone bounds those that are not acknowledged.
    const ACKNOWLEDGES: bool = true;

    /// Request as received, not decoded yet.
    type Request: Send;
    /// Answer made without the router.
    type Reply: Send;
    /// Fault of a user agent, in the words of this protocol.
    type Fault: Copy + fmt::Debug + Into<CloseReason> + Send;

    /// The next input.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Input<Self::Request>, EndOf<Self>>>;

    /// Meaning of a request. Until the answer to an [`Command::Identify`] was put, the next request is not
    /// decoded.
    fn decode(&mut self, request: Self::Request, now: Timestamp)
    -> Result<Command<Self::Reply>, EndOf<Self>>;

    /// Ready when one more output can be taken.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndOf<Self>>>;

    /// Takes one output, which need not leave before [`Self::poll_flush`].
    fn put(&mut self, output: Output<'_, Self::Reply>) -> Result<(), EndOf<Self>>;

    /// Ready when all output is with the operating system.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), EndOf<Self>>>;

    /// Tells the user agent why the connection ends. The caller bounds the time.
    fn close(&mut self, why: EndOf<Self>) -> impl Future<Output = ()> + Send;
}

/// End of a connection with protocol `P`.
pub(crate) type EndOf<P> = End<<P as Protocol>::Fault>;

/// Input of a user agent.
#[derive(Debug)]
pub(crate) enum Input<R> {
    /// A request.
    Request(R),
    /// A sign of life.
    Alive,
    /// A goodbye: the user agent waits only for the answers to earlier requests.
    Goodbye,
}

/// Meaning of a request.
#[derive(Debug)]
pub(crate) enum Command<R> {
    /// The user agent's claim of an identity, if it has one from an earlier connection, and the least urgency of the
    /// messages that it takes. Answered before any other output, with the versions of `broadcasts` that are new to it.
    Identify { claimed: Option<UserAgentId>, min_urgency: Urgency, broadcasts: Vec<AskedBroadcast> },
    /// Makes a subscription. Answered in order, as are the next three.
    Register { channel: ChannelId, restriction: Restriction },
    /// Asks for a subscription with an invalid key.
    RegisterWithBadKey { channel: ChannelId },
    /// Ends a subscription.
    Unregister { channel: ChannelId },
    /// Ends all subscriptions of the user agent, whose connection goes on.
    UnregisterAll,
    /// Sets the least urgency of the messages that are to come. Answered in order with the last four.
    SetUrgency { min_urgency: Urgency },
    /// Acknowledges messages, those of earlier connections too. No answer.
    Acknowledge(SmallVec<[Settlement; 1]>),
    /// Asks for broadcasts from now on. Answered if one is new to the user agent, or there is none of this id.
    Broadcasts(Vec<AskedBroadcast>),
    /// Wants an answer made without the router, and overtakes requests to the router.
    Reply(R),
    /// Wants nothing.
    Nothing,
}

/// Output to a user agent.
pub(crate) enum Output<'a, R> {
    /// The answer to a command.
    Answer(Answer),
    /// A push message, just checked for expiry.
    Message(&'a Message),
    /// Broadcasts that have changed, or were asked for.
    Broadcasts(Told),
    /// A question for a sign of life: any input is the answer.
    Probe,
    /// Answer made by [`Protocol::decode`].
    Reply(R),
}
