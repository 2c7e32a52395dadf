//! The send queue of a connection: messages from the router, until acknowledged by the user agent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};
use pushgrid_session::{Limits, Next, Session};
use pushgrid_store::NotDelivered;
use pushgrid_types::{BroadcastId, Epoch, Message, MessageId, Timestamp, Urgency, UserAgentId};

use crate::asked::{Asked, Due};

/// Reason to end a connection without a fault. The later one in this order wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// The node stops: say goodbye.
    Draining,
    /// The router has lost track of the session.
    Resync,
    /// The same user agent has connected again.
    Superseded,
    /// The node stops at once: drop everything.
    Abandoned,
}

/// Messages remembered as sent on a connection whose messages are acknowledged by other ways.
const SENT_MAX: usize = 256;

/// Messages owed to a connection, shared between the router's threads (which fill the queue) and the
/// connection's task (which empties it). One lock and one waker: a channel of its own would cost each idle
/// connection more than all else.
///
/// Guarantee: bounded by [`Limits`], the messages on the wire included; nothing waits here.
#[derive(Debug)]
pub(crate) struct SendQueue {
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Debug)]
struct State {
    owed: Session,
    /// Messages that are not taken once more. Most of the time there are none, and every idle connection has the room
    /// of this field.
    had: Option<Box<Had>>,
    holder: Holder,
    /// Least urgency of the messages that the user agent takes.
    min_urgency: Urgency,
    /// Set once a message below the least urgency was dropped: this urgency, of which the router that sent the message
    /// does not know.
    dropped: Option<Urgency>,
    ending: Option<Ending>,
    closed: bool,
    /// Broadcasts whose versions are to be sent.
    due: Due,
    /// Broadcasts for which the user agent asks.
    asked: Option<Arc<Asked>>,
}

/// Messages that the user agent has had: a new owner of the partition may send them once more.
#[derive(Debug, Default)]
struct Had {
    /// Ended here and not confirmed by the router, oldest first: the owner has not heard of the end.
    unconfirmed: VecDeque<MessageId>,
    /// Sent and not owed any more, oldest first: the owner sends those that are not acknowledged.
    sent: VecDeque<MessageId>,
}

/// Holder of a session at the router.
#[derive(Debug, Clone, Copy)]
enum Holder {
    Nobody,
    /// A router is being asked to open the session. `missed`: meanwhile a router wanted to hear of all
    /// sessions of its partition, and could not be told of this one.
    Opening {
        user_agent: UserAgentId,
        missed: bool,
    },
    /// Open at the router by this claim.
    Open(UserAgentId, Epoch),
}

impl Had {
    fn has(&self, id: MessageId) -> bool {
        self.unconfirmed.contains(&id) || self.sent.contains(&id)
    }
}

impl SendQueue {
    pub(crate) fn new(limits: Limits) -> Self {
        let state = State {
            owed: Session::new(limits),
            had: None,
            holder: Holder::Nobody,
            min_urgency: Urgency::LEAST,
            dropped: None,
            ending: None,
            closed: false,
            due: Due::default(),
            asked: None,
        };
        Self { state: Mutex::new(state), waker: AtomicWaker::new() }
    }

    /// Takes a message over. One whose end is in a report under way is taken and not sent: the router hears
    /// of the end. One below the least urgency is dropped: the router hears of the urgency, and takes it back.
    pub(crate) fn offer(&self, message: &Arc<Message>) -> Result<(), NotDelivered> {
        {
            let mut state = self.lock();
            if state.closed || state.ending.is_some() {
                return Err(NotDelivered::NotHere);
            }
            if state.had.as_ref().is_some_and(|had| had.has(message.id)) {
                return Ok(());
            }
            if message.urgency < state.min_urgency {
                state.dropped = state.dropped.max(Some(state.min_urgency));
            } else {
                state.owed.offer(Arc::clone(message)).map_err(|_| NotDelivered::Busy)?;
            }
        }
        self.waker.wake();
        Ok(())
    }

    /// Least urgency of the messages that the user agent takes.
    pub(crate) fn min_urgency(&self) -> Urgency {
        self.lock().min_urgency
    }

    /// Sets the least urgency, and drops what waits below it. The router hears of the urgency, before or after, and
    /// takes these messages back.
    pub(crate) fn set_min_urgency(&self, min_urgency: Urgency) {
        let mut state = self.lock();
        state.min_urgency = min_urgency;
        state.owed.drop_pending(|message| message.urgency < min_urgency);
    }

    /// The urgency below which messages were dropped since the last call, if any were.
    pub(crate) fn take_dropped(&self) -> Option<Urgency> {
        self.lock().dropped.take()
    }

    /// Notes a request to a router to open the session.
    pub(crate) fn opening(&self, user_agent: UserAgentId) {
        self.lock().holder = Holder::Opening { user_agent, missed: false };
    }

    /// Notes the session as open at the router, which sends messages of `min_urgency` and above. Tells whether another
    /// router may have taken the partition over meanwhile without hearing of this session.
    pub(crate) fn opened(&self, user_agent: UserAgentId, epoch: Epoch, min_urgency: Urgency) -> bool {
        let mut state = self.lock();
        // A router of an earlier release knows of no urgency, and would not take back what is dropped.
        state.min_urgency = min_urgency;
        let missed = matches!(state.holder, Holder::Opening { missed: true, .. });
        state.holder = Holder::Open(user_agent, epoch);
        missed
    }

    /// Holder of the session, its claim and its least urgency, for a router that wants to hear of the user agents
    /// chosen by `chosen`. `None` before the session is open, and at its end.
    pub(crate) fn announce(
        &self,
        chosen: &dyn Fn(UserAgentId) -> bool,
    ) -> Option<(UserAgentId, Epoch, Urgency)> {
        let mut state = self.lock();
        if state.closed || state.ending.is_some() {
            return None;
        }
        let min_urgency = state.min_urgency;
        match &mut state.holder {
            Holder::Open(user_agent, epoch) if chosen(*user_agent) => {
                Some((*user_agent, *epoch, min_urgency))
            }
            Holder::Opening { user_agent, missed } => {
                *missed |= chosen(*user_agent);
                None
            }
            Holder::Open(..) | Holder::Nobody => None,
        }
    }

    /// Asks the connection to end.
    pub(crate) fn end(&self, why: Ending) {
        {
            let mut state = self.lock();
            state.ending = state.ending.max(Some(why));
        }
        self.waker.wake();
    }

    /// The reason of a requested end, if any.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.lock().ending
    }

    /// Tells whether something waits to be sent.
    pub(crate) fn has_pending(&self) -> bool {
        self.lock().owed.has_pending()
    }

    /// The next message for the wire, as [`Session::next`].
    pub(crate) fn next(&self, now: Timestamp) -> Option<Next> {
        let mut state = self.lock();
        let next = state.owed.next(now);
        if let Some(Next::Expired(message)) = &next {
            state.had.get_or_insert_default().unconfirmed.push_back(message.id);
        }
        next
    }

    /// Ends a message; `None` if not one of this connection's.
    pub(crate) fn settle(&self, id: MessageId) -> Option<Arc<Message>> {
        let mut state = self.lock();
        state.had.get_or_insert_default().unconfirmed.push_back(id);
        state.owed.settle(id)
    }

    /// Forgets a message sent by [`Self::next`], but for its id: its acknowledgement goes another way.
    pub(crate) fn sent(&self, id: MessageId) {
        let mut state = self.lock();
        state.owed.settle(id);
        let sent = &mut state.had.get_or_insert_default().sent;
        if sent.len() >= SENT_MAX {
            sent.pop_front();
        }
        sent.push_back(id);
    }

    /// Forgets the oldest `count` of the messages ended here: the router has confirmed them.
    pub(crate) fn confirmed(&self, count: usize) {
        let mut state = self.lock();
        if let Some(had) = &mut state.had {
            let confirmed = count.min(had.unconfirmed.len());
            had.unconfirmed.drain(..confirmed);
        }
        state.had.take_if(|had| had.unconfirmed.is_empty() && had.sent.is_empty());
    }

    /// Takes nothing any more, and forgets the messages owed. Answers the number of messages forgotten.
    pub(crate) fn close(&self) -> usize {
        let unsettled = {
            let mut state = self.lock();
            state.closed = true;
            state.owed.close()
        };
        unsettled.len()
    }

    /// Sets the broadcasts for which the user agent asks, by those that there were.
    pub(crate) fn ask_for_broadcasts(&self, with: impl FnOnce(Option<&Asked>) -> Arc<Asked>) {
        let mut state = self.lock();
        let asked = with(state.asked.as_deref());
        state.asked = Some(asked);
    }

    /// Tells whether the user agent asks for a broadcast.
    pub(crate) fn is_asked(&self, id: &BroadcastId) -> bool {
        self.lock().asked.as_ref().is_some_and(|asked| asked.has(id))
    }

    /// Marks a broadcast as due, if the user agent asks for it.
    pub(crate) fn mark_broadcast(&self, id: &BroadcastId) {
        let mut state = self.lock();
        let State { asked, due, .. } = &mut *state;
        let is_marked = asked.as_ref().is_some_and(|asked| due.mark(asked, id));
        drop(state);
        if is_marked {
            self.waker.wake();
        }
    }

    /// Tells whether a broadcast is due.
    pub(crate) fn has_due_broadcast(&self) -> bool {
        self.lock().due.any()
    }

    /// The broadcasts that are due, which are not any more.
    pub(crate) fn take_due_broadcasts(&self) -> Vec<BroadcastId> {
        let mut state = self.lock();
        let due = std::mem::take(&mut state.due);
        state.asked.as_ref().map(|asked| asked.marked(due)).unwrap_or_default()
    }

    /// Ready when the connection was asked to end, when a message waits or was dropped, and when a broadcast is due.
    pub(crate) fn poll_work(&self, cx: &Context<'_>) -> Poll<()> {
        self.poll(cx, |state| {
            state.ending.is_some() || state.dropped.is_some() || state.owed.has_pending() || state.due.any()
        })
    }

    /// Ready when the connection was asked to end in a way of at least `least`.
    pub(crate) fn poll_ending(&self, cx: &Context<'_>, least: Ending) -> Poll<()> {
        self.poll(cx, |state| state.ending.is_some_and(|ending| ending >= least))
    }

    fn poll(&self, cx: &Context<'_>, ready: impl FnOnce(&State) -> bool) -> Poll<()> {
        // First the waker, then the look: what comes in between wakes.
        self.waker.register(cx.waker());
        if ready(&self.lock()) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
