use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use pushgrid_session::{Limits, Next, Session};
use pushgrid_store::NotDelivered;
use pushgrid_types::{Epoch, Message, MessageId, Timestamp, UserAgentId};

/// Why a connection is to end though nothing is wrong with it. The later one in this order wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// The node stops: say goodbye.
    Draining,
    /// The router has lost track of it.
    Resync,
    /// The same user agent has connected again.
    Superseded,
    /// The node stops at once: drop everything.
    Abandoned,
}

/// What a connection is owed, shared between the router's threads, which fill it, and the connection's task, which
/// empties it. One lock and one waker: a channel of its own would cost each idle connection more than all else.
///
/// Guarantee: bounded by [`Limits`], the messages on the wire included; nothing waits here.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Debug)]
struct State {
    owed: Session,
    /// Whose session it is at the router, and by which claim, while it is open there.
    holder: Option<(UserAgentId, Epoch)>,
    ending: Option<Ending>,
    closed: bool,
}

impl Outbox {
    pub(crate) fn new(limits: Limits) -> Self {
        let state = State { owed: Session::new(limits), holder: None, ending: None, closed: false };
        Self { state: Mutex::new(state), waker: AtomicWaker::new() }
    }

    /// Takes a message over.
    pub(crate) fn offer(&self, message: &Arc<Message>) -> Result<(), NotDelivered> {
        {
            let mut state = self.lock();
            if state.closed || state.ending.is_some() {
                return Err(NotDelivered::NotHere);
            }
            state.owed.offer(Arc::clone(message)).map_err(|_| NotDelivered::Busy)?;
        }
        self.waker.wake();
        Ok(())
    }

    /// Notes that the session is open at the router.
    pub(crate) fn opened(&self, user_agent: UserAgentId, epoch: Epoch) {
        self.lock().holder = Some((user_agent, epoch));
    }

    /// Whose session it is, and by which claim; `None` before it is open, and when it ends.
    pub(crate) fn holder(&self) -> Option<(UserAgentId, Epoch)> {
        let state = self.lock();
        state.holder.filter(|_| !state.closed && state.ending.is_none())
    }

    /// Asks the connection to end.
    pub(crate) fn end(&self, why: Ending) {
        {
            let mut state = self.lock();
            state.ending = state.ending.max(Some(why));
        }
        self.waker.wake();
    }

    /// Whether it was asked to end.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.lock().ending
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_pending(&self) -> bool {
        self.lock().owed.has_pending()
    }

    /// The next message for the wire, as [`Session::next`].
    pub(crate) fn next(&self, now: Timestamp) -> Option<Next> {
        self.lock().owed.next(now)
    }

    /// Ends a message; `false` when it is not one of this connection's.
    pub(crate) fn settle(&self, id: MessageId) -> bool {
        self.lock().owed.settle(id).is_some()
    }

    /// Takes nothing any more, and forgets what is owed. Answers how many messages that were.
    pub(crate) fn close(&self) -> usize {
        let unsettled = {
            let mut state = self.lock();
            state.closed = true;
            state.owed.close()
        };
        unsettled.len()
    }

    /// Ready when the connection was asked to end, and when a message waits.
    pub(crate) fn poll_work(&self, cx: &Context<'_>) -> Poll<()> {
        self.poll(cx, |state| state.ending.is_some() || state.owed.has_pending())
    }

    /// Ready when the connection was asked to end in a way that is at least `least`.
    pub(crate) fn poll_ending(&self, cx: &Context<'_>, least: Ending) -> Poll<()> {
        self.poll(cx, |state| state.ending.is_some_and(|ending| ending >= least))
    }

    fn poll(&self, cx: &Context<'_>, ready: impl FnOnce(&State) -> bool) -> Poll<()> {
        // First the waker, then the look: what comes in between wakes.
        self.waker.register(cx.waker());
        if ready(&self.lock()) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// No code panics while it holds the lock, so what a poisoned one guards is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
