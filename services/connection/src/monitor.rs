//! A request that monitors a resource (RFC 8030 section 6): what the protocols by which its answer comes have in common.
//!
//! The request says all that a user agent has to say: it is the identity, and ends with its reader. Acknowledgements come
//! by other requests, perhaps to other nodes (`resources`), so a message is the user agent's once it is sent, and the
//! router's window alone bounds those that are not acknowledged.
//!
//! Invariant: a request for one subscription is told nothing of any other: its address is a capability for this one (RFC
//! 8030 section 8.3).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pushgrid_crypto::ResourceAddresses;
use pushgrid_store::Resource;
use pushgrid_types::{CloseReason, Message, MessageRef, SubscriptionRef, Urgency, UserAgentId};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

use crate::end::End;
use crate::protocol::Command;

/// Time without a message after which a request that does not wait has had all that waited. Nobody tells a node that a
/// mailbox is empty; reading a page takes a few milliseconds.
const QUIET: Duration = Duration::from_millis(500);

/// Form of what the resource has for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Push messages, for a user agent.
    Messages,
    /// Receipts, for an application server (RFC 8030 section 6.3).
    Receipts,
}

/// The words of a request that monitors.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) resource: Resource,
    pub(crate) form: Form,
    /// Path of the request, by which its user agent knows the resource.
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
    /// Messages were pushed, and no more come.
    Pushed,
    /// No message has come, and none comes.
    Empty,
    /// There is no such resource (any more).
    Gone,
    /// Nobody can say now.
    Unavailable,
}

/// The request's part of a connection.
pub(crate) struct Monitor {
    target: Target,
    /// Receiver of the head, until it is told.
    head: Option<oneshot::Sender<Head>>,
    is_claimed: bool,
    /// Runs in a brief request that has begun.
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

impl Monitor {
    /// The monitor of a request, and the head of its answer.
    pub(crate) fn new(target: Target) -> (Self, oneshot::Receiver<Head>) {
        let (head, told) = oneshot::channel();
        (Self { target, head: Some(head), is_claimed: false, quiet: None }, told)
    }

    pub(crate) const fn resource(&self) -> Resource {
        self.target.resource
    }

    pub(crate) const fn form(&self) -> Form {
        self.target.form
    }

    /// Path of the request.
    pub(crate) fn own_path(&self) -> &str {
        &self.target.path
    }

    pub(crate) const fn is_brief(&self) -> bool {
        self.target.is_brief
    }

    /// Path of the subscription `of` for its user agent: as it came, if this one is monitored.
    pub(crate) fn path(&self, of: &SubscriptionRef, addresses: &ResourceAddresses) -> String {
        match self.target.resource {
            Resource::Subscription(id) if id == *of => self.target.path.clone(),
            Resource::Subscription(_) | Resource::Set(_) => {
                format!("/s/{}", addresses.seal_subscription(of))
            }
        }
    }

    /// The user agent that the request claims to be.
    const fn claimed(&self) -> UserAgentId {
        self.target.resource.user_agent()
    }

    /// Meaning of the claim.
    pub(crate) const fn identify(&self) -> Command<NoReply> {
        let min_urgency = self.target.min_urgency;
        Command::Identify { claimed: Some(self.claimed()), min_urgency, broadcasts: Vec::new() }
    }

    /// The claim, once.
    pub(crate) fn take_claim(&mut self) -> Option<Claim> {
        (!std::mem::replace(&mut self.is_claimed, true)).then_some(Claim)
    }

    /// Tells the head, once.
    pub(crate) fn tell(&mut self, head: Head) {
        if let Some(receiver) = self.head.take() {
            // A client that has gone needs none.
            let _ = receiver.send(head);
        }
    }

    /// True until the head is told.
    pub(crate) const fn is_untold(&self) -> bool {
        self.head.is_some()
    }

    /// Ready when the client has gone before the head was told.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Once it is told, the request may be over, and what was promised is still sent.
        self.head.as_mut().map_or(Poll::Pending, |head| head.poll_closed(cx))
    }

    /// Takes in the user agent that the router knows by the claim.
    pub(crate) fn identified(&mut self, user_agent: UserAgentId) -> Result<(), End<NoFault>> {
        if user_agent != self.claimed() {
            // A new identity is for one that is not known: it has no subscription.
            self.tell(Head::Gone);
            return Err(End::For(CloseReason::Client));
        }
        if self.target.is_brief {
            self.quiet = Some(Box::pin(sleep(QUIET)));
        }
        Ok(())
    }

    /// Checks that a message is for the resource. A user agent that has more subscriptions now has to read the set.
    pub(crate) fn check(&self, to: &SubscriptionRef) -> Result<(), End<NoFault>> {
        match self.target.resource {
            Resource::Subscription(id) if id != *to => Err(End::For(CloseReason::Superseded)),
            Resource::Subscription(_) | Resource::Set(_) => Ok(()),
        }
    }

    /// Notes a message: more may wait.
    pub(crate) fn message(&mut self) {
        if let Some(quiet) = &mut self.quiet {
            quiet.as_mut().reset(Instant::now() + QUIET);
        }
    }

    /// Ready once, when a request that does not wait has had all.
    pub(crate) fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let quiet = self.quiet.as_mut().map_or(Poll::Pending, |quiet| quiet.as_mut().poll(cx));
        if quiet.is_ready() {
            self.quiet = None;
        }
        quiet
    }
}

/// Path at which a user agent reads and acknowledges a message.
pub(crate) fn message_path(addresses: &ResourceAddresses, message: &Message) -> String {
    let delivery = MessageRef {
        user_agent: message.to.user_agent,
        channel: message.to.channel,
        id: message.id,
        sequence: message.sequence,
    };
    format!("/r/{}", addresses.seal_delivery(&delivery))
}
