//! Server push of HTTP/2: the connection of a user agent that monitors a resource by an HTTP request, with each message
//! in an answer of its own that is pushed beside the open request (RFC 8030 section 6).

mod answer;
mod links;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use http::uri::{Authority, Scheme};
use pushgrid_crypto::{MessageAddresses, ResourceAddresses};
use pushgrid_runtime::http::{Pushed, Pusher};
use pushgrid_store::{LinkError, Resource, ResourceLink, Settlement};
use pushgrid_types::{Clock, CloseReason, Message, MessageId, Outcome, Receipt, Timestamp};
use smallvec::SmallVec;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use self::links::Links;

pub(crate) use answer::answer;
pub(crate) use links::link_to;

use crate::end::End;
use crate::monitor::{Claim, Form, Head, Monitor, NoFault, NoReply, Target};
use crate::protocol::{Command, Input, Output, Protocol};
use crate::router_session::Answer;

/// Pushed answers of a request on their way to the operating system; further messages wait.
const UNSENT_MAX: usize = 16;

/// Dependencies of a connection.
#[derive(Clone)]
pub(crate) struct Deps {
    /// Knows the push resources of subscriptions.
    pub(crate) link: Arc<dyn ResourceLink>,
    pub(crate) addresses: ResourceAddresses,
    /// Names the messages of receipts.
    pub(crate) messages: MessageAddresses,
    /// Judges for the last time whether a message has expired.
    pub(crate) clock: Arc<dyn Clock>,
}

/// Input of the request: the claim, and receipts that the client has taken, which acknowledges them.
pub(crate) enum Ask {
    Claim(Claim),
    Taken(SmallVec<[Settlement; 1]>),
}

/// A pushed answer on its way to the operating system.
struct Unsent {
    pushed: Pushed,
    expires_at: Timestamp,
    /// Id of the receipt, if it is one.
    receipt: Option<MessageId>,
}

/// Origin that the client has sent its request to: what is pushed has to be of the same (RFC 9113 section 8.4).
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

/// One connection by server push.
pub(crate) struct Push {
    monitor: Monitor,
    pusher: Pusher,
    origin: Origin,
    deps: Deps,
    links: Links,
    /// A message whose push resource is asked for; nothing overtakes it.
    waiting: Option<Message>,
    /// Pushed and perhaps not sent yet.
    unsent: VecDeque<Unsent>,
    /// Receipts that were sent, and are not known to have been taken.
    untaken: VecDeque<(Pushed, MessageId)>,
    /// Runs while an answer is unsent: a client that does not take it in time does not get it.
    expiry: Option<Pin<Box<Sleep>>>,
    has_pushed: bool,
    /// The connection below is pinged, so a client whose request is open is there.
    is_probed: bool,
}

impl Push {
    /// A connection, and the head of the answer to the request, told at the end. `endpoint` is the push resource of a
    /// subscription, when one is monitored.
    pub(crate) fn new(
        target: Target,
        pusher: Pusher,
        origin: Origin,
        endpoint: Option<&str>,
        deps: Deps,
    ) -> (Self, oneshot::Receiver<Head>) {
        let mut links = Links::new(Arc::clone(&deps.link));
        if let (Resource::Subscription(id), Some(endpoint)) = (target.resource, endpoint) {
            links.add(id, endpoint);
        }
        let (monitor, head) = Monitor::new(target);
        let connection = Self {
            monitor,
            pusher,
            origin,
            deps,
            links,
            waiting: None,
            unsent: VecDeque::new(),
            untaken: VecDeque::new(),
            expiry: None,
            has_pushed: false,
            is_probed: false,
        };
        (connection, head)
    }

    /// Promises a message and sends it, with its push resource.
    fn push(&mut self, message: &Message) -> Result<(), End<NoFault>> {
        //= RFC 8030 section 6
        //# In response to this request, the push service MUST generate a server push for all push messages
        //# that have not yet been delivered.
        let Some(link) = self.links.get(&message.to) else { return Ok(()) };
        let promise = answer::promise(message, &self.origin, &self.deps.addresses, link);
        let answer = answer(message, link);
        let Some((promise, answer)) = promise.zip(answer) else {
            tracing::error!("a message cannot be put into header fields");
            return Ok(());
        };
        let pushed = self.pusher.push(promise, answer, message.content.body.clone());
        self.pushed(pushed, message.expires_at, None)
    }

    /// Promises the message that a receipt is of, and sends the receipt.
    fn push_receipt(&mut self, message: &Message) -> Result<(), End<NoFault>> {
        let promise = Receipt::of(message).and_then(|receipt| {
            let address = self.deps.messages.seal(&receipt.message);
            //= RFC 8030 section 6.2
            //# If the push service receives the acknowledgement and the application has requested a delivery
            //# receipt, the push service MUST return a 204 (No Content) response to the application server
            //# monitoring the receipt subscription.
            //= RFC 8030 section 6.2
            //# If the application has requested a delivery receipt, then the push service MUST return a 410 (Gone)
            //# response to the application server monitoring the receipt subscription.
            let status = StatusCode::from_u16(receipt.status().code()).ok()?;
            Some((answer::promise_of(&self.origin, &format!("/m/{address}"))?, answer::receipt(status)))
        });
        let Some((promise, answer)) = promise else {
            tracing::error!("a receipt cannot be read: it is of a newer release, or damaged");
            return Ok(());
        };
        let pushed = self.pusher.push_watched(promise, answer);
        self.pushed(pushed, message.expires_at, Some(message.id))
    }

    fn pushed(
        &mut self,
        pushed: Option<Pushed>,
        expires_at: Timestamp,
        receipt: Option<MessageId>,
    ) -> Result<(), End<NoFault>> {
        let pushed = pushed.ok_or(End::For(CloseReason::Client))?;
        self.unsent.push_back(Unsent { pushed, expires_at, receipt });
        self.has_pushed = true;
        self.monitor.message();
        Ok(())
    }

    /// Lets go of what was sent. Receipts are kept until they are taken.
    fn let_go(&mut self) {
        for _ in 0..self.unsent.len() {
            let Some(unsent) = self.unsent.pop_front() else { break };
            match (unsent.pushed.is_sent(), unsent.receipt) {
                (false, _) => self.unsent.push_back(unsent),
                (true, Some(id)) => self.untaken.push_back((unsent.pushed, id)),
                (true, None) => {}
            }
        }
    }

    /// Ready with receipts that the client has taken.
    fn poll_taken(&mut self, cx: &Context<'_>) -> Poll<SmallVec<[Settlement; 1]>> {
        self.let_go();
        let untaken = &self.untaken;
        if untaken.is_empty() && self.monitor.form() == Form::Messages {
            return Poll::Pending;
        }
        let unsent = &self.unsent;
        ready!(self.pusher.poll(cx, |_| {
            untaken.front().is_some_and(|(first, _)| first.is_taken())
                || unsent.iter().any(|it| it.pushed.is_sent())
        }));
        self.let_go();
        let mut taken = SmallVec::new();
        while self.untaken.front().is_some_and(|(first, _)| first.is_taken()) {
            let id = self.untaken.pop_front().map(|(_, id)| id);
            taken.extend(id.map(|id| Settlement { id, outcome: Outcome::Delivered }));
        }
        if taken.is_empty() {
            // Something was sent meanwhile, whose taking is to be waited for.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(taken)
    }

    /// Ready when no message waits for its push resource.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<NoFault>>> {
        if self.waiting.is_none() {
            return Poll::Ready(Ok(()));
        }
        match ready!(self.links.poll_asked(cx)) {
            // A subscription that has ended meanwhile: so have its messages.
            Ok(()) => {}
            Err(LinkError::Unavailable | LinkError::Store(_) | LinkError::TooManySubscriptions { .. }) => {
                return Poll::Ready(Err(End::For(CloseReason::Unavailable)));
            }
        }
        let pushed = self.waiting.take().map_or(Ok(()), |message| self.push(&message));
        Poll::Ready(pushed)
    }

    /// Ready when the answers on their way are at most `most`, and, for one more, when the client takes one more.
    fn poll_unsent(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        one_more: bool,
    ) -> Poll<Result<(), End<NoFault>>> {
        if self.monitor.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(End::For(CloseReason::Client)));
        }
        ready!(self.poll_waiting(cx))?;
        loop {
            self.let_go();
            let unsent = &self.unsent;
            let is_ready = self.pusher.poll(cx, |has_room| {
                let count = unsent.iter().filter(|it| !it.pushed.is_sent()).count();
                count <= most && (has_room || !one_more)
            });
            if is_ready.is_ready() {
                self.expiry = None;
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_expiry(cx));
        }
    }

    /// Ready when something unsent has expired, and was cancelled.
    fn poll_expiry(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.deps.clock.now();
        let Some(next) = self.unsent.iter().map(|it| it.expires_at).min() else {
            return Poll::Pending;
        };
        if next <= now {
            self.expiry = None;
            //= RFC 8030 section 5.2
            //# Once the TTL period elapses, the push service MUST NOT attempt to deliver the push message to the
            //# user agent.
            self.unsent.retain(|it| it.expires_at > now);
            return Poll::Ready(());
        }
        let expiry = self.expiry.get_or_insert_with(|| Box::pin(sleep(next.since(now))));
        ready!(expiry.as_mut().poll(cx));
        self.expiry = None;
        // By the clock it may be a moment early; then it is waited for once more.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The head of an answer that ends in order.
    const fn end(&self) -> Head {
        if self.has_pushed { Head::Pushed } else { Head::Empty }
    }

    /// The head for a request whose session was taken away: by another request, or because the resource has ended.
    async fn superseded(&mut self) -> Head {
        let resource = self.monitor.resource();
        match self.deps.link.look_up(resource).await {
            Ok(standing) if !standing.has(&resource) => Head::Gone,
            _ => self.end(),
        }
    }
}

impl Protocol for Push {
    const NAME: &'static str = "push";

    const ACKNOWLEDGES: bool = false;

    type Request = Ask;
    type Reply = NoReply;
    type Fault = NoFault;

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Input<Ask>, End<NoFault>>> {
        if let Some(claim) = self.monitor.take_claim() {
            return Poll::Ready(Ok(Input::Request(Ask::Claim(claim))));
        }
        if let Poll::Ready(taken) = self.poll_taken(cx) {
            return Poll::Ready(Ok(Input::Request(Ask::Taken(taken))));
        }
        if self.monitor.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(End::For(CloseReason::Client)));
        }
        if std::mem::take(&mut self.is_probed) {
            return Poll::Ready(Ok(Input::Alive));
        }
        let is_all_taken = self.unsent.is_empty() && self.untaken.is_empty();
        if is_all_taken && self.monitor.poll_quiet(cx).is_ready() {
            self.monitor.tell(self.end());
            return Poll::Ready(Ok(Input::Goodbye));
        }
        Poll::Pending
    }

    fn decode(&mut self, ask: Ask, _: Timestamp) -> Result<Command<NoReply>, End<NoFault>> {
        Ok(match ask {
            Ask::Claim(Claim) => self.monitor.identify(),
            Ask::Taken(receipts) => Command::Acknowledge(receipts),
        })
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<NoFault>>> {
        self.poll_unsent(cx, UNSENT_MAX - 1, true)
    }

    fn put(&mut self, output: Output<'_, NoReply>) -> Result<(), End<NoFault>> {
        match output {
            Output::Answer(Answer::Identified { user_agent, .. }) => self.monitor.identified(user_agent)?,
            // Nobody has asked.
            Output::Answer(
                Answer::Registered { .. }
                | Answer::Unregistered { .. }
                | Answer::UnregisteredAll(_)
                | Answer::UrgencySet(_),
            )
            | Output::Broadcasts(_) => {}
            Output::Message(message) => {
                self.monitor.check(&message.to)?;
                if self.monitor.form() == Form::Receipts {
                    return self.push_receipt(message);
                }
                if self.links.get(&message.to).is_some() {
                    return self.push(message);
                }
                self.links.ask(message.to);
                self.waiting = Some(message.clone());
            }
            Output::Probe => self.is_probed = true,
            Output::Reply(none) => match none {},
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End<NoFault>>> {
        self.poll_unsent(cx, 0, false)
    }

    async fn close(&mut self, why: End<NoFault>) {
        let head = match why.reason() {
            CloseReason::Superseded => self.superseded().await,
            CloseReason::Draining | CloseReason::Resync => self.end(),
            _ => Head::Unavailable,
        };
        self.monitor.tell(head);
        // What was promised is still sent.
        let _ = poll_fn(|cx| self.poll_unsent(cx, 0, false)).await;
    }
}

#[cfg(test)]
mod tests;
