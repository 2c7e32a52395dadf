//! The order of the posts of a partition: whose turn it is, and who waits after a failure.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::convert::Infallible;

use pushgrid_runtime::Backoff;
use pushgrid_types::UserAgentId;
use pushgrid_webhook::PostError;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::post::Turn;
use crate::handle::Handle;

/// Posts of a partition under way at once.
const AT_ONCE: usize = 16;

/// State of the posts to one webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for a place.
    Ready,
    /// A post is under way; `again`: something more was stored meanwhile.
    Posting { again: bool },
    /// Pauses after a failure.
    Paused,
}

pub(super) struct Desk {
    handle: Handle,
    phases: HashMap<UserAgentId, Phase>,
    ready: VecDeque<UserAgentId>,
    posts: JoinSet<Turn>,
    /// The user agent that each task posts for.
    under_way: HashMap<Id, UserAgentId>,
    pauses: BTreeSet<(Instant, UserAgentId)>,
    /// Those whose last post has failed.
    backoffs: HashMap<UserAgentId, Backoff>,
}

impl Desk {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle,
            phases: HashMap::new(),
            ready: VecDeque::new(),
            posts: JoinSet::new(),
            under_way: HashMap::new(),
            pauses: BTreeSet::new(),
            backoffs: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self) -> Infallible {
        loop {
            self.begin();
            let handle = self.handle.clone();
            let next = self.pauses.first().map(|(at, _)| *at);
            tokio::select! {
                due = handle.shared().hooked.due() => due.into_iter().for_each(|of| self.wake(of)),
                Some(done) = self.posts.join_next_with_id(), if !self.posts.is_empty() => self.done(done),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.resume(),
            }
        }
    }

    /// Begins posts while there are places.
    fn begin(&mut self) {
        while self.posts.len() < AT_ONCE
            && let Some(user_agent) = self.ready.pop_front()
        {
            self.phases.insert(user_agent, Phase::Posting { again: false });
            let handle = self.handle.clone();
            let span = handle.span().clone();
            let post = async move { handle.post_turn(user_agent).await };
            let id = self.posts.spawn(post.instrument(span)).id();
            self.under_way.insert(id, user_agent);
        }
    }

    /// Something may wait for `user_agent`.
    fn wake(&mut self, user_agent: UserAgentId) {
        match self.phases.get_mut(&user_agent) {
            None => self.is_ready(user_agent),
            Some(Phase::Posting { again }) => *again = true,
            Some(Phase::Ready | Phase::Paused) => {}
        }
    }

    fn is_ready(&mut self, user_agent: UserAgentId) {
        self.phases.insert(user_agent, Phase::Ready);
        self.ready.push_back(user_agent);
    }

    fn resume(&mut self) {
        if let Some((_, user_agent)) = self.pauses.pop_first() {
            self.is_ready(user_agent);
        }
    }

    fn done(&mut self, done: Result<(Id, Turn), JoinError>) {
        let (id, turn) = match done {
            Ok(done) => done,
            // The panic hook has reported it.
            Err(error) => (error.id(), Turn::Failed(None)),
        };
        let Some(user_agent) = self.under_way.remove(&id) else { return };
        let again = self.phases.remove(&user_agent) == Some(Phase::Posting { again: true });
        match turn {
            Turn::Posted => {
                self.backoffs.remove(&user_agent);
                self.is_ready(user_agent);
            }
            Turn::Empty if again => self.is_ready(user_agent),
            Turn::Empty => {}
            Turn::Ended => {
                self.backoffs.remove(&user_agent);
                self.handle.shared().hooked.forget(user_agent);
            }
            Turn::Failed(error) => self.pause(user_agent, error),
        }
    }

    /// Puts the next attempt off. The log has the first failure of a webhook, not each.
    fn pause(&mut self, user_agent: UserAgentId, error: Option<PostError>) {
        let handle = self.handle.clone();
        let first = handle.shared().context.webhooks.backoff();
        let backoff = self.backoffs.entry(user_agent).or_insert(first);
        let asked = error.and_then(|error| error.retry_after()).unwrap_or_default();
        let pause = backoff.fail().max(asked);
        if let Some(error) = error
            && backoff.failures() == 1
        {
            let say = || tracing::info!(?user_agent, %error, "receipts could not be posted; trying again");
            handle.span().in_scope(say);
        }
        self.phases.insert(user_agent, Phase::Paused);
        self.pauses.insert((Instant::now() + pause, user_agent));
    }
}
