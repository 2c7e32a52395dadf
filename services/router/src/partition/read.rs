//! Read of one message by its address, without any effect: looks in every possible place of the message, as a
//! cancellation does.

use std::sync::Arc;

use pushgrid_types::{Message, MessageRef};
use tokio::sync::oneshot;

use super::{Partition, Place, Turn};

/// Place of a message to be read.
#[derive(Debug)]
pub(crate) enum Found {
    /// In the window: this is it.
    Here(Arc<Message>),
    /// In the mailbox, or nowhere, once the receiver is told. `routed`: it has come out of the log.
    Stored { once: oneshot::Receiver<()>, routed: bool },
    /// It has ended.
    Ended,
}

impl Partition {
    /// Finds a message.
    pub(crate) fn find(&mut self, turn: Turn<'_>, message: &MessageRef) -> Found {
        let MessageRef { user_agent, id, sequence, .. } = *message;
        if self.ending.contains_key(&(user_agent, id)) {
            return Found::Ended;
        }
        if let Some(agent) = self.agents.get(&user_agent) {
            let flying =
                agent.session.as_deref().and_then(|session| Some(&session.window[session.find(id)?]));
            if let Some(Place::Log(message)) = flying.map(|flying| &flying.place) {
                return if message.is_expired(turn.now) {
                    Found::Ended
                } else {
                    Found::Here(Arc::clone(message))
                };
            }
            if agent.storing.iter().any(|storing| storing.id == id && storing.ended.is_some()) {
                return Found::Ended;
            }
        }
        let (done, once) = oneshot::channel();
        self.work.after_store.push(done);
        Found::Stored { once, routed: sequence < self.read_to }
    }
}
