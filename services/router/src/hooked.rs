use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use pushgrid_types::{Message, UserAgentId};
use tokio::sync::Notify;

/// Receipt subscriptions with a webhook, by their user agents, and those for which something may wait.
#[derive(Debug, Default)]
pub(crate) struct Hooked {
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct State {
    known: HashSet<UserAgentId>,
    due: BTreeSet<UserAgentId>,
}

impl Hooked {
    /// Adds a user agent: something may wait for it.
    pub(crate) fn add(&self, user_agent: UserAgentId) {
        let mut state = self.state.lock();
        state.known.insert(user_agent);
        state.due.insert(user_agent);
        drop(state);
        self.woken.notify_one();
    }

    /// Notes stored messages.
    pub(crate) fn stored(&self, messages: &[Arc<Message>]) {
        let mut state = self.state.lock();
        if state.known.is_empty() {
            return;
        }
        let State { known, due } = &mut *state;
        let before = due.len();
        due.extend(messages.iter().map(|message| message.to.user_agent).filter(|of| known.contains(of)));
        let is_due = due.len() > before;
        drop(state);
        if is_due {
            self.woken.notify_one();
        }
    }

    /// Forgets one without a webhook.
    pub(crate) fn forget(&self, user_agent: UserAgentId) {
        self.state.lock().known.remove(&user_agent);
    }

    /// Those for which something may wait, at least one. Cancel safe.
    pub(crate) async fn due(&self) -> BTreeSet<UserAgentId> {
        loop {
            let due = std::mem::take(&mut self.state.lock().due);
            if !due.is_empty() {
                return due;
            }
            self.woken.notified().await;
        }
    }
}
