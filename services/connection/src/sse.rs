//! Server-Sent Events: the connection of a user agent that reads a subscription by an HTTP request (RFC 8030 section 6),
//! with the events of [`pushgrid_session::sse`].
//!
//! The request says all that a user agent has to say: it is the identity, and ends with its reader. Acknowledgements
//! come by other requests, perhaps to other nodes (`resources`), so a message is the user agent's once it is sent, and
//! the router's window alone bounds those that are not acknowledged.

mod stream;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pushgrid_crypto::ResourceAddresses;
use pushgrid_session::sse::{self, Close};
use pushgrid_types::{CloseReason, Message, MessageRef, SubscriptionRef, Timestamp, Urgency};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

use self::stream::{Gone, Writer};
use crate::end::End;
use crate::protocol::{Command, Input, Output, Protocol};
use crate::router_session::Answer;

pub(crate) use stream::Reader;

/// Time without a message after which a stream that does not wait has had all that waited. Nobody tells a node that a
/// mailbox is empty; reading a page takes a few milliseconds.
const QUIET: Duration = Duration::from_millis(500);

/// The subscription that is read, in the words of the request.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) id: SubscriptionRef,
    /// Path of the request, which names the subscription in the events.
    pub(crate) path: String,
    /// True if the user agent asks only for what waits (`Prefer: wait=0`).
    pub(crate) is_brief: bool,
    /// Least urgency of the messages that are wanted (`Urgency`).
    pub(crate) min_urgency: Urgency,
}

/// Beginning of the answer to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// Events follow.
    Events,
    /// Nothing waits, and no more was asked for.
    Empty,
    /// There is no such subscription (any more).
    Gone,
    /// Nobody can say now.
    Unavailable,
}

/// One connection by Server-Sent Events.
pub(crate) struct Sse {
    target: Target,
    addresses: ResourceAddresses,
    writer: Writer,
    /// Receiver of the head, until it is told.
    head: Option<oneshot::Sender<Head>>,
    is_identified: bool,
    /// A keep-alive is on its way: once it is taken, the client is there.
    is_probed: bool,
    /// Runs in a brief stream that has begun.
    quiet: Option<Pin<Box<Sleep>>>,
}

/// The claim of the request.
pub(crate) struct Claim;

/// No fault: nothing is read from the user agent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NoFault {}

impl From<NoFault> for CloseReason {
    fn from(none: NoFault) -> Self {
        match none {}
    }
}

/// No answer without the router.
pub(crate) enum NoReply {}

impl Sse {
    /// A connection, the body of the answer, and its head, which is told when the subscription was found.
    pub(crate) fn new(
        target: Target,
        addresses: ResourceAddresses,
    ) -> (Self, Reader, oneshot::Receiver<Head>) {
        let ((writer, reader), (head, told)) = (stream::new(), oneshot::channel());
        let connection = Self {
            target,
            addresses,
            writer,
            head: Some(head),
            is_identified: false,
            is_probed: false,
            quiet: None,
        };
        (connection, reader, told)
    }

    /// Tells the head, once.
    fn tell(&mut self, head: Head) {
        if let Some(receiver) = self.head.take() {
            // A client that has gone needs none.
            let _ = receiver.send(head);
        }
    }

    fn event(&self, message: &Message) -> String {
        let to = message.to;
        let sealed;
        let subscription = if to == self.target.id {
            self.target.path.as_str()
        } else {
            sealed = format!("/s/{}", self.addresses.seal_subscription(&to));
            sealed.as_str()
        };
        let delivery = MessageRef {
            user_agent: to.user_agent,
            channel: to.channel,
            id: message.id,
            sequence: message.sequence,
        };
        let address = format!("/r/{}", self.addresses.seal_delivery(&delivery));
        sse::message(message, sse::Addresses { subscription, message: &address })
    }
}

impl From<Gone> for End<NoFault> {
    fn from(_: Gone) -> Self {
        // Hanging up is the only goodbye.
        Self::For(CloseReason::Client)
    }
}

impl Protocol for Sse {
    const NAME: &'static str = "sse";

    const ACKNOWLEDGES: bool = false;

    type Request = Claim;
    type Reply = NoReply;
    type Fault = NoFault;

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Input<Claim>, End<NoFault>>> {
        if !self.is_identified {
            self.is_identified = true;
            return Poll::Ready(Ok(Input::Request(Claim)));
        }
        if let Poll::Ready(gone) = self.writer.poll_gone(cx) {
            return Poll::Ready(Err(gone.into()));
        }
        if self.is_probed && self.writer.poll_taken(cx).is_ready() {
            self.is_probed = false;
            return Poll::Ready(Ok(Input::Alive));
        }
        if let Some(quiet) = &mut self.quiet
            && quiet.as_mut().poll(cx).is_ready()
        {
            self.quiet = None;
            self.tell(Head::Empty);
            return Poll::Ready(Ok(Input::Goodbye));
        }
        Poll::Pending
    }

    fn decode(&mut self, Claim: Claim, _: Timestamp) -> Result<Command<NoReply>, End<NoFault>> {
        let claimed = Some(self.target.id.user_agent);
        Ok(Command::Identify { claimed, min_urgency: self.target.min_urgency })
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<NoFault>>> {
        self.writer.poll_room(cx).map_err(End::from)
    }

    fn put(&mut self, output: Output<'_, NoReply>) -> Result<(), End<NoFault>> {
        match output {
            Output::Answer(Answer::Identified(user_agent)) if user_agent == self.target.id.user_agent => {
                if self.target.is_brief {
                    self.quiet = Some(Box::pin(sleep(QUIET)));
                } else {
                    self.tell(Head::Events);
                }
            }
            // A new identity is for one that is not known: it has no subscription.
            Output::Answer(Answer::Identified(_)) => {
                self.tell(Head::Gone);
                return Err(End::For(CloseReason::Client));
            }
            // Nobody has asked.
            Output::Answer(
                Answer::Registered { .. } | Answer::Unregistered { .. } | Answer::UrgencySet(_),
            ) => {}
            Output::Message(message) => {
                self.tell(Head::Events);
                self.writer.write(&self.event(message));
                if let Some(quiet) = &mut self.quiet {
                    quiet.as_mut().reset(Instant::now() + QUIET);
                }
            }
            Output::Probe => {
                self.writer.write(sse::KEEP_ALIVE);
                self.is_probed = true;
            }
            Output::Reply(none) => match none {},
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<NoFault>>> {
        self.writer.poll_taken(cx).map_err(End::from)
    }

    async fn close(&mut self, why: End<NoFault>) {
        let close = Close::of(why.reason());
        if self.head.is_some() {
            // The one that came later gets what waits.
            self.tell(if close == Close::Superseded { Head::Empty } else { Head::Unavailable });
            return;
        }
        self.writer.write(close.event());
        // One that has gone needs no goodbye.
        let _ = std::future::poll_fn(|cx| self.writer.poll_taken(cx)).await;
    }
}

#[cfg(test)]
mod tests;
